package netns

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/fib"
)

func table(word string) uint32 {
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

// log is a log in memory.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the names of the events since the last call.
func (l *log) take() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, word := range strings.Fields(l.text.String()) {
		if name, ok := strings.CutPrefix(word, "event="); ok {
			names = append(names, name)
		}
	}
	l.text.Reset()
	return names
}

// fakeKernel notes what it is asked for.
type fakeKernel struct {
	Kernel
	calls     []string
	refuse    error
	batches   [][]fib.Event // of Next
	links     []fib.Link
	addresses []host.Address
	unread    error // of Addresses
	routes    []fib.RouteStatus
	filter    fib.RouteFilter
}

func (k *fakeKernel) add(format string, args ...any) error {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
	return k.refuse
}

// take returns the calls since the last time, sorted: many come from maps.
func (k *fakeKernel) take() []string {
	calls := k.calls
	k.calls = nil
	slices.Sort(calls)
	return calls
}

func (k *fakeKernel) SetRoute(r fib.Route) error {
	return k.add("route %v", r.RouteKey)
}
func (k *fakeKernel) DeleteRoute(key fib.RouteKey) error { return k.add("unroute %v", key) }
func (k *fakeKernel) SetRule(r fib.Rule) error           { return k.add("rule %v", r) }
func (k *fakeKernel) SetRuleAbsent(r fib.Rule) error     { return k.add("no rule %v", r) }
func (k *fakeKernel) DeleteRule(r fib.Rule) error        { return k.add("unrule %v", r) }
func (k *fakeKernel) SetAddress(a fib.Address) error {
	return k.add("address %v %d", a.Prefix, a.IfIndex)
}
func (k *fakeKernel) DeleteAddress(a fib.Address) error {
	return k.add("unaddress %v %d", a.Prefix, a.IfIndex)
}
func (k *fakeKernel) SetNeighbor(n fib.Neighbor) error {
	return k.add("neighbour %v %x", n.Addr, n.MAC)
}
func (k *fakeKernel) DeleteNeighbor(n fib.Neighbor) error { return k.add("unneighbour %v", n.Addr) }
func (k *fakeKernel) SetSysctl(s fib.Sysctl) error        { return k.add("sysctl %s %s", s.Path, s.Value) }
func (k *fakeKernel) DeleteSysctl(path string) error      { return k.add("unsysctl %s", path) }
func (k *fakeKernel) Sweep()                              { k.add("sweep") }
func (k *fakeKernel) Links() []fib.Link                   { return k.links }
func (k *fakeKernel) Routes() iter.Seq[fib.RouteStatus] {
	return slices.Values(k.routes)
}
func (k *fakeKernel) Addresses() ([]host.Address, error) { return k.addresses, k.unread }
func (k *fakeKernel) Watch(fib.WatchOptions) Events      { return k }
func (k *fakeKernel) WatchRoutes(f fib.RouteFilter) RouteChanges {
	k.filter = f
	return nil
}
func (k *fakeKernel) Next(ctx context.Context, buf []fib.Event) (int, error) {
	if len(k.batches) == 0 {
		return 0, errors.New("no more events")
	}
	one := k.batches[0]
	k.batches = k.batches[1:]
	return copy(buf, one), nil
}

type fakeFirewall struct {
	applied, ended int
	last           firewall.Spec
	err            error
	changes        []time.Duration // after which another program changes it
	crowded        []netip.Addr
}

func (w *fakeFirewall) Apply(s firewall.Spec) error { w.applied++; w.last = s; return w.err }
func (w *fakeFirewall) End(firewall.Spec) error     { w.ended++; return w.err }
func (w *fakeFirewall) Drops() (map[string]uint64, error) {
	return map[string]uint64{"spoofed": 3}, nil
}
func (w *fakeFirewall) Watch(ctx context.Context, changed func()) error {
	for _, d := range w.changes {
		time.Sleep(d)
		changed()
	}
	return w.err
}
func (w *fakeFirewall) Balance(ctx context.Context, crowded func(netip.Addr, int)) error {
	for _, a := range w.crowded {
		crowded(a, 1000)
	}
	if w.err != nil {
		return w.err
	}
	<-ctx.Done()
	return nil
}

type fakeVRFs struct {
	*fakeKernel
	made error
}

func (v fakeVRFs) Ensure(name string, id uint32) (int, error) {
	v.add("vrf %s %d", name, id)
	return 77, v.made
}
func (v fakeVRFs) Enslave(ifindex, vrf int) error { return v.add("enslave %d %d", ifindex, vrf) }

// bed is a namespace over fakes.
type bed struct {
	*Namespace
	kernel   *fakeKernel
	firewall *fakeFirewall
	log      *log
}

