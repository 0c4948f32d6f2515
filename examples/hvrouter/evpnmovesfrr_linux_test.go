package main

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var guestMovesFRR = flag.Int("moves-frr", 20, "how often TestEVPNMovesFRR moves its guest")

// TestEVPNMovesFRR: one guest moves again and again between a hypervisor of ours, by `guest move`, and FRR, which learns of
// it by a frame of the guest. Each time the kernels of the source and of another hypervisor of ours have it behind the target,
// and in the end nothing of any move is left, in FRR's kernel as in ours. How long that took is printed, and judged by nobody;
// -moves-frr has another number.
func TestEVPNMovesFRR(t *testing.T) {
	nstest.Need(t, "zebra", "/usr/lib/frr")
	l := newOverlayLAN(t)
	ours, other := l.hypervisor(1), l.hypervisor(2)
	here, there, vm2 := l.guest(1), l.guest(1), l.guest(2)
	vm2.plug(other.hv)
	here.plug(ours.hv)
	frr := l.frrVTEP(l.guest(3))
	for _, h := range []*host{ours, other} {
		established(h)
		h.wait("the sweep", func() bool { return strings.Contains(h.logged(), "event=swept") })
	}
	frr.fdb(t, here.mac(), "dst 172.22.2.1")
	there.plug(frr.ns)
	frr.ns.IP("link set vm1.x master br100 up")
	mac, _ := net.ParseMAC(here.mac())
	source, target, third := watchForwarding(t, ours.hv, mac), watchForwarding(t, frr.ns, mac), watchForwarding(t, other.hv, mac)
	var device int // FRR leaves the device's own entry as it is while the guest is behind FRR: the bridge's is what changes
	frr.ns.Do(func() error {
		link, err := net.InterfaceByName("vx100")
		if err == nil {
			device = link.Index
		}
		return err
	})
	atFRR, atOurs := netip.MustParseAddr("172.22.2.3"), netip.MustParseAddr("172.22.2.1")

	var to, back []time.Duration
	for n := range *guestMovesFRR {
		for _, w := range []*forwarding{source, target, third} {
			w.flush()
		}
		began := time.Now()
		if n%2 == 0 { // to FRR
			there.says(t, here.mac())
			if !source.behind(atFRR) || !third.behind(atFRR) {
				t.Fatalf("move %d: a kernel has no entry towards FRR", n+1)
			}
			to = append(to, time.Since(began))
			moveGuest(ours, "vm1", true)
			continue
		}
		moveGuest(ours, "vm1", false)
		if !target.at(device) || !third.behind(atOurs) {
			t.Fatalf("move %d: a kernel has no entry towards ours", n+1)
		}
		back = append(back, time.Since(began))
	}
	for _, m := range []struct {
		what string
		all  []time.Duration
	}{{"from a frame of the guest behind FRR to the last kernel of ours", to}, {"from the command at ours to the last other kernel, FRR's among them", back}} {
		if slices.Sort(m.all); len(m.all) > 0 {
			t.Logf("%d moves, %s: median %v, 99 of 100 in %v, all in %v", len(m.all), m.what, m.all[len(m.all)/2], m.all[len(m.all)*99/100], m.all[len(m.all)-1])
		}
	}

	last := 1 // the VTEP of where it is
	if *guestMovesFRR%2 == 1 {
		last = 3
	}
	// FRR announces the MAC alone: it has seen no address.
	neighbours := `
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201`
	if last == 3 {
		neighbours = ""
	}
	stale := func(name string, want int, lines []string) {
		t.Helper()
		n := 0
		for _, line := range lines {
			if strings.HasPrefix(line, here.mac()) || strings.Contains(line, "lladdr "+here.mac()) {
				n++
			}
		}
		if n != want {
			t.Errorf("%s has %d entries, want %d:\n%s", name, n, want, strings.Join(lines, "\n"))
		}
	}
	var got []string
	other.wait("the third kernel has the guest where it is", func() bool {
		got = entries(other.hv, "vx100", "br100")
		return slices.Contains(got, fmt.Sprintf("%s dst 172.22.2.%d self extern_learn static", here.mac(), last)) && strings.Count(strings.Join(got, "\n"), "lladdr "+here.mac()) == strings.Count(neighbours, "lladdr")
	})
	stale("the third kernel", 2+strings.Count(neighbours, "lladdr"), got)
	want := map[bool]int{true: 0, false: 2}[last == 1] // at ours, where it is no entry of EVPN
	ours.wait("ours has nothing that is stale", func() bool {
		got = slices.DeleteFunc(entries(ours.hv, "vx100", "br100"), func(s string) bool { return strings.Contains(s, "lladdr") })
		return strings.Count(strings.Join(got, "\n"), here.mac()) == want
	})
	nstest.Wait(t, 20*time.Second, "FRR's kernel has nothing that is stale", func() bool {
		got = nil
		for line := range strings.Lines(frr.ns.Exec("bridge", "fdb", "show", "br", "br100")) {
			if strings.HasPrefix(line, here.mac()) {
				got = append(got, strings.TrimSpace(line))
			}
		}
		text := strings.Join(got, "\n")
		return strings.Contains(text, "dev vx100 extern_learn master br100") == (last == 1) && strings.Contains(text, "dev vm1.x") == (last == 3) && !strings.Contains(text, "dst 172.22.2.2")
	})
	t.Logf("FRR's kernel has %q", got)
	if s := ours.logged() + other.logged(); strings.Contains(s, "event=evpn-duplicate") || strings.Contains(s, "event=evpn-frozen") || strings.Contains(s, "event=overlay-error") {
		t.Errorf("logged:\n%s", s)
	}
}
