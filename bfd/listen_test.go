package bfd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// served is a ListenAndServe in this process.
type served struct {
	ready chan struct{}
	ended chan error
	stop  context.CancelFunc
}

// serveAt begins one that takes processes that listen at path for its own executable, or for
// another.
func serveAt(tb testing.TB, path string, same bool) *served {
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	s := &served{ready: make(chan struct{}), ended: make(chan error, 1), stop: cancel}
	cfg := ServeConfig{Config: Config{RealTime: RealTimeOff}, Ready: func() { close(s.ready) }}
	go func() {
		s.ended <- listenAndServe(ctx, path, cfg, func(*net.UnixConn) bool { return same })
	}()
	return s
}

// waitReady waits until the sessions are this one's.
func (s *served) waitReady(tb testing.TB) {
	tb.Helper()
	select {
	case <-s.ready:
	case err := <-s.ended:
		tb.Fatalf("it does not serve: %v", err)
	case <-time.After(nstest.Patience):
		tb.Fatal("it is not ready")
	}
}

func (s *served) end(tb testing.TB) error {
	tb.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(nstest.Patience):
		tb.Fatal("it does not end")
		return nil
	}
}

// Who finds nobody listens, who finds another executable takes over, who finds its own has
// nothing to do; the socket of the dead is replaced, and what is no socket is left alone.
func TestListenAndServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bfd.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()

	// Of those who start at the same time one serves.
	both := []*served{serveAt(t, path, true), serveAt(t, path, true)}
	var first *served
	select {
	case err = <-both[0].ended:
		first = both[1]
	case err = <-both[1].ended:
		first = both[0]
	case <-time.After(nstest.Patience):
		t.Fatal("both serve")
	}
	if !errors.Is(err, ErrInUse) {
		t.Errorf("the other one: %v, want ErrInUse", err)
	}
	first.waitReady(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}

	second := serveAt(t, path, false)
	second.waitReady(t)
	if err := first.end(t); err != ErrClosed {
		t.Errorf("the predecessor ends with %v, want ErrClosed", err)
	}
	second.stop()
	if err := second.end(t); err != ErrClosed {
		t.Errorf("the end of ctx: %v, want ErrClosed", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := serveAt(t, path, false).end(t); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if err := serveAt(t, filepath.Join(t.TempDir(), "no", "bfd.sock"), false).end(t); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its directory: %v", err)
	}
}

// A process that waits for its turn ends with its ctx.
func TestListenAndServeWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bfd.sock")
	lock, err := lockSocket(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	s := serveAt(t, path, false)
	s.stop()
	if err := s.end(t); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The executable of the process that serves is known across processes, and after a
// handover is that of the successor.
func TestSameExecutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bfd.sock")
	first := newChild(t, path, time.Minute)
	inUse := func(when string) {
		t.Helper()
		nstest.Wait(t, 5*time.Second, when, func() bool {
			c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				return false
			}
			defer c.Close()
			return sameExecutable(c)
		})
		if err := ListenAndServe(t.Context(), path, ServeConfig{}); err != ErrInUse {
			t.Errorf("%s: %v, want ErrInUse", when, err)
		}
	}
	inUse("the first process serves")
	newChild(t, path, time.Minute, "HYPERFIB_BFD_TAKEOVER=1")
	select {
	case err := <-first.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(nstest.Patience):
		t.Fatal("the first process has not handed over")
	}
	inUse("the successor serves, and the first process is dead")
}
