package fib

import (
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
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
	f, o := stillFIB(Config{}, newFake())
	if err := o.sync(); err != nil {
		t.Fatal(err)
	}
	one := Route{RouteKey: key(90, "10.1.0.0/16", 0), NextHops: []NextHop{{IfIndex: 2}}}
	two := one
	two.NextHops = []NextHop{{IfIndex: 3}}
	_ = f.SetRoute(one)
	_ = f.SetRoute(two)
	check("SetRoute of a known key", 0, func() { _ = f.SetRoute(one) })
	check("SetRoute with another known content", 0, func() {
		_ = f.SetRoute(one)
		_ = f.SetRoute(Route{RouteKey: key2, NextHops: one.NextHops})
	})
	m := messageOf(Route{RouteKey: key(90, "10.3.0.0/16", 0), NextHops: one.NextHops}, 4) // protocol static
	note, now := wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 1, &m, true), time.Now()
	check("a notification about another program's route", 0, func() {
		for msg := range rtnl.Messages(note) {
			f.core.Notification(msg, now)
		}
	})
}

var key2 = key(90, "10.2.0.0/16", 0)
