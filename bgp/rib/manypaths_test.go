package rib

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// manyPaths are UPDATEs that announce n paths of one prefix, one each, in random order.
func manyPaths(tb testing.TB, n int, attrs func(id int) wire.PathAttrs) (list []*wire.Update) {
	for _, id := range rand.New(rand.NewPCG(1, uint64(n))).Perm(n) {
		list = append(list, reachOf(tb, true, attrs(id), via("192.0.2.1"), wire.NLRI{Prefix: manyPrefix, PathID: uint32(id)}))
	}
	return list
}

var manyPrefix = pfx("10.1.0.0/16")

// kindsOfPaths are attributes that the decision process orders by different steps.
var kindsOfPaths = map[string]func(id int) wire.PathAttrs{
	"equal": func(int) wire.PathAttrs { return wire.PathAttrs{LocalPref: ptr(100)} },
	"pref":  func(id int) wire.PathAttrs { return wire.PathAttrs{LocalPref: ptr(uint32(id))} },
	"MED":   func(id int) wire.PathAttrs { return wire.PathAttrs{ASPath: []uint32{64512}, MED: ptr(uint32(id))} },
	"two":   func(id int) wire.PathAttrs { return wire.PathAttrs{ASPath: []uint32{64512}, MED: ptr(uint32(id & 1))} },
	"AS": func(id int) wire.PathAttrs {
		return wire.PathAttrs{ASPath: []uint32{uint32(70000 + id)}, MED: ptr(uint32(id % 3))}
	},
	"origin": func(id int) wire.PathAttrs { return wire.PathAttrs{OriginatorID: addr32(uint32(id + 1))} },
	"secret": func(id int) wire.PathAttrs {
		return wire.PathAttrs{LocalPref: ptr(uint32(id)), Communities: []wire.Community{wire.CommunityNoAdvertise}}
	},
}

// BenchmarkManyPaths is one client that announces 20,000 paths of one prefix, changes them, ends
// and starts its session, and withdraws them one by one, while everybody reads after each step.
func BenchmarkManyPaths(b *testing.B) {
	const n = 20000
	for kind, attrs := range kindsOfPaths {
		come := manyPaths(b, n, attrs)
		for _, reader := range []string{"none", "best", "all", "best 16", "watcher", "watcher of all"} {
			b.Run(fmt.Sprintf("%s/%s", kind, reader), func(b *testing.B) {
				for b.Loop() {
					tab, ins := benchTable(b, 3)
					read := manyReader(b, tab, ins[1], reader)
					for _, u := range come {
						_ = ins[0].Update(u)
						read()
					}
					for _, u := range come {
						ins[0].TreatAsWithdraw(u)
						read()
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(2*n), "ns/change")
			})
		}
	}
}

// manyReader returns a function that reads what there is to read.
func manyReader(tb testing.TB, tab *Table, in *In, kind string) func() {
	c := OutConfig{AS4: true, NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}}
	buf := make([]byte, 65536)
	switch kind {
	case "none":
		return func() {}
	case "all":
		c.AddPath = wire.Families(wire.IPv4Unicast)
	case "best 16":
		c.AddPath, c.AddPathLimit = wire.Families(wire.IPv4Unicast), 16
	case "watcher", "watcher of all":
		w := tab.Watch(WatchConfig{AllPaths: kind != "watcher"})
		changes := make([]Change, 4)
		return func() {
			for n := 1; n > 0; n = w.Next(changes) {
			}
		}
	}
	o, err := in.NewOut(c)
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		for o.Fill(buf) > 0 {
		}
	}
}

// TestThousandsOfPaths: what a change of one path of thousands costs does not depend on their number. A
// session that is sent all paths looks at the one that changed, one that is sent the best looks
// at a few. A session that falls behind is sent what changed meanwhile, not all paths again.
func TestThousandsOfPaths(t *testing.T) {
	const n = 3000
	tab, ins := benchTable(t, 4)
	calls := 0
	c := OutConfig{AS4: true, AddPath: wire.Families(wire.IPv4Unicast), NextHop4: wire.NextHop{Addr: ip("10.0.0.1")},
		Export: func(*Route) Verdict { calls++; return VerdictNext }}
	var sinks []*sink
	for i, limit := range []int{0, 16, 0} {
		c.AddPathLimit = limit
		out, err := ins[1+i].NewOut(c)
		if err != nil {
			t.Fatal(err)
		}
		sinks = append(sinks, newSink(t, out, c.AddPath, 65536))
		sinks[i].drain()
	}
	all, best, late := sinks[0], sinks[1], sinks[2]
	come := manyPaths(t, n, kindsOfPaths["pref"])
	for i, u := range come {
		calls = 0
		if err := ins[0].Update(u); err != nil {
			t.Fatal(err)
		}
		if all.drain(); calls > 1 && i > listMax+1 {
			t.Fatalf("path %d: %d of them looked at to send all", i, calls)
		}
		calls = 0
		if best.drain(); calls > 16 {
			t.Fatalf("path %d: %d of them looked at to send the best 16", i, calls)
		}
	}
	late.drain()
	if len(all.routes) != n || len(late.routes) != n || len(best.routes) != 16 {
		t.Fatalf("%d, %d and %d paths", len(all.routes), len(late.routes), len(best.routes))
	}
	tab.limits.batch, tab.limits.backlog = 100, 200
	announced := late.out.Counters().Announced
	for _, u := range come[:50] {
		ins[0].TreatAsWithdraw(u)
		all.drain()
	}
	for _, u := range come[:20] {
		if err := ins[0].Update(u); err != nil {
			t.Fatal(err)
		}
		all.drain()
	}
	late.drain()
	if c := late.out.Counters(); c.Lagged != 1 || c.Announced-announced > 20+5 || c.Withdrawn > 50+20 {
		t.Errorf("the slow one: %+v, %d announced before", c, announced)
	}
	if len(late.routes) != n-30 || len(all.routes) != n-30 {
		t.Errorf("%d and %d paths", len(late.routes), len(all.routes))
	}
	ins[0].Drop(wire.IPv4Unicast)
	for _, s := range sinks {
		if s.drain(); len(s.routes) != 0 {
			t.Errorf("%d paths are left", len(s.routes))
		}
	}
	if s := tab.Stats(); s.Prefixes[0] != 0 || s.Paths != 0 || s.Attrs != 0 {
		t.Errorf("left over: %+v", s)
	}
}
