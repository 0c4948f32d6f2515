package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What is no regular file is not opened, and said to be what it is.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("file"), []byte("content"), 0o600))
	must(os.Symlink("file", path("link")))
	must(os.Symlink("loop", path("loop")))
	must(os.Symlink("nowhere", path("dangling")))
	must(unix.Mkfifo(path("fifo"), 0o600))
	must(os.Symlink("fifo", path("link to a fifo")))
	must(os.WriteFile(path("secret"), nil, 0))
	l, err := net.Listen("unix", path("socket"))
	must(err)
	defer l.Close()
	for name, want := range map[string]string{
		"file":           "content",
		"link":           "content",
		"fifo":           "it is a FIFO: want a regular file",
		"link to a fifo": "it is a FIFO: want a regular file",
		"socket":         "it is a socket: want a regular file",
		"":               "it is a directory: want a regular file",
		"/dev/zero":      "it is a device: want a regular file",
		"loop":           "too many levels of symbolic links",
		"dangling":       "a symbolic link to nothing",
		"nothing":        "no such file",
		"file/below":     "not a directory",
	} {
		p := path(name)
		if filepath.IsAbs(name) {
			p = name
		}
		var r Reader
		data, err := r.Read(t.Context(), p, 7)
		got := string(data)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || (err == nil) != (want == "content") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if err != nil && !strings.Contains(got, p) {
			t.Errorf("%s: the error does not name it: %q", name, got)
		}
	}
	var r Reader
	if _, err := r.Read(t.Context(), path("file"), 6); err == nil || !strings.Contains(err.Error(), "7 octets: want at most 6") {
		t.Errorf("a file that is too long: %v", err)
	}
	if _, err := r.Read(t.Context(), "/proc/self/maps", 10); err == nil || !strings.Contains(err.Error(), "more than 10 octets") {
		t.Errorf("a file without a size: %v", err)
	}
	if _, err := r.Read(t.Context(), path("nothing"), 6); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a", "c"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var r Reader
	if got, err := r.Names(t.Context(), dir, 3); err != nil || fmt.Sprint(got) != "[a b c]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := r.Names(t.Context(), dir, 2); err == nil || !strings.Contains(err.Error(), "more than 2 files") {
		t.Errorf("too many: %v", err)
	}
	if _, err := r.Names(t.Context(), filepath.Join(dir, "a"), 3); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if got, err := r.Names(t.Context(), t.TempDir(), 3); err != nil || len(got) != 0 {
		t.Errorf("an empty one: %v, %v", got, err)
	}
}

// A file system that does not answer keeps one attempt, and nobody who asks.
func TestHungFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Reader
		answer := make(chan struct{})
		var attempts atomic.Int32 // counted by goroutines that a caller does not wait for
		ask := func(timeout time.Duration) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			c, err := r.do(ctx, "key", "/nfs/file", func(c *call) { attempts.Add(1); <-answer; c.data = []byte("late") })
			if err != nil {
				return "", err
			}
			return string(c.data), nil
		}
		begin := time.Now()
		for range 3 {
			if _, err := ask(time.Second); err == nil || !strings.Contains(err.Error(), "/nfs/file: no answer") {
				t.Errorf("%v", err)
			}
		}
		if attempts.Load() != 1 || time.Since(begin) != 3*time.Second {
			t.Errorf("%d attempts in %v", attempts.Load(), time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.do(ctx, "key", "/nfs/file", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("told to stop: %v", err)
		}
		go func() { time.Sleep(time.Second); close(answer) }()
		if got, err := ask(time.Minute); err != nil || got != "late" || attempts.Load() != 1 {
			t.Errorf("%q, %v, %d attempts", got, err, attempts.Load())
		}
		synctest.Wait()
		if got, err := ask(time.Minute); err != nil || got != "late" || attempts.Load() != 2 {
			t.Errorf("the next attempt: %q, %v, %d attempts", got, err, attempts.Load())
		}
	})
}

// What a writer that was killed left behind does not stay for ever, and what others have beside the
// file does.
func TestLeftBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, name := range []string{".state.hvrouter-123", ".state2.hvrouter-123", "state.new", ".state"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, write := range []func() error{
		func() error { _, err := Replace(path, []byte("one")); return err },
		func() error { return Save(path, []byte("two"), nil) },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if got, err := names(dir, 10); err != nil || !slices.Equal(got, []string{".state", ".state2.hvrouter-123", "state", "state.new"}) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// On a full disk the old file stays, and nothing is left behind.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("full", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "state")
	if err := Save(path, []byte("old"), nil); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 64<<10)
	if err := Save(path, large, nil); !errors.Is(err, unix.ENOSPC) || !strings.HasPrefix(err.Error(), "write "+path+": ") {
		t.Errorf("saved: %v", err)
	}
	if _, err := Replace(path, large); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("replaced: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := names(dir, 10); err != nil || len(left) != 1 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if err := Remove(path); err != nil {
		t.Error(err)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "state")
	read := func() string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, text := range []string{"one", "two"} {
		last, err := Replace(path, []byte(text))
		if err != nil || read() != text {
			t.Fatalf("%v, %q", err, read())
		}
		if err := last(); err != nil || read() != text {
			t.Errorf("%v, %q", err, read())
		}
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Replace(path, []byte("three")); err != nil || read() != "three" {
		t.Errorf("in the place of a FIFO: %v", err)
	}
	if _, err := Replace(filepath.Dir(path), nil); err == nil {
		t.Error("in the place of a directory")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
