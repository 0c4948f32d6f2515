package rib

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// TestPolicies runs each ready-made policy on one path and describes what comes out.
func TestPolicies(t *testing.T) {
	base := "via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"
	large := wire.LargeCommunity{Global: 1, Local1: 2, Local2: 3}
	rt := wire.ExtCommunity(0x0002_FDE8_0000_0007)
	c := func(v uint16) wire.Community { return wire.NewCommunity(65000, v) }
	list := []PrefixRange{{Prefix: pfx("10.0.0.0/8"), Min: 16, Max: 24}, {Prefix: pfx("192.0.2.0/24")}}
	for _, x := range []struct {
		name   string
		policy Policy
		want   Verdict
		after  string // empty: base
	}{
		{"accept", AcceptAll, VerdictAccept, ""},
		{"reject", RejectAll, VerdictReject, ""},
		{"empty chain", Chain(), VerdictNext, ""},
		{"chain stops", Chain(SetMED(1), AcceptAll, RejectAll), VerdictAccept,
			"via 192.0.2.1, path 65010 65020, med 1, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"prefix list", If(PrefixIn(list...), AcceptAll), VerdictAccept, ""},
		{"prefix list, other", If(PrefixIn(list[1]), AcceptAll), VerdictNext, ""},
		{"prefix list, length", If(PrefixIn(PrefixRange{Prefix: pfx("10.0.0.0/8"), Min: 17}), AcceptAll), VerdictNext, ""},
		{"not", If(Not(HasCommunity(c(1))), RejectAll), VerdictNext, ""},
		{"all of", If(AllOf(HasCommunity(c(1)), HasLargeCommunity(large), HasExtCommunity(rt)), AcceptAll), VerdictAccept, ""},
		{"all of, one missing", If(AllOf(HasCommunity(c(1)), HasCommunity(c(2))), AcceptAll), VerdictNext, ""},
		{"any of", If(AnyOf(HasCommunity(c(2)), HasCommunity(c(1))), AcceptAll), VerdictAccept, ""},
		{"any of none", If(AnyOf(), AcceptAll), VerdictNext, ""},
		{"AS path", If(AllOf(ASPathHas(65020), Not(ASPathHas(65030))), AcceptAll), VerdictAccept, ""},
		{"local", If(IsLocal, AcceptAll), VerdictNext, ""},
		{"local pref", SetLocalPref(7), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 7, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"delete MED", func(r *Route) Verdict { r.DeleteMED(); return VerdictNext }, VerdictNext,
			"via 192.0.2.1, path 65010 65020, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"add community", Chain(AddCommunity(c(2)), AddCommunity(c(1))), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:1, community 65000:2, large 1:2:3, ext rt:65000:7"},
		{"delete communities", Chain(DeleteCommunity(c(1)), DeleteLargeCommunity(large), DeleteExtCommunity(rt)), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100"},
		{"set communities", SetCommunities(c(8), c(9)), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:8, community 65000:9, large 1:2:3, ext rt:65000:7"},
		{"more communities", Chain(AddLargeCommunity(wire.LargeCommunity{Global: 9}), AddExtCommunity(rt+1)), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, large 9:0:0, ext rt:65000:7, ext rt:65000:8"},
		{"bandwidth", SetLinkBandwidth(1.25e9), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7, ext bandwidth:65000:1250000000"},
		{"other bandwidth", Chain(AddExtCommunity(0x0004_FDE9_3F80_0000), AddExtCommunity(0x4004_FDE9_7F80_0000), SetLinkBandwidth(2)), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7, ext bandwidth:65000:2"},
		{"no bandwidth", Chain(SetLinkBandwidth(1.25e9), SetLinkBandwidth(0)), VerdictNext, ""},
		{"next hop self", NextHopSelf, VerdictNext,
			"path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"next hop with link-local", func(r *Route) Verdict {
			r.SetNextHop(wire.NextHop{Addr: ip("2001:db8::1"), LinkLocal: ip("fe80::1")})
			return VerdictNext
		}, VerdictNext,
			"via 2001:db8::1, link-local fe80::1, path 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"prepend", func(r *Route) Verdict { r.Prepend(r.PeerAS(), 2); return VerdictNext }, VerdictNext,
			"via 192.0.2.1, path 65010 65010 65010 65020, med 5, pref 100, community 65000:1, large 1:2:3, ext rt:65000:7"},
		{"on-link", OnLink(pfx("198.51.100.0/24"), pfx("192.0.2.0/25")), VerdictNext, ""},
		{"not on-link", OnLink(pfx("198.51.100.0/24")), VerdictReject, ""},
		{"graceful shutdown, no", GracefulShutdown, VerdictNext, ""},
		{"graceful shutdown", Chain(SetCommunities(wire.CommunityGracefulShutdown), GracefulShutdown), VerdictNext,
			"via 192.0.2.1, path 65010 65020, med 5, pref 0, community 65535:0, large 1:2:3, ext rt:65000:7"},
	} {
		t.Run(x.name, func(t *testing.T) {
			tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
			if err != nil {
				t.Fatal(err)
			}
			var got Verdict
			in, err := tab.NewIn(PeerConfig{Addr: ip("192.0.2.254"), AS: 65010, Import: func(r *Route) Verdict {
				if r.Peer() != ip("192.0.2.254") || !r.External() || r.Client() || r.Local() {
					t.Errorf("peer %v, external %v", r.Peer(), r.External())
				}
				got = x.policy(r)
				if text := describe(r.Attrs().Attrs, r.Attrs().NextHop()); x.after != "" && text != x.after || x.after == "" && text != base {
					t.Errorf("after it: %s", text)
				}
				return got
			}})
			if err != nil {
				t.Fatal(err)
			}
			a := wire.PathAttrs{ASPath: []uint32{65010, 65020}, MED: ptr(5), LocalPref: ptr(100), Communities: []wire.Community{c(1)},
				LargeCommunities: []wire.LargeCommunity{large}, ExtCommunities: []wire.ExtCommunity{rt}}
			if err := in.Update(reachOf(t, true, a, via("192.0.2.1"), wire.NLRI{Prefix: pfx("10.1.0.0/16")})); err != nil {
				t.Fatal(err)
			}
			if got != x.want {
				t.Errorf("verdict %v, not %v", got, x.want)
			}
			if n := len(tab.Lookup(pfx("10.1.0.0/16"))); (n == 1) != (x.want != VerdictReject) {
				t.Errorf("%d paths", n)
			}
			in.Close()
			if s := tab.Stats(); s != (Stats{}) {
				t.Errorf("left over: %+v", s)
			}
		})
	}
}

// TestEdges: what a policy makes of a set is remembered, but not without bound.
func TestEdges(t *testing.T) {
	tab, ins := benchTable(t, 1)
	feed(ins[0], bodies(1, 1, 1))
	attr := tab.paths.at(tab.at(tab.find(prefix4(0))).first).attr
	var made []attrID
	for v := range uint32(3 * maxEdges) {
		to := tab.attrs.setUint32(attr, attr, wire.AttrLocalPref, v)
		if p, _ := tab.attrs.view(to).LocalPref(); p != v {
			t.Fatalf("LOCAL_PREF %d, not %d", p, v)
		}
		made = append(made, to)
	}
	if n := len(tab.attrs.at(attr).edges); n != maxEdges {
		t.Errorf("%d edges", n)
	}
	if again := tab.attrs.setUint32(attr, attr, wire.AttrLocalPref, 3*maxEdges-1); again != made[len(made)-1] {
		t.Error("the newest was forgotten")
	} else {
		tab.attrs.release(again)
	}
	for _, id := range slices.Backward(made) {
		tab.attrs.release(id)
	}
	ins[0].Close()
	if s := tab.Stats(); s.Attrs != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// TestFlappingSession: attribute sets that were made for a session go with it.
func TestFlappingSession(t *testing.T) {
	tab, ins := benchTable(t, 2)
	feed(ins[0], bodies(500, 5, 100))
	buf := make([]byte, 65536)
	for i := range 20 {
		c := OutConfig{AS4: true, Export: SetMED(uint32(i))}
		out, err := ins[1].NewOut(c)
		if err != nil {
			t.Fatal(err)
		}
		for out.Fill(buf) > 0 {
		}
		c.NextHopSelf, c.NextHop4.Addr = true, ip("10.0.0.1")
		if err := out.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
		for out.Fill(buf) > 0 {
		}
		if n := tab.Stats().Attrs; n > 100+3*100+2*100 { // received; base, MED, next hop; the old ones at most
			t.Fatalf("%d attribute sets after %d sessions", n, i+1)
		}
		out.Close()
		if n := tab.Stats().Attrs; n > 100 {
			t.Fatalf("%d attribute sets without a session", n)
		}
	}
}

func TestWeight(t *testing.T) {
	for c, want := range map[wire.ExtCommunity]float32{
		0x4004_FDE8_4640_E400: 12345, // 12345 octets a second
		0x0004_FDE8_3F80_0000: 1,
		0x4004_FDE8_7F80_0000: 0, // infinity
		0x4004_FDE8_BF80_0000: 0, // negative
		0x0002_FDE8_0000_0001: 0, // a route target
	} {
		a := wire.PathAttrs{ExtCommunities: []wire.ExtCommunity{0x0002_FDE8_0000_0002, c}}
		if got := linkBandwidth(Attrs{Attrs: a.Append(nil)}); got != want {
			t.Errorf("%v: weight %v, not %v", c, got, want)
		}
	}
}

// TestBandwidthChanges: watchers hear of a bandwidth that changes, 64 paths are a multipath set, and
// what is not transitive stays in the AS.
func TestBandwidthChanges(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1"), Multipath: 64})
	if err != nil {
		t.Fatal(err)
	}
	w := tab.Watch(WatchConfig{})
	w.Next(make([]Change, 1)) // converged
	var ins []*In
	say := func(i int, octets float32) {
		t.Helper()
		a := wire.PathAttrs{ASPath: []uint32{65010}, ExtCommunities: []wire.ExtCommunity{wire.LinkBandwidth(65010, octets), 0x0002_FDE8_0000_0007}}
		if err := ins[i].Update(reachOf(t, false, a, via(fmt.Sprintf("192.0.2.%d", i+1)), wire.NLRI{Prefix: pfx("10.1.0.0/16")})); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 70 {
		in, err := tab.NewIn(PeerConfig{Addr: ip(fmt.Sprintf("192.0.2.%d", i+1)), AS: 65010, RouterID: ip(fmt.Sprintf("192.0.2.%d", i+1))})
		if err != nil {
			t.Fatal(err)
		}
		ins = append(ins, in)
		say(i, float32(1+i))
	}
	next := func() (weights []float32) {
		changes := make([]Change, 2)
		if n := w.Next(changes); n != 1 {
			t.Fatalf("%d changes", n)
		}
		for _, p := range changes[0].Paths {
			weights = append(weights, p.Weight)
		}
		return weights
	}
	if got := next(); len(got) != 64 || got[0] != 1 || got[63] != 64 {
		t.Errorf("%v", got)
	}
	say(3, 1e9)
	if got := next(); len(got) != 64 || got[3] != 1e9 {
		t.Errorf("%v", got)
	}

	peer, err := tab.NewIn(PeerConfig{Addr: ip("198.51.100.1"), AS: 65020, RouterID: ip("198.51.100.1")})
	if err != nil {
		t.Fatal(err)
	}
	for octets, want := range map[float32]string{0: "ext rt:65000:7", 7: "ext rt:65000:7, ext bandwidth:65000:7"} {
		out, err := peer.NewOut(OutConfig{AS4: true, NextHop4: via("198.51.100.254"), Export: SetLinkBandwidth(octets)})
		if err != nil {
			t.Fatal(err)
		}
		s := newSink(t, out, 0, 4096)
		s.drain()
		if got := s.routes[wire.NLRI{Prefix: pfx("10.1.0.0/16")}]; !strings.HasSuffix(got, want) || strings.Count(got, "ext ") != strings.Count(want, "ext ") {
			t.Errorf("to another AS: %q, want %q", got, want)
		}
		out.Close()
	}
	if c := wire.LinkBandwidth(4200000000, 5); c.String() != "bandwidth:23456:5" {
		t.Errorf("%v", c)
	}
}
