package fib

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestGateways: the list of gateways is that of the routes of the moment, and says which are down.
func TestGateways(t *testing.T) {
	f, o := stillFIB(Config{DryRun: true}, newFake())
	if err := o.sync(); err != nil {
		t.Fatal(err)
	}
	hop := func(n int) NextHop { return NextHop{Gateway: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), IfIndex: 2} }
	set := func(prefix string, hops ...NextHop) {
		if err := f.SetRoute(Route{RouteKey: key(90, prefix, 0), NextHops: hops}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		got := ""
		for _, g := range f.Gateways() {
			if got += fmt.Sprintf(" %v", g.Gateway); g.Down {
				got += "!"
			}
		}
		if got != want {
			t.Errorf("gateways:%s; want%s", got, want)
		}
	}
	check("")
	set("10.1.0.0/16", hop(3), hop(1))
	check(" 10.0.0.1 10.0.0.3")
	f.GatewayDown(2, hop(3).Gateway)
	check(" 10.0.0.1 10.0.0.3!")
	set("10.2.0.0/16", hop(2), hop(1))
	check(" 10.0.0.1 10.0.0.2 10.0.0.3!")
	f.GatewayUp(2, hop(3).Gateway)
	f.Gateways()[0].Down = true // the caller's
	check(" 10.0.0.1 10.0.0.2 10.0.0.3")
	if err := f.DeleteRoute(key(90, "10.1.0.0/16", 0)); err != nil {
		t.Fatal(err)
	}
	check(" 10.0.0.1 10.0.0.2")
	set("10.2.0.0/16", hop(1)) // one next hop: nothing to fail over to
	check("")
}

// BenchmarkGateways lists the gateways of 4,000 hosts on two fabrics, as is done whenever next-hop
// objects change while a BFD session is down.
func BenchmarkGateways(b *testing.B) {
	f, o := stillFIB(Config{DryRun: true}, newFake())
	if err := o.sync(); err != nil {
		b.Fatal(err)
	}
	for n := range 4000 {
		at := [2]byte{byte(n >> 8), byte(n)}
		hops := []NextHop{{Gateway: netip.AddrFrom4([4]byte{10, 1, at[0], at[1]}), IfIndex: 2}, {Gateway: netip.AddrFrom4([4]byte{10, 2, at[0], at[1]}), IfIndex: 3}}
		if err := f.SetRoute(Route{RouteKey: key(90, fmt.Sprintf("10.3.%d.%d/32", at[0], at[1]), 0), NextHops: hops}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if n := len(f.Gateways()); n != 8000 {
			b.Fatal(n)
		}
	}
}