func newBed(t *testing.T, sample string, edits ...string) (*bed, *config.Config) {
	t.Helper()
	c, err := configtest.Sample(sample, edits...)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{kernel: &fakeKernel{}, firewall: &fakeFirewall{}, log: &log{}}
	b.Namespace = New(Config{Log: slog.New(slog.NewTextHandler(b.log, nil)), Kernel: b.kernel, Firewall: b.firewall})
	b.Configure(c, c.Namespaces()[0].Config)
	return b, c
}

func up(index int, name string) fib.Link {
	return fib.Link{IfIndex: index, Interface: name, AdminUp: true, Carrier: true}
}

func onAddress(index int, prefix string, gone bool) fib.Event {
	return fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: netip.MustParsePrefix(prefix), Gone: gone}
}

func with(list []string, prefix string) (n int) {
	for _, one := range list {
		if strings.HasPrefix(one, prefix) {
			n++
		}
	}
	return n
}

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
	if f := b.kernel.filter; len(f.Tables) != len(c.Domains) || !f.Accept(fib.RouteKey{Metric: c.Edge.Metric}) || f.Accept(fib.RouteKey{Metric: 20}) {
		t.Errorf("watched: %v", f.Tables)
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
		c.Take([]fib.Event{step.event}, func(name string, up bool) { got = append(got, fmt.Sprint(name, " ", up)) })
		if fmt.Sprint(got) != step.want {
			t.Errorf("%v of %v: %v, want %s", step.event.Kind, step.event.Link, got, step.want)
		}
	}
}

// The firewall is written when it should be another, when another program has changed it, and
// taken away when the configuration has none.
func TestFirewall(t *testing.T) {
	b, c := newBed(t, "hv1.yaml")
	b.SetLink(up(10, "a.public"))
	b.SetAddress(onAddress(10, "198.51.100.101/25", false))
	b.SetLink(up(20, "vm1"))
	b.RepairFirewall()
	g := Guests{List: []config.Guest{c.Guests[0]}, Heard: map[string][]netip.Addr{"vm1": {netip.MustParseAddr("fe80::99")}},
		Found: map[int][]FoundRoute{20: {{netip.MustParsePrefix("203.0.113.96/28"), false}, {netip.MustParsePrefix("203.0.113.80/28"), true}}}}
	b.ApplyFirewall(g)
	b.ApplyFirewall(g)
	if b.firewall.applied != 1 {
		t.Errorf("applied %d times", b.firewall.applied)
	}
	s := b.firewall.last
	if !slices.Contains(s.Guests[0].Neighbors, netip.MustParseAddr("fe80::99")) || !slices.Contains(s.Guests[0].Prefixes, netip.MustParsePrefix("203.0.113.80/28")) {
		t.Errorf("the guest may send: %+v", s.Guests[0])
	}
	if !slices.Equal(s.OnLink, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/25"), netip.MustParsePrefix("203.0.113.96/28")}) {
		t.Errorf("on-link: %v", s.OnLink)
	}
	b.RepairFirewall()
	b.firewall.err = errors.New("no")
	b.ApplyFirewall(Guests{})
	if b.firewall.applied != 3 || !slices.Equal(b.log.take(), []string{"firewall-error"}) {
		t.Errorf("applied %d times", b.firewall.applied)
	}
	off := *c
	off.Firewall.Off = true
	b.Configure(&off, &off)
	b.DecideTrust(nil)
	b.ApplyFirewall(g)
	if b.firewall.ended != 1 {
		t.Error("it stands, and is not wanted")
	}
	if drops, err := b.Drops(); drops["spoofed"] != 3 || err != nil {
		t.Errorf("drops: %v, %v", drops, err)
	}
	none := New(Config{Log: slog.New(slog.DiscardHandler), Kernel: &fakeKernel{}})
	none.Configure(c, c)
	none.ApplyFirewall(g)
	none.RepairFirewall()
	none.FollowFirewall(t.Context(), "t", nil)
	none.BalanceFlows(t.Context())
	if drops, err := none.Drops(); len(drops) > 0 || err != nil {
		t.Errorf("without one: %v, %v", drops, err)
	}
}

// A firewall that another program changes again and again is repaired each time, ever later,
// with one line when that begins.
func TestFollowFirewall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c := newBed(t, "hv1.yaml")
		b.ApplyFirewall(Guests{})
		b.firewall.changes = make([]time.Duration, 15)
		b.FollowFirewall(t.Context(), c.Firewall.Table, func(f func()) { f() })
		events := b.log.take()
		repairs, contended := 0, 0
		for _, e := range events {
			switch e {
			case "repair":
				repairs++
			case "contended":
				contended++
			}
		}
		if repairs != 15 || contended != 1 || b.firewall.applied != 16 {
			t.Errorf("%d repairs, contended %d times, applied %d times", repairs, contended, b.firewall.applied)
		}
		b.firewall.changes, b.firewall.err = nil, errors.New("no such table")
		b.FollowFirewall(t.Context(), c.Firewall.Table, func(f func()) { f() })
		if events := b.log.take(); !slices.Equal(events, []string{"firewall-error"}) {
			t.Errorf("events: %q", events)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.firewall.crowded = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
		b.BalanceFlows(ctx)
		if events := b.log.take(); !slices.Equal(events, []string{"connections-crowded", "firewall-error"}) {
			t.Errorf("events: %q", events)
		}
	})
}

