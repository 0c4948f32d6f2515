package fib_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/fib/fibtest"
)

// inMemory returns a context in which FIBs work on a kernel in memory, and not on this
// machine: with uplinks of index 2 and 3, and for each of the namespaces.
func inMemory(netns ...string) context.Context {
	ctx := context.Background()
	for _, n := range netns {
		kernel := fibtest.NewKernel()
		kernel.AddLink("eth0", netip.MustParsePrefix("198.51.100.101/25"))
		kernel.AddLink("eth1", netip.MustParsePrefix("198.51.100.201/25"))
		ctx = fibtest.WithKernel(ctx, n, kernel)
	}
	return ctx
}

// A table that always holds a route over two uplinks and, below it, a last
// resort that outlives us.
func Example() {
	f, err := fib.New(fib.Config{NetNS: "/run/netns/red", Tables: []uint32{90}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(inMemory("/run/netns/red"), time.Minute)
	defer cancel()
	go func() {
		if err := f.Run(ctx); err != nil {
			log.Print(err)
		}
	}()
	_ = f.SetRoute(fib.Route{
		RouteKey: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Metric: 4294967294},
		Type:     fib.RouteBlackhole, Persistent: true,
	})
	_ = f.SetRoute(fib.Route{
		RouteKey: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.3/32")},
		NextHops: []fib.NextHop{
			{Gateway: netip.MustParseAddr("198.51.100.102"), IfIndex: 2},
			{Gateway: netip.MustParseAddr("198.51.100.202"), IfIndex: 3},
		},
	})
	f.Sweep() // everything is desired that ever will be: what else is ours may go
	if err := f.Flush(ctx); err != nil {
		log.Print(err)
	}
	f.GatewayDown(2, netip.MustParseAddr("198.51.100.102")) // one message, however many routes
	if err := f.Flush(ctx); err != nil {
		log.Print(err)
	}
	for s := range f.Routes() {
		if len(s.NextHops) > 0 {
			fmt.Printf("%v: %v, %d of %d next hops\n", s.RouteKey, s.State, s.Active, len(s.NextHops))
		}
	}
	// Output: 203.0.113.3/32 table 90: partial, 1 of 2 next hops
}

// Routes that others put into a table: those that are there, then every change.
func ExampleFIB_Learn() {
	f, err := fib.New(fib.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	go f.Run(ctx)
	l := f.Learn(fib.Filter{Tables: []uint32{90}})
	defer l.Close()
	for c, err := range l.All(ctx) {
		switch {
		case err != nil:
			return
		case c.Synced:
			fmt.Println("that was all, for now")
		case c.Gone:
			fmt.Println("gone", c.RouteKey)
		default:
			fmt.Println("here", c.RouteKey, c.NextHops)
		}
	}
}

func ExampleRule_String() {
	fmt.Println(fib.Rule{Family: fib.FamilyIPv4, Priority: 22, IIF: "lo", Table: 100})
	fmt.Println(fib.Rule{Family: fib.FamilyIPv6, Priority: 53, Table: 90, Suppress: true})
	// Output:
	// 22: from all iif lo lookup 100
	// 53: from all lookup 90 suppress_prefixlength 0
}

func ExampleRouteKey_String() {
	fmt.Println(fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.1/32"), Metric: 10})
	// Output: 203.0.113.1/32 table 90 metric 10
}

// Announce only what the kernel has.
func ExampleFIB_WatchRoutes() {
	f, err := fib.New(fib.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(inMemory(""))
	defer cancel()
	go f.Run(ctx)
	w := f.WatchRoutes(fib.RouteFilter{Tables: []uint32{90}})
	defer w.Close()
	_ = f.SetRoute(fib.Route{
		RouteKey: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.3/32")},
		NextHops: []fib.NextHop{{Gateway: netip.MustParseAddr("198.51.100.102"), IfIndex: 2}},
	})
	for c, err := range w.All(ctx) {
		switch {
		case err != nil:
			return
		case c.Gone:
			fmt.Println("withdraw", c.Prefix)
		case c.State == fib.StateInstalled || c.State == fib.StatePartial:
			fmt.Println("announce", c.Prefix)
			return // a program goes on
		case c.State == fib.StateFailed || c.State == fib.StateForeign || c.State == fib.StateHeld:
			fmt.Println("withdraw", c.Prefix, c.State, c.Err)
		}
	}
	// Output: announce 203.0.113.3/32
}
