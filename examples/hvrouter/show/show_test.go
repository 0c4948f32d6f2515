package show

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// golden compares what is shown with a file, as the API sends it.
func golden(t *testing.T, file string, shown any) {
	t.Helper()
	text, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	scenario.Golden(t, "testdata/"+file+".json", string(text)+"\n")
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func sample(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := configtest.Sample(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A session that is up, with its BFD; one that was refused, with prefix limits; one that is not
// configured yet.
func TestSessions(t *testing.T) {
	c := sample(t, "hv1.yaml")
	refs := c.Domains[0].Reflectors
	failed := &bgp.PeerError{Err: errors.New("connection refused"), Time: noon}
	up := bgp.PeerStatus{State: bgp.Established, Since: noon, Established: 3, Plain: failed,
		Negotiated: &fsm.Negotiated{GracefulRestart: true, Local: wire.Capabilities{GracefulRestart: &wire.GracefulRestart{Time: 2 * time.Minute}}},
		Families:   []bgp.FamilyStatus{{Family: wire.IPv4Unicast, Counters: rib.Counters{Paths: 7, Stale: 1}}, {Family: wire.IPv6Unicast, NoNextHop: 2}}}
	down := bgp.PeerStatus{State: bgp.Idle, LastError: failed, LastLimit: failed, RefusedUntil: noon.Add(time.Minute)}
	bfds := []bfd.Status{{Key: peering.BFDKey("", refs[0]), State: bfd.StateUp}}
	golden(t, "sessions", Sessions(c, []sessions.Status{
		{Domains: "public", Reflector: refs[0], Peer: up}, {Domains: "public", Reflector: refs[1], Peer: down}, {Domains: "public", NetNS: "red", Reflector: refs[2]}}, bfds))
}

// The next hops of a session that has several, one with a probe.
func TestNextHops(t *testing.T) {
	c := sample(t, "testdata/single.yaml")
	r := c.Domains[0].Reflectors[0]
	var hops []sessions.NextHop
	for i, hop := range r.NextHopsOf("public") {
		hops = append(hops, sessions.NextHop{NextHop: hop, Own: "public", Alive: i == 0})
	}
	probe, ok := peering.Probe(c, "", hops[1].NextHop)
	if !ok {
		t.Fatal("no probe")
	}
	golden(t, "nexthops", Sessions(c, []sessions.Status{{Domains: "public", Reflector: r, NextHops: hops}}, []bfd.Status{{Key: probe.Key, State: bfd.StateDown}}))
}

func TestBFD(t *testing.T) {
	key := func(netns, link, peer string) bfd.Key {
		return bfd.Key{NetNS: netns, Interface: link, Peer: netip.MustParseAddr(peer), Local: netip.MustParseAddr("198.51.100.101")}
	}
	list := []bfd.Status{
		{Key: key("/run/netns/red", "a", "198.51.100.126"), State: bfd.StateUp, Since: noon, TxInterval: 100 * time.Millisecond, DetectTime: 500 * time.Millisecond},
		{Key: key("", "b", "198.51.100.126"), State: bfd.StateDown, Downs: 2}, {Key: key("", "a", "198.51.100.127")}, {Key: key("", "a", "198.51.100.126")},
	}
	golden(t, "bfd", BFD(list, func(path string) string { return path[max(0, len(path)-3):] }, func(k bfd.Key) bool { return k.Interface == "b" }, func(k bfd.Key) (at time.Time, why bfd.Reason) {
		if k.Interface == "b" {
			at, why = time.Unix(0, 0).UTC(), bfd.ReasonExpired
		}
		return at, why
	}))
	if empty := BFD(nil, nil, nil, nil); empty == nil {
		t.Error("null, not an empty list")
	}
}

// domains are two domains: one has a local, a learned and a BGP route, the other has nothing.
func domains(t *testing.T) []Domain {
	t.Helper()
	c := sample(t, "hv1.yaml")
	var fx domain.Effects
	r := domain.NewRIB(domain.NewView(c, 0))
	p := netip.MustParsePrefix
	r.SetLocals(map[netip.Prefix]domain.Local{p("203.0.113.1/32"): {NextHops: []domain.NextHop{{Link: "vm1", OnLink: true}}, LocalPref: 120}}, &fx)
	r.SetLearned(p("203.0.113.9/32"), domain.Learned{Metric: 7, NextHops: []domain.NextHop{{Link: "tap0"}}}, &fx)
	r.SetBGP(p("203.0.113.0/30"), []domain.NextHop{{Gateway: netip.MustParseAddr("198.51.100.102"), Link: "a.public"}}, true, &fx)
	exports := domain.NewExports()
	paths := func(q netip.Prefix) []rib.Path {
		if q != p("203.0.113.0/30") {
			return nil
		}
		return []rib.Path{{NextHop: wire.NextHop{Addr: netip.MustParseAddr("198.51.100.102")}, Peer: netip.MustParseAddr("198.51.100.126")}, {Local: true, Stale: true, Rank: 1, Lost: rib.StepLocalPref}}
	}
	return []Domain{{Name: "public", NetNS: "red", RIB: r, Exports: exports, OffLink: map[netip.Prefix]int{p("203.0.113.0/30"): 2}, Paths: paths},
		{Name: "private", RIB: domain.NewRIB(domain.NewView(c, 1)), Exports: domain.NewExports(), Paths: paths}}
}

func TestRIB(t *testing.T) {
	all := RIB(domains(t), netip.Prefix{})
	golden(t, "rib", all)
	if one := RIB(domains(t), netip.MustParsePrefix("203.0.113.9/32")); len(one) != 1 || one[0].Source != "learned" {
		t.Errorf("one prefix: %+v", one)
	}
	if none := RIB(nil, netip.Prefix{}); none == nil || len(none) > 0 {
		t.Errorf("no domain: %v", none)
	}
}

func TestExplain(t *testing.T) {
	list := domains(t)
	refs := sample(t, "hv1.yaml").Domains[0].Reflectors
	up := bgp.PeerStatus{State: bgp.Established, Families: []bgp.FamilyStatus{{Family: wire.IPv4Unicast}}}
	list[0].Peers = func(p netip.Prefix) []sessions.Peer {
		some := up
		some.Families = []bgp.FamilyStatus{{Family: wire.IPv4Unicast, NoNextHop: 1}}
		peers := []sessions.Peer{{Reflector: refs[0], Status: up}, {Reflector: refs[1], Status: some}, {Reflector: refs[0], Status: bgp.PeerStatus{State: bgp.Active}},
			{Reflector: refs[1], Status: bgp.PeerStatus{State: bgp.Idle, LastError: &bgp.PeerError{Err: errors.New("connection refused"), Time: noon}}}}
		if p == netip.MustParsePrefix("203.0.113.1/32") {
			peers[0].Adverts = []rib.Advert{{Prefix: p, PathID: 1}, {Prefix: p, PathID: 2}}
		}
		return peers
	}
	golden(t, "explain", [][]string{
		Explain(netip.MustParsePrefix("203.0.113.1/32"), list), Explain(netip.MustParsePrefix("203.0.113.2/32"), list),
		Explain(netip.MustParsePrefix("203.0.113.9/32"), list), Explain(netip.MustParsePrefix("2001:db8::1/128"), list)})
}

func TestExplainMAC(t *testing.T) {
	refs := sample(t, "hv1.yaml").Domains[0].Reflectors
	with := func(families ...wire.Family) bgp.PeerStatus {
		st := bgp.PeerStatus{State: bgp.Established}
		for _, f := range families {
			st.Families = append(st.Families, bgp.FamilyStatus{Family: f})
		}
		return st
	}
	peers := []sessions.Peer{{Reflector: refs[0], Status: with(wire.IPv4Unicast, wire.L2VPNEVPN)}, {Reflector: refs[1], Status: with(wire.IPv4Unicast)}, {Reflector: refs[0], Status: bgp.PeerStatus{State: bgp.Active}}}
	route := func(vtep, ip, state, why string) (l overlay.Listed) {
		l.Route = evpn.Route{Type: evpn.TypeMACIP, RD: evpn.NewRD(netip.MustParseAddr("0.0.1.2"), 100), MAC: evpn.MAC{2, 0, 0, 0, 0, 2}}
		l.VTEP, l.State, l.Why, l.Peer = netip.MustParseAddr(vtep), state, why, netip.MustParseAddr("172.22.15.126")
		if ip != "" {
			l.IP = netip.MustParseAddr(ip)
		}
		return l
	}
	guest := func(state, why string) overlay.Listed {
		l := route("172.22.2.1", "", state, why)
		l.Guest, l.Peer = "vm2", netip.Addr{}
		return l
	}
	const target = wire.ExtCommunity(0x0002fde800000064)
	targets := []config.RouteTarget{{ExtCommunity: target}, {ExtCommunity: target + 1}}
	constrained := func(asked ...wire.ExtCommunity) sessions.Peer {
		p := sessions.Peer{Reflector: refs[0], Status: with(wire.L2VPNEVPN, wire.RTConstrain), Asked: asked}
		p.Status.Negotiated = &fsm.Negotiated{Families: wire.Families(wire.L2VPNEVPN, wire.RTConstrain)}
		return p
	}
	peers = append(peers, constrained(target+1, target, target+2), constrained(target+2))
	sticky := route("172.22.2.3", "192.168.5.2", "used", "")
	sticky.Mobility = evpn.Mobility{Sequence: 3, Sticky: true}
	golden(t, "explain-mac", [][]string{
		ExplainMAC("vx100", targets, overlay.Place{Settled: true}, peers),
		ExplainMAC("vx100", targets, overlay.Place{VTEP: sticky.VTEP, Settled: true, Routes: []overlay.Listed{sticky, route("172.22.2.2", "", "unused", "that of 172.22.2.3 is sticky"), guest("withheld", "another VTEP has taken the MAC over")}}, peers),
		ExplainMAC("vx100", targets, overlay.Place{Port: "vm2.x", Settled: true, Routes: []overlay.Listed{guest("announced", "")}}, peers),
		ExplainMAC("vx100", targets, overlay.Place{Port: "vm2.x", Routes: []overlay.Listed{guest("announced", "")}}, nil)})
}

func TestFIB(t *testing.T) {
	route := func(table uint32, prefix string, metric uint32) fib.RouteStatus {
		s := fib.RouteStatus{State: fib.StateInstalled}
		s.RouteKey = fib.RouteKey{Table: table, Prefix: netip.MustParsePrefix(prefix), Metric: metric}
		return s
	}
	list := []fib.RouteStatus{route(90, "203.0.113.2/32", 20), route(90, "203.0.113.2/32", 10), route(90, "203.0.113.0/24", 20), route(20, "203.0.113.9/32", 20)}
	list[0].NextHops = []fib.NextHop{{Gateway: netip.MustParseAddr("198.51.100.102"), IfIndex: 10}, {IfIndex: 99}}
	list[1].State, list[1].Err = fib.StateFailed, errors.New("no such device")
	name := func(i int) string { return LinkName(map[int]string{10: "a.public"}[i], i) }
	golden(t, "fib", FIB("red", slices.Values(list), 0, name))
	if one := FIB("", slices.Values(list), 20, name); len(one) != 1 {
		t.Errorf("one table: %+v", one)
	}
}

func TestDifferences(t *testing.T) {
	golden(t, "differences", Differences("red", []fib.Difference{{Op: "add", Key: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.2/32")}, Want: "this", Have: "that"}}))
}

func TestGuests(t *testing.T) {
	c := sample(t, "hv1.yaml")
	var in guest.Inventory
	in.Use(c.Admission(config.Host{}))
	entries := c.Entries()
	twice := entries[0]
	twice.Guest.Name = "copy"
	in.Replace(guest.FromConfig, append(entries, twice))
	here := guest.Port{Guest: c.Guests[0]}
	here.Link.IfIndex, here.LocalPref = 20, 50
	golden(t, "guests", Guests(&in, map[string]guest.Port{here.Name: here, "tap0": {Guest: config.Guest{Name: "tap0", Interface: "tap0"}}}, func(string) bool { return false }))
}

// What the kernel has and what was found make one entry an address, with whom it belongs to and
// who else claims it.
func TestNeighbours(t *testing.T) {
	addr := netip.MustParseAddr
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	list := Neighbours(NeighbourTables{
		Kernel: []netns.Neighbour{{IfIndex: 20, Addr: addr("203.0.113.50"), MAC: mac[:], State: "reachable"}, {IfIndex: 99, Addr: addr("192.0.2.1"), State: "failed", Router: true}},
		Found: []Found{{Addr: addr("203.0.113.50"), IfIndex: 20, MAC: mac, Since: noon, Conflict: &Conflict{IfIndex: 21, MAC: [6]byte{2, 0, 0, 0, 0, 9}, Time: noon}},
			{Addr: addr("2001:db8::7"), IfIndex: 20}},
		Guests: []guest.Port{{Guest: config.Guest{Name: "vm1", Interface: "tap0", IPv4: []config.Addr{{Addr: addr("203.0.113.50")}}, IPv6: []config.Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/64")}}}}},
		Link:   func(i int) (string, bool) { name, ok := map[int]string{20: "tap0", 21: "tap1"}[i]; return name, ok },
	})
	SortNeighbours(list)
	golden(t, "neighbours", list)
}
