package edge

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/vxlan"
)

// TestSegmentOf: whatever others say, vxlan takes what is made of it: it refuses a segment as a whole, so that one
// route with a MAC that is none would be the end of the overlay.
func TestSegmentOf(t *testing.T) {
	target, err := evpn.RouteTarget(65000, 100)
	if err != nil {
		t.Fatal(err)
	}
	c, fx, now := overlay.New(), overlay.Effects{}, time.Unix(0, 0)
	o := config.Overlay{Name: "vx100", VNI: 100, Local: config.Addr{Addr: netip.MustParseAddr("172.22.2.1")}, EVPN: &config.EVPN{}}
	o.EVPN.RouteTarget.ExtCommunity = target
	c.Configure([]config.Overlay{o}, now, &fx)
	addrs := []netip.Addr{{}}
	for _, s := range []string{"0.0.0.0", "0.0.0.1", "127.0.0.1", "169.254.1.1", "192.168.5.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"::", "::1", "::ffff:192.168.5.1", "fe80::1", "ff02::1", "2001:db8::1"} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	macs := []overlay.MAC{{}, {1}, {2}, {255, 255, 255, 255, 255, 255}, {0, 0, 0, 0, 0, 1}}
	for i, a := range addrs {
		for j, m := range macs {
			for n, vtep := range addrs {
				for _, typ := range []evpn.RouteType{evpn.TypeMACIP, evpn.TypeMulticast} {
					r := &overlay.Route{Route: evpn.Route{Type: typ, MAC: m, IP: a, Label: 100}, VTEP: vtep, Targets: overlay.TargetsOf(target)}
					c.SetRoute("a", []byte{byte(typ), byte(i), byte(j), byte(n)}, r, now, &fx)
				}
			}
		}
	}
	fdb, err := vxlan.New(vxlan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	d := c.Desired("vx100")
	if len(d.MACs) != 2 || len(d.Neighbors) != 5 || len(d.Flood) != 3 {
		t.Errorf("MACs %v, neighbours %v, flood %v", d.MACs, d.Neighbors, d.FloodList())
	}
	if err := fdb.SetSegment(segmentOf(7, 8, d)); err != nil {
		t.Error(err)
	}
	s := segmentOf(7, 8, d)
	for a, mac := range s.Neighbors { // as one of our own may have
		if a.Unmap() != a {
			t.Errorf("%v has %v", a, mac)
		}
	}
}
