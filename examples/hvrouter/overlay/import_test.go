package overlay

import (
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// TestImportChanges: another import of an overlay withdraws nothing that is announced.
func TestImportChanges(t *testing.T) {
	target := func(n uint32) (r config.RouteTarget) {
		r.ExtCommunity, _ = evpn.RouteTarget(65000, n)
		return r
	}
	with := func(imports ...config.RouteTarget) []config.Overlay {
		return []config.Overlay{{Name: "vx", VNI: 100, Local: config.Addr{Addr: netip.MustParseAddr("172.22.2.1")}, EVPN: &config.EVPN{RouteTarget: target(100), Import: imports,
			RD: config.RD{RD: evpn.NewRD(netip.MustParseAddr("0.0.1.1"), 100)}, DuplicateMoves: 5}}}
	}
	c, fx := New(), &Effects{}
	c.Configure(with(), time.Time{}, fx)
	c.SetReady("vx", true, fx)
	c.Synced(time.Time{}, fx)
	if len(fx.Routes) != 1 {
		t.Fatalf("originated: %v", fx.Routes)
	}
	for _, list := range [][]config.Overlay{with(target(7)), with(target(8), target(9)), with()} {
		fx.Reset()
		if c.Configure(list, time.Time{}, fx); len(fx.Routes) > 0 {
			t.Errorf("imports %v: %v", list[0].EVPN.Import, fx.Routes)
		}
	}
}
