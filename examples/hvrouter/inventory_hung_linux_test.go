package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// hung mounts a file system whose server never answers, as NFS without its server. It
// returns what ends it.
func hung(t *testing.T, dir string) (end func()) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no FUSE:", err)
	}
	if err := unix.Mount("hung", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		unix.Close(fd)
		t.Skip("no FUSE:", err)
	}
	open := true
	end = func() {
		if open {
			unix.Close(fd) // whoever waits gets an error
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
		open = false
	}
	t.Cleanup(end)
	return end
}

// shared makes what is mounted below a directory, and unmounted, so for those as well who
// have a mount namespace of their own by then, as `ip netns exec` gives its command.
func shared(t *testing.T, dir string) {
	t.Helper()
	for _, flags := range []uintptr{unix.MS_BIND, unix.MS_SHARED} {
		if err := unix.Mount(dir, dir, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func newInventoryHost(t *testing.T) *host {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	shared(t, h.dir)
	if err := os.Mkdir(h.path("guests"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(strings.Replace(edgeConfig, "ARP", "kernel", 1), "guests:\n  -")
	h.write("hv.yaml", text+"inventory: {directory: DIR/guests}\n")
	t.Cleanup(h.end)
	return h
}

// ends sends SIGTERM, and says how long the daemon took to end.
func (h *host) ends() time.Duration {
	h.t.Helper()
	begin := time.Now()
	h.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- h.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		h.t.Fatal("the daemon does not end")
	}
	return time.Since(begin)
}

// TestInventoryOfOtherThings: a FIFO, a device, loops and the like among the guests' files
// are skipped, each with an event; the guests beside them are served, the API answers, and
// SIGTERM works (E8).
func TestInventoryOfOtherThings(t *testing.T) {
	h := newInventoryHost(t)
	for name, make := range map[string]func(string) error{
		"a-fifo.yaml":   func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a-loop.yaml":   func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"a-device.yaml": func(p string) error { return os.Symlink("/dev/zero", p) },
		"a-dir.json":    func(p string) error { return os.Mkdir(p, 0o700) },
		"deep.json":     func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("[", 1<<20)), 0o600) },
	} {
		if err := make(h.path("guests/" + name)); err != nil {
			t.Fatal(err)
		}
	}
	h.write("guests/vm1.json", inventoryGuest)
	h.hv.IP("link add name vm1 type veth peer name eth0 netns " + h.vm.Name)
	begin := time.Now()
	h.run()
	h.wait("the guest's route", func() bool { return h.routes("route show table 90 203.0.113.1") != "" })
	t.Logf("start to route: %v", time.Since(begin).Round(time.Millisecond))
	log := ""
	h.wait("an event for each", func() bool {
		data, _ := os.ReadFile(h.path("hv.log"))
		log = string(data)
		for _, want := range []string{"a-fifo.yaml: it is a FIFO", "a-loop.yaml: too many levels", "a-device.yaml: it is a device", "a-dir.json: it is a directory", "deep.json:1:33: nested more than 32 deep"} {
			if !strings.Contains(log, want) {
				return false
			}
		}
		return true
	})
	// A FIFO that comes later, and takes the place of a guest's file.
	if err := os.Remove(h.path("guests/vm1.json")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(h.path("guests/b-fifo.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.wait("the guest gone", func() bool { return h.routes("route show table 90 203.0.113.1") == "" })
	// The directory goes, and comes back with other guests: it is the same directory.
	if err := os.Rename(h.path("guests"), h.path("guests.old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.path("guests"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("guests/vm1.json", inventoryGuest)
	nstest.Wait(t, 10*time.Second, "the new directory's guest", func() bool { return h.routes("route show table 90 203.0.113.1") != "" })
	if took := h.ends(); took > 2*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
}

// TestInventoryThatHangs: a directory on a file system that does not answer makes nobody
// wait but for its own guests: the API is there, other guests are served, routes of the
// daemon before stay, SIGTERM works (E8).
func TestInventoryThatHangs(t *testing.T) {
	h := newInventoryHost(t)
	h.write("guests/vm1.json", inventoryGuest)
	h.hv.IP("link add name vm1 type veth peer name eth0 netns " + h.vm.Name)
	h.run()
	h.wait("the guest's route", func() bool { return h.routes("route show table 90 203.0.113.1") != "" })
	h.ends()

	end := hung(t, h.path("guests"))
	begin := time.Now()
	h.run()
	h.wait("the API", func() bool { var s api.Status; return h.ask("/v1/status", &s) == nil })
	t.Logf("start to API: %v", time.Since(begin).Round(time.Millisecond))
	h.write("vm9.yaml", "{name: vm9, interface: tap9, ipv4: [203.0.113.9]}")
	h.hv.IP("link add name tap9 type veth peer name tap9p")
	h.cli("guest", "add", h.path("vm9.yaml"))
	h.wait("another guest's route", func() bool { return h.routes("route show table 90 203.0.113.9") != "" })
	var s api.Status
	if err := h.ask("/v1/status", &s); err != nil || s.Converged {
		t.Errorf("converged without the inventory: %+v, %v", s, err)
	}
	if h.routes("route show table 90 203.0.113.1") == "" {
		t.Error("the guest's route was swept")
	}
	if took := h.ends(); took > 2*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}

	h.run()
	h.wait("the API", func() bool { var s api.Status; return h.ask("/v1/status", &s) == nil })
	end() // the server is back, with the directory as it was
	nstest.Wait(t, 20*time.Second, "everything read", func() bool { return h.ask("/v1/status", &s) == nil && s.Converged })
	if h.routes("route show table 90 203.0.113.1") == "" || h.routes("route show table 90 203.0.113.9") == "" {
		t.Error("a guest's route is gone")
	}
	// It hangs while the daemon works.
	end = hung(t, h.path("guests"))
	h.write("vm8.yaml", "{name: vm8, interface: tap9p, ipv4: [203.0.113.8]}")
	h.cli("guest", "add", h.path("vm8.yaml"))
	h.wait("one more guest's route", func() bool { return h.routes("route show table 90 203.0.113.8") != "" })
	if took := h.ends(); took > 2*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	end()
}
