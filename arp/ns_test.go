package arp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var (
	vm1      = netip.MustParseAddr("203.0.113.1")
	vm3      = netip.MustParseAddr("203.0.113.3")
	guestMAC = MAC{0x50, 0x54, 0x33, 0, 0, 7}
)

// wire is a guest and a hypervisor joined by a veth pair.
type wire struct {
	guest, host *nstest.NS
	link        int // the hypervisor's end
	router      MAC
}

func newWire(t testing.TB) *wire {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	w := &wire{guest: nstest.New(t, "guest"), host: nstest.New(t, "host")}
	nstest.Veth(w.host, "vm1", "", w.guest, "eth0", "203.0.113.1/24")
	w.guest.IP("link set eth0 address " + guestMAC.String())
	w.link, w.router = index(t, w.host, "vm1")
	return w
}

func index(t testing.TB, ns *nstest.NS, name string) (link int, mac MAC) {
	t.Helper()
	ns.Do(func() error {
		ifi, err := net.InterfaceByName(name)
		if err == nil {
			link, mac = ifi.Index, MAC(ifi.HardwareAddr)
		}
		return err
	})
	return link, mac
}

func listen(t testing.TB, ns *nstest.NS) *Conn {
	t.Helper()
	c, err := Listen(Config{NetNS: ns.Path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// respond runs a responder for VM1 behind w until the test ends.
func (w *wire) respond(t testing.TB) *Responder {
	t.Helper()
	r := NewResponder(listen(t, w.host))
	err := r.SetGuest(w.link, Guest{MAC: guestMAC, Router: w.router, Addresses: []netip.Prefix{netip.PrefixFrom(vm1, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestArping(t *testing.T) {
	nstest.Need(t, "arping")
	w := newWire(t)
	r := w.respond(t)
	r.SetTarget(netip.PrefixFrom(vm3, 32), 0)
	if out := w.arping(t, "eth0"); !strings.Contains(out, w.router.String()) {
		t.Errorf("no answer from %v:\n%s", w.router, out)
	}
	if out, err := w.guest.Command("arping", "-c", "1", "-w", "100000", "-I", "eth0", "203.0.113.77").CombinedOutput(); err == nil {
		t.Errorf("a ghost answered:\n%s", out)
	}
	nstest.Wait(t, time.Second, "the ghost's verdict", func() bool { return r.Stats()[VerdictUnallocated] == 1 })
	s := r.Stats()
	if s[VerdictAnswered] == 0 {
		t.Errorf("verdicts: %v", s)
	}
	s[VerdictAnswered], s[VerdictUnallocated] = 0, 0
	if s != (Stats{}) {
		t.Errorf("other verdicts: %v", s)
	}
}

// arping asks for VM3 until it is answered and returns what arping said.
func (w *wire) arping(t *testing.T, link string) (out string) {
	t.Helper()
	nstest.Wait(t, time.Second, "an answer on "+link, func() bool {
		b, err := w.guest.Command("arping", "-c", "1", "-W", "0.2", "-I", link, "203.0.113.3").CombinedOutput()
		out = string(b)
		return err == nil
	})
	return out
}

// An interface that goes down, comes back, or vanishes ends nothing.
func TestInterfaceComesAndGoes(t *testing.T) {
	nstest.Need(t, "arping")
	w := newWire(t)
	r := w.respond(t)
	r.SetTarget(netip.PrefixFrom(vm3, 32), 0)
	w.host.IP("link set vm1 down")
	w.host.IP("link set vm1 up")
	w.arping(t, "eth0")
	nstest.Veth(w.host, "vm2", "", w.guest, "eth1", "203.0.113.2/24")
	link, mac := index(t, w.host, "vm2")
	if err := r.SetGuest(link, Guest{Router: mac}); err != nil {
		t.Fatal(err)
	}
	w.host.IP("link del vm1")
	w.arping(t, "eth1")
	r.RemoveGuest(w.link)
	r.RemoveGuest(link)
	if out, err := w.guest.Command("arping", "-c", "1", "-w", "100000", "-I", "eth1", "203.0.113.3").CombinedOutput(); err == nil {
		t.Errorf("answered after RemoveGuest:\n%s", out)
	}
}

func TestReadDeadlineAndClose(t *testing.T) {
	w := newWire(t)
	c := listen(t, w.host)
	frames := make([]Frame, 4)
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if _, err := c.Read(frames); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	done := make(chan error)
	go func() { _, err := c.Read(frames); done <- err }()
	c.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("close: %v", err)
	}
	if _, err := c.Write([]Frame{NewAnnouncement(w.router, vm3).On(w.link)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// A guest's stale entry ends with the first announcement.
func TestAnnounceUpdatesCache(t *testing.T) {
	w := newWire(t)
	w.guest.IP("neigh replace 203.0.113.3 lladdr 02:00:00:00:00:01 dev eth0 nud reachable")
	c := listen(t, w.host)
	if err := Announce(t.Context(), c, w.link, w.router, vm3); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, time.Second, "the guest to take the new address", func() bool {
		return strings.Contains(w.guest.IP("neigh show 203.0.113.3"), w.router.String())
	})
}

// The guest's gateway moves to another machine with another MAC, as in a live migration
// without a common gateway MAC: with an announcement the guest loses milliseconds,
// where its stale entry would cost it half a minute.
func TestMigrationGap(t *testing.T) {
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	nstest.Need(t, "ping")
	sw, guest := nstest.New(t, "switch"), nstest.New(t, "guest")
	sw.IP("link add br0 type bridge")
	sw.IP("link set br0 up")
	nstest.Veth(sw, "p0", "", guest, "eth0", "203.0.113.1/24")
	sw.IP("link set p0 master br0")
	var hosts [2]*nstest.NS
	for i, port := range []string{"p1", "p2"} {
		hosts[i] = nstest.New(t, "hv")
		nstest.Veth(sw, port, "", hosts[i], "vm1", "203.0.113.254/24")
		sw.IP("link set " + port + " master br0")
	}
	hosts[1].IP("link set vm1 down")
	link, mac := index(t, hosts[1], "vm1")
	c := listen(t, hosts[1])
	nstest.Wait(t, time.Second, "the gateway's answer", func() bool {
		return guest.Command("ping", "-c", "1", "-W", "1", "203.0.113.254").Run() == nil
	})

	const interval = 2 * time.Millisecond
	ping := guest.Command("ping", "-q", "-i", "0.002", "-c", "300", "-W", "0.2", "203.0.113.254")
	out := make(chan string)
	go func() { b, _ := ping.CombinedOutput(); out <- string(b) }()
	time.Sleep(200 * time.Millisecond)
	stall, begin := nstest.WatchStall(), time.Now()
	defer stall.Stop()
	hosts[0].IP("link set vm1 down")
	hosts[1].IP("link set vm1 up")
	moved := time.Since(begin)
	if err := Announce(t.Context(), c, link, mac, gateway); err != nil {
		t.Error(err)
	}
	text := <-out
	var sent, received int
	for line := range strings.Lines(text) {
		if strings.Contains(line, "packets transmitted") {
			_, _ = fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received)
		}
	}
	gap := time.Duration(sent-received) * interval
	t.Logf("%d of %d lost: a gap of %v, with the two runs of ip(8) in it, %v", sent-received, sent, gap, moved)
	if received == 0 || gap > 100*time.Millisecond+moved+stall.Slack() {
		t.Errorf("a gap of %v:\n%s", gap, text)
	}
}
