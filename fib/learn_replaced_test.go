package fib_test

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/fib/fibtest"
)

// Another program replaces a route of ours, and the FIB puts its own back: who learns the routes
// of others hears that theirs is gone. The kernel does not say so: a route that is replaced has no
// RTM_DELROUTE, and notifications of what the FIB writes are not read.
func TestLearnReplaced(t *testing.T) {
	for _, refusals := range []int{0, 1, 2, 3, 4} {
		t.Run(fmt.Sprint(refusals), func(t *testing.T) { learnReplaced(t, refusals) })
	}
}

// learnReplaced has the kernel refuse the repair a number of times first.
func learnReplaced(t *testing.T, refusals int) {
	k := fibtest.NewKernel()
	v0 := k.AddLink("v0", netip.MustParsePrefix("10.0.0.1/24"))
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	f, err := fib.New(fib.Config{Tables: []uint32{20}, OnForeign: fib.ForeignWait})
	if err != nil {
		t.Fatal(err)
	}
	d, err := f.Drive(fibtest.WithKernel(t.Context(), "", k), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	steps := func() {
		for more := true; more; {
			if more, err = d.Step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	steps()
	route := fib.Route{
		RouteKey: fib.RouteKey{Table: 20, Prefix: netip.MustParsePrefix("172.31.0.3/32"), Metric: 32},
		NextHops: []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: v0}},
	}
	if err := f.SetRoute(route); err != nil {
		t.Fatal(err)
	}
	l := f.Learn(fib.Filter{Tables: []uint32{20}})
	steps()
	theirs := route
	theirs.NextHops = []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.9"), IfIndex: v0}}
	if err := k.SetRoute(theirs, 4); err != nil {
		t.Fatal(err)
	}
	k.FailRequests(syscall.EBUSY, refusals)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	there := map[fib.RouteKey]bool{}
	for range 300 {
		steps()
		buf := make([]fib.LearnChange, 16)
		n, _ := l.Next(done, buf)
		for _, c := range buf[:n] {
			if !c.Synced {
				there[c.RouteKey] = !c.Gone
			}
		}
		now = now.Add(100 * time.Millisecond)
	}
	for _, r := range k.Routes() {
		if r.Protocol != 201 {
			t.Errorf("not repaired: %+v", r)
		}
	}
	for key, is := range there {
		if is {
			t.Errorf("%v is there for the learner, and not in the kernel", key)
		}
	}
}