// Interfaces are in their VRFs, those of guests as well; one that cannot be made is logged.
func TestEnslave(t *testing.T) {
	c, err := config.Parse("f", []byte(`
router-id: 0.0.1.1
as: 65000
isolation: vrf
domains:
  - {name: public, vrf: public, table: 90, guests: true, reflectors: [{interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}]}
edge: {gateway4: 203.0.113.254}
guests: [{name: vm1, ipv4: [203.0.113.1]}]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newBed(t, "hv1.yaml")
	b.Configure(c, c)
	v := fakeVRFs{fakeKernel: b.kernel}
	b.vrfs = v
	b.SetLink(up(10, "a.public"))
	b.SetLink(up(20, "vm1"))
	name := c.Domains[0].VRF
	b.Enslave([]config.Guest{c.Guests[0]})
	calls := b.kernel.take()
	if with(calls, "vrf "+name+" 90") != 1 || with(calls, "enslave 10 77") != 1 || with(calls, "enslave 20 77") != 1 {
		t.Errorf("%q", calls)
	}
	b.SetLink(up(77, name))
	inside := up(10, "a.public")
	inside.Master = 77
	if c := b.SetLink(inside); !c.Different {
		t.Errorf("another VRF: %+v", c)
	}
	b.Enslave(nil)
	if calls := b.kernel.take(); with(calls, "vrf "+name) > 0 || with(calls, "enslave 10") > 0 {
		t.Errorf("again: %q", calls)
	}
	v.made = errors.New("not supported")
	b.vrfs = v
	b.log.take()
	b.DeleteLink(77)
	b.Enslave(nil)
	if events := b.log.take(); !slices.Contains(events, "VRF-refused") {
		t.Errorf("events: %q", events)
	}
	New(Config{Log: slog.New(slog.DiscardHandler), Kernel: b.kernel}).Enslave(nil) // has none
}

// What becomes of a namespace's name, and what is said of it, once.
func TestNames(t *testing.T) {
	file, path, err := OpenFile("")
	if err != nil || !strings.HasPrefix(path, "/proc/self/fd/") {
		t.Fatal(path, err)
	}
	file.Close()
	if _, _, err := OpenFile("/nowhere/at-all"); err == nil {
		t.Error("opened nothing")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "ns")
	write := func(p string) {
		t.Helper()
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(name)
	l := &log{}
	n := New(Config{Log: slog.New(slog.NewTextHandler(l, nil)), NetNS: config.NetNS(name), Kernel: &fakeKernel{}})
	if n.file, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	defer Close([]*Namespace{n, {}})
	if n.NetNS().Path() != name || n.Where("in ", "!") != "in "+name+"!" {
		t.Fatal(n.NetNS().Path())
	}
	ctx, cancel := context.WithCancel(t.Context())
	state := NameFine
	step := func(what string, want NameState, events ...string) {
		t.Helper()
		if state = n.logName(state); state != want {
			t.Errorf("%s: %v, want %v", what, state, want)
		}
		if got := l.take(); !slices.Equal(got, events) {
			t.Errorf("%s: %q", what, got)
		}
	}
	step("it is there", NameFine)
	aside := name + ".aside"
	os.Rename(name, aside)
	step("gone", NameGone, "namespace-gone")
	step("still gone", NameGone)
	write(name)
	step("another", NameReplaced, "namespace-replaced")
	os.Remove(name)
	os.Rename(aside, name)
	step("back", NameFine, "namespace-back")
	cancel()
	WatchNames(ctx, []*Namespace{n})
	own := New(Config{Log: slog.New(slog.DiscardHandler), Kernel: &fakeKernel{}})
	if own.NameState() != NameFine || own.Where("in ") != "" || own.Path() != "" {
		t.Error("the daemon's own has no name to lose")
	}
	for s, want := range map[NameState]string{NameFine: "fine", NameGone: "gone", NameReplaced: "replaced", 9: "NameState(9)"} {
		if s.String() != want {
			t.Errorf("%d: %s", s, s)
		}
	}
	if s := nudState(0x40) + " " + nudState(0x80) + " " + nudState(0x3); s != "0x40 permanent 0x3" {
		t.Errorf("states: %s", s)
	}
}
