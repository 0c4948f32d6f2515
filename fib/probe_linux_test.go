package fib

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// A neighbour that the kernel holds for dead is asked for when its next-hop object is
// made, as it is when a gateway is back: groups would avoid it until the entry
// happens to go.
func TestDeadNeighborIsProbed(t *testing.T) {
	r := newRig(t, Config{})
	for i, gw := range []string{"10.0.0.2", "fd00::2"} {
		other := []string{"10.0.1.2", "fd01::2"}[i]
		prefix := []string{"10.1.0.0/16", "fd10::/64"}[i]
		r.set(Route{RouteKey: key(90, prefix, 0), NextHops: r.via(gw, other)})
		r.flush()
		dead := netip.MustParseAddr(gw)
		r.GatewayDown(r.link[0], dead)
		r.flush()
		r.ns.IP("neigh replace " + gw + " dev v0 nud failed")
		if s := r.neigh(gw); !strings.Contains(s, "FAILED") {
			t.Fatalf("%s is %s", gw, s)
		}
		r.GatewayUp(r.link[0], dead)
		nstest.Wait(t, 10*time.Second, "the neighbour "+gw, func() bool { return strings.Contains(r.neigh(gw), "lladdr") })
	}
}

func (r *rig) neigh(addr string) string { return r.ns.IP("neigh show to " + addr) }

// With a MAC there is an entry before anybody asks; without one none is made.
func TestProbe(t *testing.T) {
	r := newRig(t, Config{})
	mac := [6]byte{0x50, 0x54, 0x33, 0, 0, 7}
	r.Probe(r.link[0], netip.MustParseAddr("10.0.0.8"), [6]byte{})
	for _, a := range []string{"10.0.0.7", "fd00::7"} {
		r.Probe(r.link[0], netip.MustParseAddr(a), mac)
	}
	for _, a := range []string{"10.0.0.7", "fd00::7"} {
		nstest.Wait(t, 10*time.Second, "the entry of "+a, func() bool { return strings.Contains(r.neigh(a), "lladdr 50:54:33:00:00:07 STALE") })
	}
	if s := r.neigh("10.0.0.8"); s != "" {
		t.Errorf("an entry was made: %s", s)
	}
}
