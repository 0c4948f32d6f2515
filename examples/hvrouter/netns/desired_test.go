package netns

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// What follows from configuration and guests is written once, and its differences afterwards; an
// address goes last, a neighbour whose MAC has changed is overwritten.
func TestApply(t *testing.T) {
	b, c := newBed(t, "hv1.yaml")
	for i, name := range []string{"a.public", "b.public", "a.private", "b.private", "loopback", "vm1"} {
		b.SetLink(up(10+i, name))
	}
	g := Guests{List: []config.Guest{c.Guests[0]}}
	if drop := b.Apply(g); len(drop) > 0 {
		t.Errorf("to delete at the start: %v", drop)
	}
	first := b.kernel.take()
	for what, n := range map[string]int{"rule ": 9, "no rule ": 3, "route ": 5, "sysctl ": 1, "address ": 1} {
		if with(first, what) < n {
			t.Errorf("%d of %q: %q", with(first, what), what, first)
		}
	}
	if b.Apply(g); len(b.kernel.calls) > 0 {
		t.Errorf("the same again: %q", b.kernel.take())
	}
	if len(b.Locals("public")) == 0 || len(b.Rules(true)) == 0 || len(b.Rules(false)) == 0 {
		t.Error("nothing local, or no rules")
	}
	drop := b.Apply(Guests{})
	gone := b.kernel.take()
	if len(drop) == 0 || with(gone, "unaddress") > 0 || with(gone, "unneighbour")+with(gone, "neighbour") > with(gone, "unneighbour") {
		t.Errorf("without the guest: %v, %q", drop, gone)
	}
	b.DeleteAddresses(drop)
	if calls := b.kernel.take(); with(calls, "unaddress") != len(drop) {
		t.Errorf("deleted: %q", calls)
	}
	b.kernel.refuse = errors.New("no memory")
	b.Apply(g)
	b.SetRoute(domain.Route{Key: domain.Key{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.1/32")}, NextHops: []domain.NextHop{{Link: "vm1"}}})
	events := b.log.take()
	for _, name := range []string{"sysctl-refused", "address-refused", "route-refused"} {
		if !slices.Contains(events, name) {
			t.Errorf("no event %s: %q", name, events)
		}
	}
}

// Neighbours, addresses and rules: only differences are written.
func TestDesired(t *testing.T) {
	k := &fakeKernel{}
	links := newLinks()
	links.set(up(7, "vm1"))
	links.set(up(8, "vm2"))
	d := desired{log: slog.New(slog.DiscardHandler), kernel: k, links: &links}
	expect := func(what string, want ...string) {
		t.Helper()
		if got := k.take(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	addr := netip.MustParseAddr("203.0.113.1")
	n := domain.Neighbor{Link: "vm1", Addr: addr, MAC: [6]byte{2, 0, 0, 0, 0, 1}}
	d.setNeighbors([]domain.Neighbor{n, {Link: "gone", Addr: addr}})
	expect("a neighbour", "neighbour 203.0.113.1 020000000001")
	n.MAC[5] = 2
	d.setNeighbors([]domain.Neighbor{n})
	expect("another MAC", "neighbour 203.0.113.1 020000000002")
	n.Link = "vm2"
	d.setNeighbors([]domain.Neighbor{n})
	expect("another interface", "neighbour 203.0.113.1 020000000002", "unneighbour 203.0.113.1")
	d.setNeighbors(nil)
	expect("gone", "unneighbour 203.0.113.1")

	a := domain.Address{Link: "vm1", Prefix: netip.MustParsePrefix("203.0.113.254/32")}
	d.setAddresses([]domain.Address{a})
	expect("an address", "address 203.0.113.254/32 7")
	links.set(up(7, "new"))
	renamed := a
	renamed.Link = "new"
	if drop := d.setAddresses([]domain.Address{renamed}); len(drop) > 0 {
		t.Errorf("the interface has another name: %v goes", drop)
	}
	k.take()
	if drop := d.setAddresses(nil); len(drop) != 1 || drop[0].IfIndex != 7 {
		t.Errorf("to delete: %v", drop)
	}

	route := domain.Route{Key: domain.Key{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.0/24")}, NextHops: []domain.NextHop{{Link: "gone"}}}
	if why := d.setRoute(route); why != "its interface is not there" {
		t.Errorf("a route over nothing: %q", why)
	}
	if calls := k.take(); with(calls, "unroute") != 1 {
		t.Errorf("a route over nothing: %q", calls)
	}
	d.setPersistent([]domain.Route{{Key: route.Key}})
	d.setPersistent([]domain.Route{{Key: route.Key}})
	if calls := k.take(); len(calls) != 1 {
		t.Errorf("a persistent route, twice: %q", calls)
	}
	d.setPersistent(nil)
	if calls := k.take(); with(calls, "unroute") != 1 {
		t.Errorf("a persistent route goes: %q", calls)
	}
	d.setSysctls(map[string]string{"a": "1", "b": "1"})
	d.static.Sysctls = map[string]string{"a": "1", "b": "1"}
	k.take()
	d.setSysctls(map[string]string{"a": "2"})
	expect("sysctls", "sysctl a 2", "unsysctl b")
	rule := domain.Rule{Priority: 7, Table: 90}
	d.setRules([]domain.Rule{rule})
	k.take()
	d.setRules([]domain.Rule{{Priority: 8, Table: 90}})
	if calls := k.take(); with(calls, "rule 8") != 1 || with(calls, "unrule 7") != 1 || len(calls) != 2 {
		t.Errorf("another rule: %q", calls)
	}
}

// The kernel is asked in the same order whenever the same is wanted, and the same was before.
func TestOrder(t *testing.T) {
	run := func() []string {
		b, c := newBed(t, "hv1.yaml")
		for i, name := range []string{"a.public", "b.public", "a.private", "b.private", "loopback", "vm1", "vm2"} {
			b.SetLink(up(10+i, name))
		}
		b.Apply(Guests{List: c.Guests[:2]})
		drop := b.Apply(Guests{})
		b.DeleteAddresses(drop)
		return append(b.kernel.calls, fmt.Sprint(recount(b.links, nil, nil, true)))
	}
	first := run()
	if len(first) < 100 {
		t.Fatalf("%d calls", len(first))
	}
	for range 20 {
		if again := run(); !slices.Equal(again, first) {
			t.Fatalf("asked %q, and then %q", first, again)
		}
	}
}
