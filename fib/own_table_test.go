package fib_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/fib/fibtest"
)

// A table that becomes ours later is read first: what an earlier run left there is adopted where it
// is desired and goes where it is not, and other programs' routes stay. Other tables are not touched.
func TestOwnTable(t *testing.T) {
	k := fibtest.NewKernel()
	v0 := k.AddLink("v0", netip.MustParsePrefix("10.0.0.1/24"))
	route := func(table uint32, prefix string) fib.Route {
		return fib.Route{RouteKey: fib.RouteKey{Table: table, Prefix: netip.MustParsePrefix(prefix), Metric: 32},
			NextHops: []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: v0}}}
	}
	for _, r := range []fib.Route{route(77, "172.31.0.1/32"), route(77, "172.31.0.2/32"), route(78, "172.31.0.3/32")} {
		if err := k.SetRoute(r, fib.DefaultProtocol); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.SetRoute(route(77, "172.31.0.4/32"), 4); err != nil {
		t.Fatal(err)
	}
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
		for range 50 {
			for more := true; more; {
				if more, err = d.Step(); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(10 * time.Millisecond)
		}
	}
	if err := f.SetRoute(route(20, "172.31.0.9/32")); err != nil {
		t.Fatal(err)
	}
	f.Sweep()
	steps()
	if err := f.SetRoute(route(77, "172.31.0.1/32")); !errors.Is(err, fib.ErrTable) {
		t.Fatalf("a route of a table that is not ours: %v", err)
	}
	before := f.Stats()
	for range 2 {
		if err := f.OwnTable(77); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"172.31.0.1/32", "172.31.0.5/32"} {
		if err := f.SetRoute(route(77, p)); err != nil {
			t.Fatal(err)
		}
	}
	steps()
	got := map[string]bool{}
	for _, r := range k.Routes() {
		got[r.Prefix.String()] = true
	}
	for p, want := range map[string]bool{"172.31.0.1/32": true, "172.31.0.2/32": false, "172.31.0.3/32": true, "172.31.0.4/32": true, "172.31.0.5/32": true, "172.31.0.9/32": true} {
		if got[p] != want {
			t.Errorf("%s is there: %v, want %v", p, got[p], want)
		}
	}
	if s := f.Stats(); s.Adds-before.Adds != 1 || s.Deletes-before.Deletes != 1 {
		t.Errorf("%d additions, %d replacements and %d deletions", s.Adds-before.Adds, s.Replaces-before.Replaces, s.Deletes-before.Deletes)
	}
}
