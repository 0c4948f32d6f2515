package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/fib"
)

// What a namespace says of its interfaces.
func TestLinks(t *testing.T) {
	b, _ := newBed(t, "hv1.yaml")
	if c := b.SetLink(up(10, "a.public")); c != (LinkChange{Appeared: true}) {
		t.Errorf("a new one: %+v", c)
	}
	if c := b.SetLink(up(10, "a.public")); c != (LinkChange{}) {
		t.Errorf("the same: %+v", c)
	}
	dark := up(10, "a.public")
	dark.Carrier = false
	b.SetLink(dark)
	if c := b.SetLink(up(10, "a.public")); c != (LinkChange{CameUp: true}) {
		t.Errorf("carrier: %+v", c)
	}
	other := up(10, "a.public")
	other.MAC[5] = 1
	if c := b.SetLink(other); c != (LinkChange{Different: true}) {
		t.Errorf("another MAC: %+v", c)
	}
	if c := b.SetLink(up(11, "a.public")); c != (LinkChange{Appeared: true}) || b.Links().Index("a.public") != 11 {
		t.Errorf("another interface: %+v", c)
	}
	if c := b.SetLink(up(11, "renamed")); c != (LinkChange{Appeared: true}) || b.Links().Index("a.public") != 0 {
		t.Errorf("renamed: %+v", c)
	}
	b.SetLink(up(12, "b.public"))
	for _, a := range []string{"198.51.100.101/25", "fe80::2/64", "fe80::1/64", "2001:db8::1/64"} {
		b.SetAddress(onAddress(12, a, false))
	}
	l := b.Links()
	if got := b.LinkLocal("b.public"); got != netip.MustParseAddr("fe80::1") {
		t.Errorf("link-local: %v", got)
	}
	if !b.HasAddress(netip.MustParseAddr("198.51.100.101")) || b.HasAddress(netip.MustParseAddr("198.51.100.102")) {
		t.Error("addresses")
	}
	addr := netip.MustParseAddr
	for _, c := range []struct {
		session, gateway, want string
	}{
		{"b.public", "198.51.100.102", "b.public"}, {"", "198.51.100.102", "b.public"}, {"renamed", "198.51.100.102", "b.public"},
		{"", "198.51.100.101", ""}, {"", "192.0.2.1", ""}, {"b.public", "fe80::9", "b.public"}, {"", "fe80::9", ""},
	} {
		if got, _ := l.Reach([]string{"renamed", "b.public"}, c.session, addr(c.gateway)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	n := 0
	for link := range l.All {
		n += link.IfIndex
		if n > 0 && link.IfIndex == 0 {
			break
		}
	}
	if n != 10+11+12 && n != 11+12 {
		t.Errorf("all: %d", n)
	}
	b.SetAddress(onAddress(12, "198.51.100.101/25", true))
	if b.HasAddress(addr("198.51.100.101")) {
		t.Error("an address that has gone")
	}
	b.DeleteLink(12)
	b.DeleteLink(99)
	if _, ok := l.ByName("b.public"); ok || b.HasAddress(addr("fe80::1")) {
		t.Error("an interface that has gone")
	}
	if name, ok := l.Name(11); name != "renamed" || !ok || !b.IsUplink("b.public") || b.IsUplink("renamed") || !b.IsUplink("loopback") {
		t.Error("names")
	}
}

// Events that were lost are made up for by what the kernel has.
func TestRecount(t *testing.T) {
	b, _ := newBed(t, "hv1.yaml")
	b.kernel.links = []fib.Link{up(1, "lo"), up(2, "new")}
	b.kernel.addresses = []host.Address{{Link: 2, Prefix: netip.MustParsePrefix("192.0.2.1/24"), Global: true, Permanent: true}}
	b.SetLink(up(1, "lo"))
	b.SetAddress(onAddress(1, "127.0.0.1/8", false))
	b.SetLink(up(3, "old"))
	b.SetAddress(onAddress(3, "192.0.2.9/24", false))
	text := func(events []fib.Event) (list []string) {
		for _, e := range events {
			list = append(list, fmt.Sprint(e.Kind, " ", e.Link.IfIndex, " ", e.Addr, " ", e.Gone))
		}
		slices.Sort(list)
		return list
	}
	if got := b.Complete([]fib.Event{{Kind: fib.EventLink, Link: up(1, "lo")}}); len(got) != 1 {
		t.Errorf("nothing was lost: %v", text(got))
	}
	got := text(b.Complete([]fib.Event{{Kind: fib.EventLost}}))
	want := []string{"address 1 127.0.0.1/8 true", "address 2 192.0.2.1/24 false", "link 1 invalid Prefix false", "link 2 invalid Prefix false",
		"link-gone 3 invalid Prefix false", "lost 0 invalid Prefix false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	b.kernel.unread = errors.New("no buffer")
	if got := text(b.Complete([]fib.Event{{Kind: fib.EventLost}})); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "address") }) {
		t.Errorf("addresses that could not be read: %q", got)
	}
	if events := b.log.take(); !slices.Equal(events, []string{"kernel-error"}) {
		t.Errorf("events: %q", events)
	}
}

