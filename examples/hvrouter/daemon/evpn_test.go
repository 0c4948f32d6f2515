package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// TestOverlayErrors: an overlay that cannot be made, or of which the kernel refuses a setting, is in the status for as long as that is so.
func TestOverlayErrors(t *testing.T) {
	b := newBench(t)
	e := b.edge.(fakeEdge)
	check := func(want ...string) {
		t.Helper()
		b.overlays()
		if got := b.overlayErrors(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check()
	e.refused["vx100"] = errors.New("vx100: mtu 9000: invalid argument")
	check("vx100: vx100: mtu 9000: invalid argument")
	e.stand["vx100"] = errors.New("create device vx100: file exists")
	check("vx100: create device vx100: file exists")
	clear(e.stand)
	clear(e.refused)
	check()
}

// TestOverlayRetried: an overlay that cannot be made is tried again when interfaces change, not with each batch of routes; it has
// everything once it is made.
func TestOverlayRetried(t *testing.T) {
	b := newBench(t)
	e := b.edge.(fakeEdge)
	b.cfg.Overlays = slices.Repeat(b.cfg.Overlays[:1], 2)
	var targets []overlay.Targets
	for i, name := range []string{"vx100", "vx200"} {
		target, err := evpn.RouteTarget(65000, uint32(100*(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		o := &b.cfg.Overlays[i]
		o.Name, o.VNI, o.EVPN = name, uint32(100*(i+1)), &config.EVPN{}
		o.EVPN.RouteTarget.ExtCommunity = target
		targets = append(targets, overlay.TargetsOf(target))
	}
	b.configureEVPN()
	tried := func(what string, want int) {
		t.Helper()
		n := 0
		for _, line := range b.take() {
			if strings.HasPrefix(line, "overlays ") {
				n++
			}
		}
		if n != want {
			t.Errorf("%s: tried %d times, want %d", what, n, want)
		}
	}
	says := func(of int, mac byte) {
		b.onEVPN("a", []sessions.EVPN{{Key: []byte{byte(of), mac}, Route: &overlay.Route{Targets: targets[of], VTEP: netip.MustParseAddr("172.22.2.9"),
			Route: evpn.Route{Type: evpn.TypeMACIP, MAC: overlay.MAC{2, 5: mac}, Label: evpn.Label(100 * (of + 1))}}}}, false)
	}
	e.stand["vx100"] = errors.New("create device vx100: file exists")
	b.refresh()
	tried("at the start", 1)
	for mac := range byte(5) {
		says(0, mac)
	}
	tried("its own routes", 0)
	says(1, 9)
	tried("another's route", 1)
	says(0, 9)
	tried("its own again", 0)
	b.link(50, "vxother")
	tried("an interface comes", 1)
	b.link(50, "vxanother")
	tried("it has another name", 1)
	b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{IfIndex: 50}})
	tried("it goes", 1)
	b.advance(b.evpn.again.Add(-1))
	tried("too early", 0)
	b.advance(b.evpn.again)
	tried("half a minute later", 1)
	clear(e.stand)
	b.advance(b.deadline())
	if !b.evpn.again.IsZero() {
		t.Error("it is tried again, and is there")
	}
	if got := b.take(); !slices.ContainsFunc(got, func(s string) bool {
		return strings.Contains(s, "overlay vx100: flood") && strings.Contains(s, " 6 MACs")
	}) {
		t.Errorf("%q", got)
	}
	says(0, 10)
	tried("its routes when it is there", 1)
}
