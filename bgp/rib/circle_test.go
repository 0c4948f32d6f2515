package rib

import (
	"fmt"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// turns are ready-made policies, each beside what undoes it.
var turns = func() (list [][2]Policy) {
	c, large := wire.NewCommunity(65000, 1), wire.LargeCommunity{Global: 65000, Local1: 1}
	ext := wire.ExtCommunity(0x0002_FDE8_0000_0001)
	set := func(f func(*Route)) Policy { return func(r *Route) Verdict { f(r); return VerdictNext } }
	return [][2]Policy{
		{AcceptAll, RejectAll},
		{AddCommunity(c), DeleteCommunity(c)},
		{SetCommunities(c), SetCommunities()},
		{SetCommunities(c), DeleteCommunity(c)},
		{SetCommunities(c, c+1), SetCommunities(c+1, c)},
		{AddLargeCommunity(large), DeleteLargeCommunity(large)},
		{AddExtCommunity(ext), DeleteExtCommunity(ext)},
		{SetLocalPref(100), SetLocalPref(200)},
		{SetMED(5), set((*Route).DeleteMED)},
		{SetMED(5), SetMED(0)},
		{NextHopSelf, set(func(r *Route) { r.SetNextHop(wire.NextHop{Addr: ip("192.0.2.1")}) })},
		{set(func(r *Route) { r.Prepend(65001, 1) }), VerdictNext.always()},
		{Chain(SetCommunities(wire.CommunityGracefulShutdown), GracefulShutdown), Chain(SetCommunities(c), SetLocalPref(100))},
		{OnLink(pfx("192.0.2.0/24")), OnLink(pfx("198.51.100.0/24"))},
	}
}()

func (v Verdict) always() Policy { return func(*Route) Verdict { return v } }

// TestPoliciesInCircles has policies and their inverses change the paths of one client back and
// forth, on import and on export, while sessions are refreshed and reconfigured: the attribute sets
// that there are stay bounded by the paths, and none is left without paths.
func TestPoliciesInCircles(t *testing.T) {
	var all []Policy
	for _, turn := range turns {
		all = append(all, turn[0], turn[1], Chain(turn[0], turn[1]), Chain(turn[1], turn[0]), Chain(turn[0], turn[1], turn[0]))
	}
	for i, imports := range all {
		for k := range 3 { // of the exports, the inverse among them
			circle(t, fmt.Sprint(i, " and ", k), imports, all[(i+5*k+1)%len(all)], all[(i/5*5+k)%len(all)])
		}
	}
}

func circle(t *testing.T, name string, imports, export, other Policy) {
	tab, ins := benchTable(t, 2)
	cfg := PeerConfig{Addr: ip("10.0.0.0"), RouterID: ip("10.0.0.0"), AS: 65000, Client: true, Import: imports}
	if err := ins[0].Configure(cfg); err != nil {
		t.Fatal(err)
	}
	c := OutConfig{AS4: true, NextHop4: wire.NextHop{Addr: ip("192.0.2.1")}, Export: export}
	out, err := ins[1].NewOut(c)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	const routes = 3
	for n := range 200 {
		for i := range routes {
			a := wire.PathAttrs{LocalPref: ptr(100), ASPath: []uint32{uint32(70000 + n)}, Communities: []wire.Community{wire.NewCommunity(65000, uint16(n%3))}}
			if err := ins[0].Update(reachOf(t, true, a, via("192.0.2.1"), wire.NLRI{Prefix: prefix4(i)})); err != nil {
				t.Fatal(err)
			}
		}
		switch n % 16 {
		case 3:
			out.Refresh(wire.IPv4Unicast, true)
		case 7:
			c.Export, other = other, c.Export
			if err := out.Reconfigure(c); err != nil {
				t.Fatal(err)
			}
		case 11:
			cfg.Import, c.Export = c.Export, cfg.Import
			if err := ins[0].Configure(cfg); err != nil {
				t.Fatal(err)
			}
			if err := out.Reconfigure(c); err != nil {
				t.Fatal(err)
			}
		}
		for out.Fill(buf) > 0 {
		}
		if s := tab.Stats(); s.Attrs > 20*routes {
			t.Fatalf("%s: %d attribute sets for %d paths after %d changes", name, s.Attrs, s.Paths, n+1)
		}
	}
	if err := ins[0].Update(unreachOf4(t, routes)); err != nil {
		t.Fatal(err)
	}
	for out.Fill(buf) > 0 {
	}
	if s := tab.Stats(); s.Attrs != 0 || s.Paths != 0 || s.Prefixes[0] != 0 {
		t.Fatalf("%s: left over: %+v", name, s)
	}
}

// unreachOf4 withdraws the first n prefixes of prefix4.
func unreachOf4(tb testing.TB, n int) *wire.Update {
	var list []wire.NLRI
	for i := range n {
		list = append(list, wire.NLRI{Prefix: prefix4(i)})
	}
	return unreachOf(tb, list...)
}
