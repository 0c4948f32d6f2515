package overlay

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestParse: communities have no order, so that their order is of no matter, and route targets that come twice are one.
func TestParse(t *testing.T) {
	table, err := rib.New(rib.Config{AS: 65000, RouterID: netip.MustParseAddr("0.0.1.1")})
	if err != nil {
		t.Fatal(err)
	}
	watcher := table.Watch(rib.WatchConfig{Families: wire.Families(wire.L2VPNEVPN), AllPaths: true})
	defer watcher.Close()
	parse := func(list ...wire.ExtCommunity) Route {
		route := evpn.Route{Type: evpn.TypeMACIP, MAC: MAC{2}, Label: 100}
		p := rib.LocalPath{NextHop: wire.NextHop{Addr: netip.MustParseAddr("172.22.2.2")}}
		p.EVPN, _ = route.AppendBinary(nil)
		p.Attrs.ExtCommunities = list
		if err := table.Originate(p); err != nil {
			t.Fatal(err)
		}
		buf := make([]rib.Change, 1)
		if watcher.Next(buf) != 1 || len(buf[0].Paths) != 1 {
			t.Fatal(buf)
		}
		c := buf[0]
		if _, ok := Parse(&c); ok {
			t.Error("our own route is one of others")
		}
		c.Paths = slices.Clone(c.Paths)
		c.Paths[0].Local = false
		r, ok := Parse(&c)
		if !ok {
			t.Fatal("it is no route")
		}
		return r
	}
	one, _ := evpn.RouteTarget(65000, 100)
	two, _ := evpn.RouteTarget(65000, 200)
	seven, three, sticky := evpn.Mobility{Sequence: 7}.Community(), evpn.Mobility{Sequence: 3}.Community(), evpn.Mobility{Sequence: 1, Sticky: true}.Community()
	a, b := parse(one, two, seven, three, sticky), parse(sticky, three, two, one, two, seven)
	if a.Targets != b.Targets || !slices.Equal(slices.Collect(a.Targets.All()), []wire.ExtCommunity{one, two}) {
		t.Errorf("targets %v and %v", slices.Collect(a.Targets.All()), slices.Collect(b.Targets.All()))
	}
	if want := (evpn.Mobility{Sequence: 7, Sticky: true}); a.Mobility != want || b.Mobility != want {
		t.Errorf("mobility %v and %v", a.Mobility, b.Mobility)
	}
	if r := parse(); r.Targets != (Targets{}) || slices.Collect(r.Targets.All()) != nil {
		t.Errorf("targets %v of none", slices.Collect(r.Targets.All()))
	}
}
