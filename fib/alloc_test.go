package fib

import (
	"testing"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// What is said about allocations in doc.go is checked here.
func TestAllocations(t *testing.T) {
	check := func(what string, want float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, f); got > want {
			t.Errorf("%s: %v allocations, want at most %v", what, got, want)
		}
	}
	m := capture(t, "v4 group route")
	var r routeMessage
	check("decode a route", 0, func() {
		if r.parse(m.Body) != nil {
			t.Fatal("parse")
		}
	})
	b := make([]byte, 0, 4096)
	k := rkey{lo: 0x0a010000, bits: 16}
	f := &form{facts: r.facts, nextHops: r.nextHops}
	check("encode a route", 0, func() {
		b = appendRoute(b[:0], rtnl.RTM_NEWROUTE, 0, 1, &k, tableFamily{90, FamilyIPv4}, f, true)
	})

	fib, o := stillFIB(Config{}, newFake())
	if err := o.sync(true); err != nil {
		t.Fatal(err)
	}
	one := Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: []NextHop{{IfIndex: 2}}}
	two := one
	two.NextHops = []NextHop{{IfIndex: 3}}
	_ = fib.SetRoute(one)
	_ = fib.SetRoute(two)
	check("SetRoute of a known key", 0, func() { _ = fib.SetRoute(one); fib.queue, fib.head = fib.queue[:0], 0 })
	check("SetRoute with another known content", 0, func() {
		_ = fib.SetRoute(one)
		_ = fib.SetRoute(Route{RouteKey: key2, NextHops: one.NextHops})
		fib.queue, fib.head = fib.queue[:0], 0
	})
	note := wire(rtnl.RTM_NEWROUTE, 0, 1, 0, m.Body)
	check("a notification about somebody else's route", 0, func() {
		note[rtnl.SizeHeader+5] = 4 // protocol static
		for msg := range rtnl.Messages(note) {
			fib.observe(msg, false)
		}
	})
}

var key2 = key(90, "10.2.0.0/16", 0)
