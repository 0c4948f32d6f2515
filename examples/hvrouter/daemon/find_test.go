package daemon

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/fib"
)

// tapBench is a bench with a template for taps.
func tapBench(t testing.TB) *bench {
	b := newBench(t)
	c := *b.cfg
	find := config.Discovery{Routes: true, Neighbors: true, Maximum: 2, Within: []config.Prefix{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8:cb00:7200::/64")}}}
	c.GuestTemplates = []config.Template{{Interfaces: "tap*", Discovery: find, LocalPref: 100}}
	b.router.adopt(&c)
	b.uplinks()
	b.trace.take()
	return b
}

func sighting(kind arp.EventKind, link int, ip string, mac byte) eg.Sighting {
	return eg.Sighting{Kind: kind, IP: netip.MustParseAddr(ip), IfIndex: link, MAC: arp.MAC{2, 0, 0, 0, 0, mac}}
}

// Routes of an earlier run over a guest's interface are addresses that it had; other
// routes are not.
func TestAdoptFound(t *testing.T) {
	b := tapBench(t)
	b.link(20, "tap0")
	b.link(21, "vm1")
	stale := func(prefix string, link int, gateway string) fib.RouteStatus {
		s := fib.RouteStatus{State: fib.StateStale}
		s.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix(prefix), Metric: 10}
		s.NextHops = []fib.NextHop{{IfIndex: link}}
		s.NextHops[0].Gateway, _ = netip.ParseAddr(gateway)
		return s
	}
	wanted := stale("203.0.113.77/32", 20, "")
	wanted.State = fib.StateInstalled
	b.adoptFound(slices.Values([]fib.RouteStatus{stale("203.0.113.50/32", 20, ""), stale("203.0.113.51/32", 21, ""),
		stale("203.0.113.64/28", 20, ""), stale("203.0.113.52/32", 20, "203.0.113.50"), wanted}))
	b.trace.take()
	b.refresh()
	p := b.attached.ports["tap0"]
	if len(p.IPv4) != 1 || p.IPv4[0].String() != "203.0.113.50" || len(p.Seeded) != 1 || p.Seeded[0] != p.IPv4[0].Addr {
		t.Errorf("served %v, presumed %v", p.IPv4, p.Seeded)
	}
}
