package handover

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process runs a store until stop.
func process(t *testing.T, path string, cfg Config) (stop func()) {
	t.Helper()
	l, place, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := place(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, cfg) }()
	ended := false
	stop = func() {
		if cancel(); ended {
			return
		}
		ended = true
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// daemon is a client that follows the store.
func daemon(t *testing.T, path string) (c *Client, die func()) {
	t.Helper()
	c = Open(path)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	die = func() { cancel(); <-done }
	t.Cleanup(die)
	return c, die
}

// wire is a socket to be kept, and the end that guests write to.
func wire(t *testing.T) (stored, guest int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// inherit waits until a new daemon finds a socket, since what the old one said last may
// be on its way, and takes it.
func inherit(t *testing.T, path, name string) int {
	t.Helper()
	fd := -1
	eventually(t, "the socket is there", func() bool {
		c := Open(path)
		defer c.Close()
		var ok bool
		fd, ok = c.Of(name).Inherit()
		return ok
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// open reports whether the other end of a guest's wire is open anywhere.
func open(guest int) bool {
	_, err := unix.Write(guest, []byte("?"))
	return err == nil || err == unix.EAGAIN
}

// What a guest asks while no daemon is there waits for the next one, which reads it from
// the same socket; what was forgotten does not come back.
func TestQuestionsWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	process(t, path, Config{})
	c, die := daemon(t, path)
	stored, guest := wire(t)
	other, _ := wire(t)
	c.Of("arp").Keep(stored)
	c.Of("ndp").Keep(other)
	c.mu.Lock()
	delete(c.mine, "ndp")
	c.send(message{do: forget, name: "ndp", fd: -1})
	c.mu.Unlock()
	die()
	unix.Close(stored)
	unix.Close(other)
	if _, err := unix.Write(guest, []byte("who has?")); err != nil {
		t.Fatalf("nobody keeps the socket: %v", err)
	}
	fd := inherit(t, path, "arp")
	b := make([]byte, 100)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "who has?" {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
	last := Open(path)
	defer last.Close()
	if _, ok := last.Of("ndp").Inherit(); ok {
		t.Error("what was forgotten is kept")
	}
	if _, ok := last.Of("arp@2").Inherit(); ok {
		t.Error("another namespace's")
	}
}

// What nobody claims is let go of; what is claimed stays, and only once.
func TestUnclaimed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	process(t, path, Config{})
	first := Open(path)
	one, guestOne := wire(t)
	two, guestTwo := wire(t)
	first.Of("arp@1").Keep(one)
	first.Of("arp@2").Keep(two)
	first.Close()
	unix.Close(one)
	unix.Close(two)
	var next *Client
	eventually(t, "both are there", func() bool { next = Open(path); return len(next.left) == 2 || next.closeAnd(false) })
	defer next.Close()
	fd, ok := next.Of("arp@1").Inherit()
	if _, again := next.Of("arp@1").Inherit(); !ok || again {
		t.Errorf("inherited %v, again %v", ok, again)
	}
	defer unix.Close(fd)
	next.release()
	eventually(t, "the unclaimed one is closed", func() bool { return !open(guestTwo) })
	if !open(guestOne) {
		t.Error("the claimed one is closed")
	}
}

func (c *Client) closeAnd(v bool) bool { c.Close(); return v }

// A daemon that does not come back is not waited for.
func TestPatience(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	process(t, path, Config{Patience: time.Millisecond})
	c := Open(path)
	stored, guest := wire(t)
	c.Of("arp").Keep(stored)
	c.Close()
	unix.Close(stored)
	eventually(t, "the socket is closed", func() bool { return !open(guest) })
}

// A store that is started anew, or takes the place of one that runs, is told everything.
func TestStoreRestarts(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "keep")
		stop := process(t, path, Config{})
		c, die := daemon(t, path)
		stored, guest := wire(t)
		c.Of("arp").Keep(stored)
		before := c.connection()
		if !takeover {
			stop()
		}
		process(t, path, Config{})
		stop()
		eventually(t, "told", func() bool { now := c.connection(); return now != nil && now != before })
		die()
		unix.Close(stored)
		unix.Close(inherit(t, path, "arp"))
		if !open(guest) {
			t.Errorf("takeover %v: nobody keeps the socket", takeover)
		}
	}
}

// A daemon that starts before its store tells it everything later.
func TestStoreIsLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	c, die := daemon(t, path)
	stored, _ := wire(t)
	c.Of("arp").Keep(stored)
	process(t, path, Config{})
	eventually(t, "told", func() bool { return c.connection() != nil })
	die()
	inherit(t, path, "arp")
}

// The latest daemon counts: one that hangs cannot take the sockets along.
func TestTwoDaemons(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	process(t, path, Config{})
	old := Open(path)
	defer old.Close()
	stored, _ := wire(t)
	old.Of("arp").Keep(stored)
	inherit(t, path, "arp")
	if _, err := receive(old.conn); err == nil {
		t.Error("the old one is still connected")
	}
}

// Nobody's messages end the store, and no descriptor is lost with them.
func TestMalformed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keep")
	process(t, path, Config{})
	for _, m := range []message{{do: 'x', fd: -1}, {do: put, name: string(make([]byte, 200)), fd: -1}, {do: 'x', fd: 0}} {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		if m.fd == 0 {
			stored, guest := wire(t)
			m.fd = stored
			defer func() { eventually(t, "the descriptor is closed", func() bool { return !open(guest) }) }()
		}
		if err := send(c, m); err != nil {
			t.Fatal(err)
		}
		if m.fd >= 0 {
			unix.Close(m.fd)
		}
		if _, err := receive(c); err == nil {
			t.Error("the connection goes on")
		}
		c.Close()
	}
	c := Open(path)
	defer c.Close()
	if c.conn == nil {
		t.Error("the process is gone")
	}
}

// Without a store there is nothing to inherit, and nothing fails.
func TestNobody(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "nobody")} {
		c := Open(path)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		ended := func() bool {
			select {
			case <-done:
				return true
			case <-time.After(5 * time.Millisecond):
				return false
			}
		}
		die := func() {
			cancel()
			<-done
		}
		c.Of("arp").Keep(int(os.Stdin.Fd()))
		if _, ok := c.Of("arp").Inherit(); ok {
			t.Error("inherited")
		}
		if ended() {
			t.Errorf("%q: Run has ended by itself", path)
		}
		die()
	}
}
