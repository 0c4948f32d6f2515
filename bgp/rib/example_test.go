package rib_test

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// announce makes what a session would parse.
func announce(prefix, nextHop string, attrs wire.PathAttrs) *wire.Update {
	b := wire.Builder{AS4: true}
	b.Reach(nil, wire.IPv4Unicast, attrs.Append(nil), wire.NextHop{Addr: netip.MustParseAddr(nextHop)})
	b.Add(wire.NLRI{Prefix: netip.MustParsePrefix(prefix)})
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true})
	if err != nil {
		panic(err)
	}
	return &u
}

// A table with two peers, seen by a FIB: two equal paths make a multipath set.
func Example() {
	table, _ := rib.New(rib.Config{AS: 65000, RouterID: netip.MustParseAddr("10.0.0.1")})
	watcher := table.Watch(rib.WatchConfig{})
	pref := uint32(100)
	for _, addr := range []string{"10.0.1.1", "10.0.1.2"} {
		a := netip.MustParseAddr(addr)
		in, _ := table.NewIn(rib.PeerConfig{Addr: a, RouterID: a, AS: 65000})
		_ = in.Update(announce("203.0.113.0/24", addr, wire.PathAttrs{LocalPref: &pref}))
	}
	changes := make([]rib.Change, 16)
	n := watcher.Next(changes)
	for _, c := range changes[:n] {
		if c.Converged {
			fmt.Println("converged")
			break
		}
		fmt.Print(c.Prefix)
		for _, p := range c.Paths {
			fmt.Print(" via ", p.NextHop.Addr)
		}
		fmt.Println()
	}
	// Output:
	// 203.0.113.0/24 via 10.0.1.1 via 10.0.1.2
	// converged
}

// A route reflector in miniature: what one client announces is what the other is sent.
func ExampleOut() {
	table, _ := rib.New(rib.Config{AS: 65000, RouterID: netip.MustParseAddr("10.0.0.1")})
	client := func(s string) *rib.In {
		a := netip.MustParseAddr(s)
		in, _ := table.NewIn(rib.PeerConfig{Addr: a, RouterID: a, AS: 65000, Client: true})
		return in
	}
	from, to := client("10.0.1.1"), client("10.0.1.2")
	out, _ := to.NewOut(rib.OutConfig{AS4: true})
	defer out.Close()
	pref := uint32(100)
	_ = from.Update(announce("203.0.113.0/24", "10.0.1.1", wire.PathAttrs{LocalPref: &pref}))

	buf := make([]byte, 4096)
	msg := buf[:out.Fill(buf)]
	u, _ := wire.ParseUpdate(msg[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true})
	attrs := u.AppendAttrs(nil)
	originator, _ := attrs.OriginatorID()
	for n := range u.Reach(wire.IPv4Unicast) {
		fmt.Println(n, "via", u.NextHop.Addr, "originator", originator, "cluster", attrs.ClusterList().At(0))
	}
	// Output:
	// 203.0.113.0/24 via 10.0.1.1 originator 10.0.1.1 cluster 10.0.0.1
}

// An import policy out of ready-made parts: only prefixes of a list, only on-link next hops,
// and one community that makes a path preferred.
func ExampleChain() {
	policy := rib.Chain(
		rib.If(rib.Not(rib.PrefixIn(rib.PrefixRange{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Max: 32})), rib.RejectAll),
		rib.OnLink(netip.MustParsePrefix("10.0.1.0/24")),
		rib.If(rib.HasCommunity(wire.NewCommunity(65000, 90)), rib.SetLocalPref(200)),
	)
	table, _ := rib.New(rib.Config{AS: 65000, RouterID: netip.MustParseAddr("10.0.0.1")})
	peer := netip.MustParseAddr("10.0.1.1")
	in, _ := table.NewIn(rib.PeerConfig{Addr: peer, RouterID: peer, AS: 65000, Import: policy})

	_ = in.Update(announce("203.0.113.7/32", "10.0.1.1", wire.PathAttrs{Communities: []wire.Community{wire.NewCommunity(65000, 90)}}))
	_ = in.Update(announce("203.0.113.8/32", "192.0.2.1", wire.PathAttrs{}))
	_ = in.Update(announce("198.51.100.0/24", "10.0.1.1", wire.PathAttrs{}))

	for c := range table.All(wire.IPv4Unicast) {
		pref, _ := c.Paths[0].Attrs.LocalPref()
		fmt.Println(c.Prefix, "LOCAL_PREF", pref)
	}
	counters := in.Counters(wire.IPv4Unicast)
	fmt.Println("refused by policy:", counters.Refused[rib.ReasonRejected], "- not on-link:", counters.Refused[rib.ReasonNextHopNotOnLink])
	// Output:
	// 203.0.113.7/32 LOCAL_PREF 200
	// refused by policy: 1 - not on-link: 1
}
