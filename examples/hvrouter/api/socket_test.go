package api

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListenAtOnce: of processes that make the same socket at once one gets it, whether or
// not that of a dead one is in the way, and whoever can connect finds what comes first.
func TestListenAtOnce(t *testing.T) {
	for try := range 50 {
		path := filepath.Join(t.TempDir(), "s")
		first := path + ".first"
		if try%2 == 1 {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		var wg sync.WaitGroup
		won := make(chan *net.UnixListener, 4)
		for range cap(won) {
			wg.Go(func() {
				l, err := Listen(path, func() error { return os.WriteFile(first, nil, 0o600) })
				if err != nil {
					return
				}
				won <- l
			})
		}
		for !Answers(path) {
		}
		if _, err := os.Stat(first); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have the socket", len(won))
		}
		(<-won).Close()
	}
}

func TestListenRemovesOnlySockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("important"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, nil); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "important" {
		t.Errorf("%q %v", b, err)
	}
}

// The socket is made with its mode: what the umask leaves is only less.
func TestMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
