package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// fixture is an inventory directory.
type fixture struct {
	*testing.T
	dir  string
	read Directory
}

func (f *fixture) write(name, text string) {
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

// want reads the directory and compares the guests' names, and words of the errors.
func (f *fixture) want(names string, errs ...string) {
	f.Helper()
	guests, got, known := f.read.Read(f.Context(), &files.Reader{}, f.dir)
	var list []string
	for _, g := range guests {
		list = append(list, g.Name)
	}
	if strings.Join(list, " ") != names || !known || len(got) != len(errs) {
		f.Errorf("guests %v, errors %v, known %v; want %s, %q", list, got, known, names, errs)
		return
	}
	for i, e := range errs {
		if !strings.Contains(got[i].Error(), e) {
			f.Errorf("error %v, want %s", got[i], e)
		}
	}
}

// One bad file does not hide the others, and what it had before still counts.
func TestDirectory(t *testing.T) {
	f := &fixture{T: t, dir: t.TempDir()}
	f.want("")
	f.write("a.yaml", "name: vm1")
	f.write("b.json", `[{"name": "vm2"}, {"name": "vm3"}]`)
	f.write("c.yml", "nam: vm4")
	f.write("d.backup", "name: vm5")
	f.write(".e.yaml", "name: vm6")
	f.want("vm1 vm2 vm3", `c.yml:1:1: unknown field "nam"`)
	f.write("b.json", `[{"name": "vm2"}, {"na`)
	f.write("c.yml", "name: vm4")
	f.want("vm1 vm2 vm3 vm4", "b.json:1:")
	f.write("b.json", `{"name": "vm7"}`)
	f.want("vm1 vm7 vm4")
	f.write("b.json", "")
	f.want("vm1 vm7 vm4", "b.json: no guest")
	f.write("b.json", "[]")
	f.want("vm1 vm4")
	if err := os.Remove(filepath.Join(f.dir, "c.yml")); err != nil {
		t.Fatal(err)
	}
	f.want("vm1")
}

// What is no regular file is skipped and named, and nothing waits for it.
func TestDirectoryOfOtherThings(t *testing.T) {
	f := &fixture{T: t, dir: t.TempDir()}
	path := func(name string) string { return filepath.Join(f.dir, name) }
	f.write("a.yaml", "name: vm1")
	f.write("target", "name: vm2")
	for name, make := range map[string]func(string) error{
		"b.yaml": func(p string) error { return unix.Mkfifo(p, 0o600) },
		"c.yaml": func(p string) error { return os.Symlink("c.yaml", p) },
		"d.yaml": func(p string) error { return os.Symlink("nowhere", p) },
		"e.yaml": func(p string) error { return os.Mkdir(p, 0o700) },
		"f.yaml": func(p string) error { return os.Symlink("/dev/zero", p) },
		"g.yaml": func(p string) error { return os.Symlink("target", p) },
		"h.yaml": func(p string) error { return os.WriteFile(p, make8(config.MaxSize+1), 0o600) },
	} {
		if err := make(path(name)); err != nil {
			t.Fatal(err)
		}
	}
	f.want("vm1 vm2", "b.yaml: it is a FIFO", "c.yaml: too many levels of symbolic links", "d.yaml: a symbolic link to nothing", "e.yaml: it is a directory",
		"f.yaml: it is a device", fmt.Sprintf("h.yaml: %d octets: want at most %d", config.MaxSize+1, config.MaxSize))
	// A file that has become something else counts as it was.
	if err := errors.Join(os.Remove(path("a.yaml")), unix.Mkfifo(path("a.yaml"), 0o600)); err != nil {
		t.Fatal(err)
	}
	guests, errs, _ := f.read.Read(t.Context(), &files.Reader{}, f.dir)
	if len(guests) != 2 || len(errs) != 7 {
		t.Errorf("%v, %v", guests, errs)
	}
}

func make8(n int) []byte { return []byte(strings.Repeat("#", n)) }

// A directory that cannot be read has the guests that it had; one that never could has
// none that are known.
func TestDirectoryGone(t *testing.T) {
	f := &fixture{T: t, dir: filepath.Join(t.TempDir(), "guests")}
	if guests, errs, known := f.read.Read(t.Context(), &files.Reader{}, f.dir); len(guests) != 0 || len(errs) != 1 || known {
		t.Errorf("%v, %v, %v", guests, errs, known)
	}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("a.yaml", "name: vm1")
	f.want("vm1")
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	f.want("vm1", "no such file")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if guests, errs, known := f.read.Read(ctx, &files.Reader{}, f.dir); len(guests) != 1 || len(errs) != 1 || !known {
		t.Errorf("told to stop: %v, %v, %v", guests, errs, known)
	}
	var none Directory
	if guests, errs, known := none.Read(t.Context(), &files.Reader{}, ""); len(guests)+len(errs) != 0 || !known {
		t.Errorf("no directory: %v, %v, %v", guests, errs, known)
	}
}

func names(list []config.Entry) (out []config.Guest) {
	for _, e := range list {
		out = append(out, e.Guest)
	}
	return out
}

func TestStore(t *testing.T) {
	ctx, r := t.Context(), &files.Reader{}
	s := &Store{Path: filepath.Join(t.TempDir(), "sub", "guests")}
	load := func() []config.Guest {
		t.Helper()
		got, err := s.Load(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return names(got)
	}
	if got := load(); got != nil {
		t.Errorf("before the first: %v", got)
	}
	first := names(parse(t, `[{name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:cb00:7100::/64"], local-pref: 0, force: true}, {name: vm2}]`))
	if err := s.Queue(first)(ctx); err != nil {
		t.Fatal(err)
	}
	if got := load(); !reflect.DeepEqual(got, first) {
		t.Errorf("got %+v\nwant %+v", got, first)
	}
	// Of several that wait, the last one counts.
	var waits []func(context.Context) error
	for i := range 100 {
		waits = append(waits, s.Queue(first[:1+i%2]))
	}
	for _, wait := range waits {
		if err := wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := load(); len(got) != 2 {
		t.Errorf("the last one had two: %v", got)
	}
	if err := s.Queue(nil)(ctx); err != nil {
		t.Fatal(err)
	}
	if got := load(); len(got) != 0 {
		t.Errorf("after nobody was left: %v", got)
	}
	none := &Store{Path: NoStore}
	if err := none.Queue(first)(ctx); err != nil {
		t.Error(err)
	}
	if got, err := none.Load(ctx, r); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A state file that is not understood is kept beside the new one.
func TestStoreKeepsWhatItDoesNotUnderstand(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "guests")
	for i, text := range []string{"[{", "[{]", ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Store{Path: path}
		if _, err := s.Load(ctx, &files.Reader{}); err == nil {
			t.Fatal("understood")
		}
		for range 2 {
			if err := s.Queue(names(parse(t, "name: vm1")))(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(fmt.Sprintf("%s.bad%d", path, i+1)); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := s.Load(ctx, &files.Reader{}); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// What could not be read, for whatever reason, is not overwritten either.
func TestStoreKeepsWhatItCouldNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guests")
	large := []byte("[]" + strings.Repeat(" ", config.MaxSize))
	if err := os.WriteFile(path, large, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{Path: path}
	if _, err := s.Load(t.Context(), &files.Reader{}); err == nil {
		t.Fatal("read")
	}
	if err := s.Queue(names(parse(t, "name: vm1")))(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path + ".bad1"); err != nil || len(got) != len(large) {
		t.Errorf("%d octets, %v", len(got), err)
	}
}

// Who waits for a file system that does not answer is told so, and what it could not do.
func TestStoreThatHangs(t *testing.T) {
	s := &Store{Path: filepath.Join(t.TempDir(), "guests"), busy: true} // somebody is at it
	wait := s.Queue(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := wait(ctx); err == nil || !strings.Contains(err.Error(), "no answer from the file system in time") {
		t.Errorf("%v", err)
	}
	go s.write() // it goes on
	if err := wait(t.Context()); err != nil {
		t.Error(err)
	}
	bad := &Store{Path: filepath.Join("/proc/nowhere", "guests")}
	if err := bad.Queue(nil)(t.Context()); err == nil || !strings.Contains(err.Error(), "guests' state: ") {
		t.Errorf("%v", err)
	}
}