// The first reading ends with the kernel's word that all has come, and with what an earlier run
// has left.
func TestFirstReading(t *testing.T) {
	b, c := newBed(t, "hv1.yaml")
	b.kernel.links = []fib.Link{up(1, "lo")}
	b.kernel.routes = staleRoutes("90 203.0.113.1/32")
	b.kernel.batches = [][]fib.Event{{{Kind: fib.EventLink, Link: up(1, "lo")}}, {{Kind: fib.EventSynced}}}
	if err := b.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := b.FirstReading(t.Context(), func(events []fib.Event) { n += len(events) }); err != nil || n != 3 {
		t.Errorf("%d events, %v", n, err)
	}
	if !b.Continues() || b.Swept() {
		t.Error("what an earlier run has left is not noted")
	}
	if got := b.Preserved(c.Domains[:1], func(config.Domain) (v4, v6 bool) { return true, true }); !slices.Equal(got, []wire.Family{wire.IPv4Unicast}) {
		t.Errorf("preserved: %v", got)
	}
	if err := b.FirstReading(t.Context(), func([]fib.Event) {}); err == nil {
		t.Error("a reading that fails")
	}
	b.Sweep()
	if !b.Swept() || !slices.Equal(b.kernel.take(), []string{"sweep"}) {
		t.Error("not swept")
	}
	b.WatchRoutes()
	for key, want := range map[fib.RouteKey]bool{{Table: 90, Metric: c.Edge.Metric}: true, {Table: 20, Metric: c.Edge.Metric}: true, {Table: 90, Metric: 20}: false, {Table: 91, Metric: c.Edge.Metric}: false} {
		if b.kernel.filter.Accept(key) != want {
			t.Errorf("%+v is watched: %v", key, !want)
		}
	}
	if got := Tables(c); len(got) != len(c.Domains)+1 {
		t.Errorf("tables: %v", got)
	}
}

func TestCarriers(t *testing.T) {
	var c Carriers
	dark := up(1, "a")
	dark.Carrier = false
	for _, step := range []struct {
		event fib.Event
		want  string
	}{
		{fib.Event{Kind: fib.EventLink, Link: up(1, "a")}, "[a true]"},
		{fib.Event{Kind: fib.EventLink, Link: up(1, "a")}, "[]"},
		{fib.Event{Kind: fib.EventAddress, Link: up(1, "a")}, "[]"},
		{fib.Event{Kind: fib.EventLink, Link: dark}, "[a false]"},
		{fib.Event{Kind: fib.EventLinkGone, Link: dark}, "[]"},
		{fib.Event{Kind: fib.EventLink, Link: up(1, "a")}, "[a true]"},
		{fib.Event{Kind: fib.EventLinkGone, Link: up(1, "a")}, "[a false]"},
		{fib.Event{Kind: fib.EventLinkGone, Link: up(2, "b")}, "[b false]"},
	} {
		got := []string{}
		c.Take([]fib.Event{{Kind: fib.EventAddress, Link: up(3, "c")}, step.event}, func(name string, up bool) { got = append(got, fmt.Sprint(name, " ", up)) })
		if fmt.Sprint(got) != step.want {
			t.Errorf("%v of %v: %v, want %s", step.event.Kind, step.event.Link, got, step.want)
		}
	}
}
