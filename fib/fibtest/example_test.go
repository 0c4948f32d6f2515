package fibtest_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/fib/fibtest"
)

// Where do packets go, before and after one of two uplinks has failed?
func Example() {
	kernel := fibtest.NewKernel()
	eth0 := kernel.AddLink("eth0", netip.MustParsePrefix("10.0.0.1/24"))
	eth1 := kernel.AddLink("eth1", netip.MustParsePrefix("10.0.1.1/24"))

	f, err := fib.New(fib.Config{Tables: []uint32{90}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(fibtest.WithKernel(context.Background(), "", kernel))
	defer cancel()
	go f.Run(ctx)

	_ = f.SetRule(fib.Rule{Family: fib.FamilyIPv4, Priority: 100, Table: 90})
	_ = f.SetRoute(fib.Route{
		RouteKey: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("192.0.2.7/32")},
		NextHops: []fib.NextHop{
			{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: eth0},
			{Gateway: netip.MustParseAddr("10.0.1.2"), IfIndex: eth1},
		},
	})
	if err := f.Flush(ctx); err != nil {
		fmt.Println(err)
	}
	packet := fibtest.Packet{Dst: netip.MustParseAddr("192.0.2.7")}
	fmt.Println(kernel.Lookup(packet))

	f.GatewayDown(eth1, netip.MustParseAddr("10.0.1.2")) // as BFD says
	_ = f.Flush(ctx)
	fmt.Println(kernel.Lookup(packet))
	// Output:
	// 192.0.2.7/32 table 90 via 10.0.0.2 dev eth0 via 10.0.1.2 dev eth1
	// 192.0.2.7/32 table 90 via 10.0.0.2 dev eth0
}

// What a program does when another one changes its routes.
func ExampleKernel_SetRoute() {
	kernel := fibtest.NewKernel()
	eth0 := kernel.AddLink("eth0", netip.MustParsePrefix("10.0.0.1/24"))
	f, err := fib.New(fib.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(fibtest.WithKernel(context.Background(), "", kernel))
	defer cancel()
	go f.Run(ctx)

	route := fib.Route{
		RouteKey: fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("192.0.2.0/24")},
		NextHops: []fib.NextHop{{Gateway: netip.MustParseAddr("10.0.0.2"), IfIndex: eth0}},
	}
	_ = f.SetRoute(route)
	_ = f.Flush(ctx)
	events := f.Watch(fib.WatchOptions{})
	route.NextHops[0].Gateway = netip.MustParseAddr("10.0.0.3")
	if err := kernel.SetRoute(route, 4); err != nil { // ip route replace ... proto static
		fmt.Println(err)
	}
	for e, err := range events.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.Kind == fib.EventRepair {
			fmt.Println(e.Kind, e.Key, "from protocol", e.Protocol)
			break
		}
	}
	for _, r := range kernel.Routes() {
		fmt.Println(r.Prefix, r.NextHops[0].Gateway, "protocol", r.Protocol)
	}
	// Output:
	// repair 192.0.2.0/24 table 90 from protocol 4
	// 192.0.2.0/24 10.0.0.2 protocol 201
}
