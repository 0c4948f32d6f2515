package discovery

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/fib"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func sighting(kind arp.EventKind, ifindex int, ip string, mac byte) edge.Sighting {
	return edge.Sighting{Kind: kind, IP: netip.MustParseAddr(ip), IfIndex: ifindex, MAC: arp.MAC{2, 0, 0, 0, 0, mac}}
}

func route(prefix string, metric uint32, gone bool, ifindexes ...int) fib.LearnChange {
	c := fib.LearnChange{Gone: gone}
	c.Prefix, c.Metric = netip.MustParsePrefix(prefix), metric
	for _, i := range ifindexes {
		c.NextHops = append(c.NextHops, fib.NextHop{IfIndex: i})
	}
	return c
}

// Addresses are in the order in which they were first seen; one that moves keeps nothing of its
// place, one that is seen again all of it.
func TestSightings(t *testing.T) {
	var f Findings
	f.Seed(netip.MustParseAddr("203.0.113.9"), 21, noon)
	steps := []struct {
		s            edge.Sighting
		log, changed bool
	}{
		{sighting(arp.EventGone, 20, "203.0.113.1", 1), false, false},
		{sighting(arp.EventConflict, 20, "203.0.113.1", 1), false, false},
		{sighting(arp.EventSeen, 20, "203.0.113.2", 1), true, true},
		{sighting(arp.EventSeen, 20, "203.0.113.1", 1), true, true},
		{sighting(arp.EventConflict, 21, "203.0.113.2", 9), true, false},
		{sighting(arp.EventSeen, 20, "203.0.113.2", 2), true, true},
		{sighting(arp.EventGone, 21, "203.0.113.1", 1), false, false},
	}
	for i, step := range steps {
		if log, changed := f.Sighting(step.s, noon); log != step.log || changed != step.changed {
			t.Errorf("%d: log %v, changed %v", i, log, changed)
		}
	}
	if got := fmt.Sprint(f.ByLink()(20)); got != "[{203.0.113.2/32 false false} {203.0.113.1/32 false false}]" {
		t.Errorf("behind 20: %s", got)
	}
	for _, a := range f.Addresses() {
		if a.Addr == netip.MustParseAddr("203.0.113.2") && (a.Conflict == nil || a.Conflict.IfIndex != 21 || a.ConflictTime != noon || a.MAC[5] != 2) {
			t.Errorf("%+v", a)
		}
	}
	if got := f.Seeded(); len(got) != 1 || !slices.Equal(got[21], []netip.Addr{netip.MustParseAddr("203.0.113.9")}) {
		t.Errorf("presumed: %v", got)
	}
	f.Sighting(sighting(arp.EventMoved, 21, "203.0.113.2", 2), noon)
	if got := f.ByLink()(21); len(got) != 2 {
		t.Errorf("moved: %v", got)
	}
	f.Sighting(sighting(arp.EventGone, 20, "203.0.113.1", 1), noon)
	if got := f.ByLink()(20); len(got) != 0 {
		t.Errorf("gone: %v", got)
	}
}

// A foreign route counts if it leads over one interface that is no uplink.
func TestRoutes(t *testing.T) {
	var f Findings
	uplink := func(i int) bool { return i == 10 }
	for i, step := range []struct {
		c           fib.LearnChange
		before, now int
	}{
		{route("203.0.113.5/32", 1, false, 10), 0, 0},
		{route("203.0.113.5/32", 1, false, 20, 21), 0, 0},
		{route("203.0.113.5/32", 1, false, 20), 0, 20},
		{route("203.0.113.5/32", 1, false, 20), 0, 0},
		{route("203.0.113.5/32", 2, false, 20), 0, 20},
		{route("203.0.113.5/32", 1, false, 21), 20, 21},
		{route("203.0.113.0/28", 1, false, 20), 0, 20},
		{route("203.0.113.5/32", 1, true), 21, 0},
		{route("203.0.113.5/32", 1, true), 0, 0},
	} {
		if before, now := f.Route(step.c, uplink); before != step.before || now != step.now {
			t.Errorf("%d: over %d, then %d", i, before, now)
		}
	}
	if got := fmt.Sprint(f.ByLink()(20)); got != "[{203.0.113.0/28 true true} {203.0.113.5/32 false true}]" {
		t.Errorf("behind 20: %s", got)
	}
	if got := f.Routes(); len(got[20]) != 2 || len(got[21]) != 0 || got[20][0].Routed {
		t.Errorf("routes: %v", got)
	}
}

// Routes that wait are bounded, and taken by their interface.
func TestWaiting(t *testing.T) {
	var w Waiting
	w.Add(route("203.0.113.5/32", 1, true, 1))
	w.Add(route("203.0.113.5/32", 1, false))
	if n := w.len(); n != 0 {
		t.Errorf("%d wait that are gone, or lead over nothing", n)
	}
	change := func(i int) fib.LearnChange {
		return route(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32).String(), 0, false, 1+i%7)
	}
	for i := range 2 * maxWaiting {
		w.Add(change(i))
	}
	if n := w.len(); n != maxWaiting {
		t.Errorf("%d wait", n)
	}
	if got := w.Take(1); len(got) < maxWaiting/7 || len(w.Take(1)) != 0 {
		t.Errorf("%d taken", len(got))
	}
	for i := range 2 * maxWaiting {
		w.Drop(change(i))
	}
	if len(w.byLink) != 0 {
		t.Errorf("left: %d links", len(w.byLink))
	}
}

// The newest addresses of a guest are kept, some at a time.
func TestAskers(t *testing.T) {
	var a Askers
	addr := func(n int) netip.Addr { return netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(n)}) }
	n := 0
	for i := range 200 {
		if a.Add(20, addr(i), noon) {
			n++
		}
	}
	if n != maxAddresses || len(a.Of(20)) != maxAddresses || len(a.Of(21)) != 0 {
		t.Errorf("%d taken, %v", n, a.Of(20))
	}
	if a.Add(20, addr(0), noon.Add(time.Hour)) {
		t.Error("one that is known")
	}
	if a.Add(20, addr(250), noon.Add(9*time.Second)) || !a.Add(20, addr(250), noon.Add(11*time.Second)) {
		t.Error("the rate")
	}
	if got := a.Of(20); len(got) != maxAddresses || got[len(got)-1] != addr(250) || slices.Contains(got, addr(0)) {
		t.Errorf("not the newest: %v", got)
	}
	a.Drop(20)
	if len(a.Of(20)) != 0 {
		t.Error("left")
	}
}

// What was found is the same, in the same order, whatever order maps are gone through in: of two
// routes to one prefix the one that is not through a gateway counts.
func TestOrder(t *testing.T) {
	run := func() string {
		var f Findings
		var w Waiting
		for i := range 8 {
			p := fmt.Sprintf("203.0.113.%d/32", i)
			c := route(p, 1, false, 20)
			f.Route(c, func(int) bool { return false })
			w.Add(c)
			c.Metric, c.NextHops[0].Gateway = 2, netip.MustParseAddr("203.0.113.99")
			f.Route(c, func(int) bool { return false })
			w.Add(c)
			f.Seed(netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", 100+i)), 20, noon)
		}
		return fmt.Sprint(f.ByLink()(20), f.Seeded(), w.Take(20))
	}
	first := run()
	for range 20 {
		if again := run(); again != first {
			t.Fatalf("found %s, and then %s", first, again)
		}
	}
}
