package main

import (
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestEVPNFrozen: a guest with the MAC of one of ours comes and goes behind FRR, which announces a higher sequence number
// each time. After five moves the MAC is frozen: when the interface of ours is made anew, FRR keeps the MAC, with the number
// that it had. What the operator says of the guest ends that.
func TestEVPNFrozen(t *testing.T) {
	nstest.Need(t, "zebra", "/usr/lib/frr")
	l := newOverlayLAN(t)
	h := l.hypervisor(1)
	vm1, there := l.guest(1), l.guest(1)
	vm1.plug(h.hv)
	frr := l.frrVTEP(l.guest(3))
	established(h)
	frr.fdb(t, vm1.mac(), "dst 172.22.2.1")
	h.wait("the sweep", func() bool { return strings.Contains(h.logged(), "event=swept") })

	logged := func(event string, n int) func() bool {
		return func() bool { return strings.Count(h.logged(), "event="+event+" ") == n }
	}
	comes := func() {
		there.plug(frr.ns)
		frr.ns.IP("link set vm1.x master br100 up")
	}
	speaks := func() { _ = there.Command("ping", "-n", "-c", "1", "-W", "1", "192.168.5.3").Run() }
	for n := range 3 {
		comes()
		h.wait("FRR has taken the MAC over", func() bool { speaks(); return logged("evpn-superseded", n+1)() })
		if n < 2 {
			if logged("evpn-frozen", 1)() {
				t.Fatalf("frozen after %d moves", 2*n+1)
			}
			frr.ns.IP("link del vm1.x")
			h.wait("FRR has given it back", logged("evpn-returned", n+1))
		}
	}
	h.wait("the MAC is frozen", logged("evpn-frozen", 1))
	if out := h.cli("show", "evpn", "-guest", "vm1"); strings.Count(out, "it is a duplicate: it has moved 5 times in ") != 3 {
		t.Errorf("show evpn:\n%s", out)
	}
	explains(t, h, vm1.mac(), "wanted behind VTEP 172.22.2.3", "it is a duplicate: it has moved 5 times in ")
	frozen := func(want bool) {
		t.Helper()
		var health api.Health
		if err := h.ask("/v1/health", &health); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, f := range health.Reasons {
			codes = append(codes, f.Kind)
		}
		if got := strings.Contains(strings.Join(codes, " "), "frozen-mac"); got != want {
			t.Errorf("health has %v", codes)
		}
	}
	frozen(true)

	vm1.IP("link del eth0")
	vm1.plug(h.hv)
	h.wait("the guest came and did not get its MAC", logged("evpn-superseded", 4))
	if logged("evpn-claimed", 1)() {
		t.Error("a MAC that is frozen was taken over")
	}
	explains(t, h, vm1.mac(), "wanted behind VTEP 172.22.2.3", "it is a duplicate: it has moved 6 times in ")

	h.cli("guest", "move", "vm1", "-down")
	h.wait("the operator has said where the guest is", logged("evpn-thawed", 1))
	h.cli("guest", "move", "vm1", "-up")
	h.wait("the guest has its MAC", logged("evpn-claimed", 1))
	frr.fdb(t, vm1.mac(), "dst 172.22.2.1")
	frozen(false)
}
