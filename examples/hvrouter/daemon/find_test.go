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
	find := config.Find{Learn: true, Discover: true, Most: 2, Within: []config.Prefix{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, {Prefix: netip.MustParsePrefix("2001:db8:cb00:7200::/64")}}}
	c.GuestsFrom = []config.Template{{Interfaces: "tap*", Find: find, LocalPref: 100}}
	b.router.adopt(&c)
	b.uplinks()
	b.trace.take()
	return b
}

func sighting(kind arp.EventKind, link int, ip string, mac byte) eg.Sighting {
	return eg.Sighting{Kind: kind, IP: netip.MustParseAddr(ip), Link: link, MAC: arp.MAC{2, 0, 0, 0, 0, mac}}
}

func TestFind(t *testing.T) {
	b := tapBench(t)
	public := b.domains["public"]
	says := func(list ...eg.Sighting) func() { return func() { b.onSightings(list) } }
	learned := func(prefix string, link int, gone bool) func() {
		return func() {
			c := fib.LearnChange{Gone: gone}
			c.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix(prefix), Metric: 5}
			c.NextHops = []fib.NextHop{{Link: link}}
			b.onLearned(public, []fib.LearnChange{c}, false)
		}
	}
	b.play("find.txt",
		step{"tap0 appears: it is prepared before anybody speaks", func() { b.link(20, "tap0") }},
		step{"its guest speaks: kernel, then announcement", says(sighting(arp.Seen, 20, "203.0.113.50", 1))},
		step{"and IPv6", says(sighting(arp.Seen, 20, "2001:db8:cb00:7200::50", 1))},
		step{"a third is one too many", says(sighting(arp.Seen, 20, "203.0.113.51", 1))},
		step{"the first falls silent: the third takes its place", says(sighting(arp.Gone, 20, "203.0.113.50", 1))},
		step{"the inventory's address, and one from far away: nothing", says(sighting(arp.Seen, 20, "203.0.113.1", 1), sighting(arp.Seen, 20, "192.0.2.1", 1))},
		step{"a foreign route over an interface that nobody knows yet", learned("203.0.113.60/32", 21, false)},
		step{"the interface: the route is announced, the address served, no route of ours", func() { b.link(21, "tap1") }},
		step{"it moves to the other tap", says(eg.Sighting{Kind: arp.Moved, IP: netip.MustParseAddr("203.0.113.51"), Link: 21, MAC: arp.MAC{2, 0, 0, 0, 0, 1}, OldLink: 20})},
		step{"a conflict changes nothing", says(sighting(arp.Conflict, 20, "203.0.113.51", 9))},
		step{"the route goes", learned("203.0.113.60/32", 21, true)},
		step{"tap1 gets another name: its address stays where it is", func() { b.link(21, "tap9") }},
		step{"and one that is no tap's", func() { b.link(21, "eth9") }},
		step{"tap0 goes", func() {
			b.kernelSays(fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{Index: 20, Name: "tap0"}})
		}},
	)
	if s := b.findings.spoken[netip.MustParseAddr("203.0.113.51")]; s == nil || s.conflict == nil || s.conflict.MAC[5] != 9 {
		t.Errorf("the conflict is not kept: %+v", s)
	}
	if got := wallSpec(b.cfg, b.guests.All()).Guests; !slices.Contains(got, "tap*") {
		t.Errorf("the wall knows %v", got)
	}
}

// Routes of an earlier run over a guest's interface are addresses that it had; other
// routes are not.
func TestRecall(t *testing.T) {
	b := tapBench(t)
	b.link(20, "tap0")
	b.link(21, "vm1")
	stale := func(prefix string, link int, gateway string) fib.RouteStatus {
		s := fib.RouteStatus{State: fib.RouteStale}
		s.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix(prefix), Metric: 10}
		s.NextHops = []fib.NextHop{{Link: link}}
		s.NextHops[0].Gateway, _ = netip.ParseAddr(gateway)
		return s
	}
	wanted := stale("203.0.113.77/32", 20, "")
	wanted.State = fib.RouteInstalled
	b.recall(slices.Values([]fib.RouteStatus{stale("203.0.113.50/32", 20, ""), stale("203.0.113.51/32", 21, ""),
		stale("203.0.113.64/28", 20, ""), stale("203.0.113.52/32", 20, "203.0.113.50"), wanted}))
	b.trace.take()
	b.refresh()
	p := b.served["tap0"]
	if len(p.IPv4) != 1 || p.IPv4[0].String() != "203.0.113.50" || len(p.Presumed) != 1 || p.Presumed[0] != p.IPv4[0].Addr {
		t.Errorf("served %v, presumed %v", p.IPv4, p.Presumed)
	}
}

// What is not to be remembered without end is not.
func TestUnplaced(t *testing.T) {
	u := unplaced{}
	change := func(i int) fib.LearnChange {
		c := fib.LearnChange{}
		c.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		c.NextHops = []fib.NextHop{{Link: 1 + i%7}}
		return c
	}
	for i := range 2 * mostUnplaced {
		u.keep(change(i))
	}
	n := 0
	for _, m := range u {
		n += len(m)
	}
	if n != mostUnplaced {
		t.Errorf("%d kept", n)
	}
	for i := range 2 * mostUnplaced {
		u.drop(change(i))
	}
	if len(u) != 0 {
		t.Errorf("left: %d links", len(u))
	}
}
