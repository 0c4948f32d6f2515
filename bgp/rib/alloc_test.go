package rib

import (
	"runtime"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

func parsed(tb testing.TB, body []byte) *wire.Update {
	var u wire.Update
	if err := u.Parse(body, wire.Options{AS4: true, IBGP: true}); err != nil {
		tb.Fatal(err)
	}
	return &u
}

// TestAllocs holds the promises of not allocating in the steady state.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	a, b := bodies(500, 500, 1)[0], bodies(1000, 500, 2)[1]
	tab, ins := benchTable(t, 3)
	outs := openAll(t, ins)
	w := tab.Watch(WatchConfig{})
	buf := make([]byte, 65536)
	changes := make([]Change, 64)
	read := func() {
		for _, o := range outs {
			for o.Fill(buf) > 0 {
			}
		}
		for {
			if w.Next(changes) == 0 {
				return
			}
		}
	}
	// The same 500 prefixes with two attribute sets in turn.
	u, v := parsed(t, a), parsed(t, b)
	v.NLRI = u.NLRI
	flip := func() {
		_ = ins[0].Update(u)
		read()
		_ = ins[0].Update(v)
		read()
	}
	flip()
	if n := testing.AllocsPerRun(20, flip); n > 10 { // the attribute sets come and go
		t.Errorf("1000 changed routes, reflected to two and watched: %v allocations", n)
	}
	feed(ins[1], [][]byte{a, b}) // keeps both sets alive
	flip()
	if n := testing.AllocsPerRun(20, flip); n != 0 {
		t.Errorf("the same with known attributes: %v allocations", n)
	}
	same := func() { _ = ins[0].Update(v) }
	if n := testing.AllocsPerRun(20, same); n != 0 {
		t.Errorf("an UPDATE that says nothing new: %v allocations", n)
	}
}

// TestPolicyAllocs: reading allocates nothing, and changing nothing but the first time.
func TestPolicyAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	tab, ins := benchTable(t, 1)
	feed(ins[0], bodies(1, 1, 1))
	id := tab.find(prefix4(0))
	attr := tab.paths.at(tab.at(id).first).attr
	of := &name{NLRI: wire.NLRI{Prefix: prefix4(0)}}
	for name, p := range map[string]Policy{
		"read": func(r *Route) Verdict {
			if r.HasCommunity(1) || r.HasLargeCommunity(wire.LargeCommunity{}) || r.HasExtCommunity(1) ||
				r.LocalPref() == 1 || r.MED() == 1 || r.ASPath().Contains(1) || !r.NextHop().Is4() || r.Peer() == r.NextHop() {
				return VerdictReject
			}
			return VerdictNext
		},
		"prefix list": If(PrefixIn(PrefixRange{pfx("10.0.0.0/8"), 8, 32}), RejectAll),
		"on-link":     OnLink(pfx("192.0.2.0/24")),
		"set": Chain(SetLocalPref(7), SetMED(8), AddCommunity(9), DeleteCommunity(9), NextHopSelf,
			AddLargeCommunity(wire.LargeCommunity{Global: 1}), AddExtCommunity(3), DeleteExtCommunity(3)),
	} {
		n := testing.AllocsPerRun(100, func() {
			r := tab.begin(ins[0], of, attr, attr)
			if p(r) == VerdictReject {
				t.Fatal(name)
			}
			tab.attrs.release(r.attr)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestMemoryComesBack: after everything is withdrawn, the table is as small as before.
func TestMemoryComesBack(t *testing.T) {
	n := 30000
	list := bodies(n, 500, 5000)
	tab, ins := benchTable(t, 3)
	before := heap()
	outs := openAll(t, ins)
	w := tab.Watch(WatchConfig{})
	buf := make([]byte, 65536)
	changes := make([]Change, 64)
	read := func() {
		for _, o := range outs {
			for o.Fill(buf) > 0 {
			}
		}
		for n := 1; n > 0; n = w.Next(changes) {
		}
	}
	feed(ins[0], list)
	read()
	full := heap() - before
	ins[0].Drop(wire.IPv4Unicast)
	read()
	if s := tab.Stats(); s.Paths != 0 || s.Attrs != 0 || s.Prefixes[0] != 0 {
		t.Errorf("left over: %+v", s)
	}
	after := int64(heap()) - int64(before)
	t.Logf("%d routes, one update group of three and a watcher: %d octets a route; afterwards %d octets in all", n, full/uint64(n), after)
	if after > 2<<20 {
		t.Errorf("%d octets are left of %d", after, full)
	}
	runtime.KeepAlive(tab)
}

// TestLimitAllocs: a new path within its limits allocates nothing.
func TestLimitAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	u, v := parsed(t, bodies(500, 500, 1)[0]), parsed(t, bodies(500, 500, 1)[0])
	v.Withdrawn, v.NLRI = u.NLRI, wire.List{Family: u.NLRI.Family}
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	in, err := tab.NewIn(PeerConfig{Addr: ip("10.0.0.2"), RouterID: ip("10.0.0.2"), AS: 65000,
		Limits: map[wire.Family]PrefixLimit{wire.IPv4Unicast: {Maximum: 1000, PathsPerPrefix: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	again := func() {
		_ = in.Update(u)
		_ = in.Update(v)
	}
	again()
	if n := testing.AllocsPerRun(20, again); n > 10 { // the attribute set comes and goes
		t.Errorf("500 new paths: %v allocations", n)
	}
}
