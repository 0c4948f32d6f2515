package rib

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// announces announces the route of a guest, with route targets by their numbers.
func (m *member) announces(guest int, targets ...uint16) {
	m.tb.Helper()
	a := wire.PathAttrs{}
	for _, x := range targets {
		a.ExtCommunities = append(a.ExtCommunities, 0x0002fde8<<32|wire.ExtCommunity(x))
	}
	if err := m.in.Update(evpnUpdate(m.tb, a.Append(nil), wire.NextHop{Addr: m.in.addr}, false, 0, macRoute(guest, 100))); err != nil {
		m.tb.Fatal(err)
	}
}

func (m *member) withdraws(guest int) {
	m.tb.Helper()
	if err := m.in.Update(evpnUpdate(m.tb, nil, wire.NextHop{}, false, 0, macRoute(guest, 100))); err != nil {
		m.tb.Fatal(err)
	}
}

// TestConstraint: a client is sent the routes that it wants, when it has said what it wants, and exactly what a
// change of that changes; one without the family is sent everything.
func TestConstraint(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	from, a, b := join(t, tab, 1, "client"), join(t, tab, 2, "client"), join(t, tab, 3, "client")
	plain := join(t, tab, 4, "client plain")
	all := []*member{a, b, plain}
	said := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, m := range all {
			lines := slices.DeleteFunc(m.read(100), func(s string) bool { return !strings.Contains(s, "guest") && s != "End-of-RIB" })
			if len(lines) > 0 {
				slices.Sort(lines)
				got = append(got, m.name[:len(m.name)-1]+": "+strings.Join(lines, ", "))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	b.name = "other3"
	from.announces(1, 10)
	from.announces(2, 20)
	from.announces(3, 30, 10)
	from.announces(4)
	said("before anybody has said what he wants", "client plain: +guest 1 10, +guest 2 20, +guest 3 30,10, +guest 4 , End-of-RIB")
	a.wants(100, 0, interest(10))
	said("before End-of-RIB")
	a.out.ConstraintKnown()
	b.out.ConstraintKnown()
	said("End-of-RIB", "client: +guest 1 10, +guest 3 30,10, End-of-RIB", "other: End-of-RIB")
	b.wants(100, 0, interest(20))
	said("one that comes later", "other: +guest 2 20")
	a.wants(100, 0, interest(30))
	said("one that adds nothing")
	a.wantsNot(0, interest(10))
	said("one that goes", "client: -guest 1")
	a.wants(100, 0, interest(10), interest(20))
	a.wantsNot(0, interest(10), interest(30))
	said("several that come and go", "client: +guest 2 20, -guest 3")
	from.announces(2, 20, 30)
	from.announces(1, 20)
	said("changes", "client: +guest 1 20, +guest 2 20,30", "other: +guest 1 20, +guest 2 20,30", "client plain: +guest 1 20, +guest 2 20,30")
	from.announces(1, 10)
	from.withdraws(2)
	from.withdraws(3)
	said("more", "client: -guest 1, -guest 2", "other: -guest 1, -guest 2", "client plain: +guest 1 10, -guest 2, -guest 3")
	b.wants(100, 0, interest(2)) // the prefix of all route targets here
	said("a prefix", "other: +guest 1 10")
	b.wants(100, 0, interest(0))
	said("everything", "other: +guest 4 ")
	b.wantsNot(0, interest(0), interest(2), interest(20))
	said("nothing", "other: -guest 1, -guest 4")
	if n := 0; true {
		for range b.out.All(wire.L2VPNEVPN) {
			n++
		}
		if n != 0 || tab.Stats().Groups != 2 {
			t.Errorf("%d adverts, %d groups", n, tab.Stats().Groups)
		}
	}
	// A peer that restarts is sent what it wanted before, at once.
	b.wants(100, 0, interest(10))
	said("wanted again", "other: +guest 1 10")
	b.out.Close()
	b.in.MarkStale(wire.RTConstrain)
	b.restarting = true
	b.open()
	said("after a restart", "other: +guest 1 10, End-of-RIB")
	b.in.EndOfRIB(wire.RTConstrain)
	b.out.ConstraintKnown()
	said("it does not say it again", "other: -guest 1")
	// Or everything, if that is not known.
	b.out.Close()
	b.open()
	said("what it wanted is not known", "other: +guest 1 10, +guest 4 , End-of-RIB")
	b.wants(100, 0, interest(10))
	b.out.ConstraintKnown()
	b.out.ConstraintKnown()
	said("now it is", "other: -guest 4")
}

// TestConstraintInterrupted: a client that is reconfigured while it is sent what it wants has it in the end, its
// End-of-RIB, and what changes later.
func TestConstraintInterrupted(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	tab.limits.batch = 100 // a route or two
	from, a := join(t, tab, 1, "client"), join(t, tab, 2, "client")
	for guest := range 12 {
		from.announces(guest, 10+10*uint16(guest%2))
	}
	reconfigure := func() {
		t.Helper()
		c := a.config()
		c.Export = func(*Route) Verdict { return VerdictAccept }
		if err := a.out.Reconfigure(c); err != nil {
			t.Fatal(err)
		}
	}
	has := func(guests ...int) {
		t.Helper()
		for len(a.read(100)) > 0 {
		}
		var want []string
		for _, g := range guests {
			want = append(want, fmt.Sprint("guest ", g))
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(a.routes)); !slices.Equal(got, want) {
			t.Errorf("has %v, not %v", got, want)
		}
	}
	has()
	a.wants(100, 0, interest(10))
	a.out.ConstraintKnown()
	for len(a.routes) == 0 && len(a.read(1)) > 0 {
	}
	if n := len(a.routes); n == 0 || n == 6 {
		t.Fatalf("%d routes after a message", n)
	}
	reconfigure()
	has(0, 2, 4, 6, 8, 10)
	if a.evpnEOR != 1 {
		t.Errorf("%d End-of-RIB", a.evpnEOR)
	}
	from.announces(12, 10)
	has(0, 2, 4, 6, 8, 10, 12)
	a.wants(100, 0, interest(20))
	a.wantsNot(0, interest(10))
	before := maps.Clone(a.routes)
	for maps.Equal(a.routes, before) && len(a.read(1)) > 0 {
	}
	if n := len(a.routes); n == 0 || n > 12 {
		t.Fatalf("%d routes after a message", n)
	}
	reconfigure()
	has(1, 3, 5, 7, 9, 11)
	from.announces(13, 20)
	from.announces(14, 10)
	has(1, 3, 5, 7, 9, 11, 13)
}

// TestConstraintRefresh: a client that asks for a refresh before it has been sent what it wants is sent it, then
// End-of-RIB, and only then the refresh.
func TestConstraintRefresh(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	from, a := join(t, tab, 1, "client"), join(t, tab, 2, "client")
	from.announces(1, 10)
	a.wants(100, 0, interest(10))
	told := func() []string {
		return slices.DeleteFunc(a.read(100), func(s string) bool { return strings.HasPrefix(s, "+65000:") })
	}
	told()
	for _, enhanced := range []bool{false, true} {
		a.out.Refresh(wire.L2VPNEVPN, enhanced)
		if got := told(); len(got) > 0 {
			t.Errorf("before it has said what it wants, enhanced %v: %q", enhanced, got)
		}
	}
	a.out.ConstraintKnown()
	want := []string{"+guest 1 10", "End-of-RIB", "evpn marker 1", "+guest 1 10", "evpn marker 2"}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestConstraintPolicy: a client is notified of a route that has the route target which it wants by the export policy
// alone.
func TestConstraintPolicy(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	from, a := join(t, tab, 1, "client"), &member{tb: t, tampers: true}
	a.in, err = tab.NewIn(PeerConfig{Addr: ip("10.0.2.2"), RouterID: ip("10.0.2.2"), AS: 65000, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	a.open()
	a.wants(100, 0, interest(3))
	a.out.ConstraintKnown()
	all := []*member{from, a}
	readAll(all)
	from.announces(1, 6)
	from.announces(2, 5)
	readAll(all)
	if want := map[string]string{"guest 1": "6,3"}; !maps.Equal(a.routes, want) {
		t.Errorf("has %v, not %v", a.routes, want)
	}
}

// TestConstraintSearch: routes and memberships come and go, peers read now and then, fall behind, restart, ask again
// and are reconfigured; in the end each that was notified reads, and all have what they want of what there is,
// computed anew.
func TestConstraintSearch(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		searchConstraints(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func searchConstraints(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 46846))
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99"), Deferred: r.IntN(3) == 0})
	if err != nil {
		t.Fatal(err)
	}
	tab.limits.backlog, tab.limits.batch = 200+r.IntN(500), 100+r.IntN(100) // so that peers fall behind
	var all []*member
	for i, kind := range []string{"client", "client", "client", "client plain", "other", "external"} {
		all = append(all, join(t, tab, i, kind))
	}
	targets := func() (list []uint16) {
		for range r.IntN(3) {
			list = append(list, uint16(3+r.IntN(4)))
		}
		return list
	}
	for range 200 {
		m := all[r.IntN(len(all))]
		switch n := r.IntN(40); {
		case n < 12:
			m.announces(r.IntN(12), targets()...)
		case n < 16:
			m.withdraws(r.IntN(12))
		case n < 20 && !m.plain():
			m.wants(100, 0, interest(r.IntN(7)))
		case n < 24 && !m.plain():
			m.wantsNot(0, interest(r.IntN(7)), interest(r.IntN(7)))
		case n < 33:
			if m.awake || r.IntN(8) == 0 {
				m.read(1 + r.IntN(3))
			}
		case n < 34:
			m.out.Refresh(wire.L2VPNEVPN, r.IntN(2) == 0)
		case n < 36:
			m.out.ConstraintKnown()
		case n < 37:
			m.out.Close()
			m.in.MarkStale(wire.RTConstrain)
			m.restarting = r.IntN(2) == 0
			m.open()
		case n < 38:
			m.in.EndOfRIB(wire.RTConstrain)
		case n < 39:
			m.tampers = r.IntN(3) == 0
			c := m.config()
			c.LongLived, c.DefaultMembership = r.IntN(2) == 0, r.IntN(2) == 0 // another group
			if err := m.out.Reconfigure(c); err != nil {
				t.Fatal(err)
			}
		default:
			tab.Converge()
		}
	}
	tab.Converge()
	byAddr := map[string]*member{}
	for _, m := range all {
		byAddr[m.in.addr.String()] = m
		m.out.ConstraintKnown()
	}
	readAll(all)
	for _, m := range all {
		want := map[string]string{}
		for c := range tab.All(wire.L2VPNEVPN) {
			p := c.Paths[0]
			from := byAddr[p.Peer.String()]
			if from == m || !from.external && !m.external && !from.client && !m.client {
				continue
			}
			var list []string
			wanted := m.plain()
			targets := slices.Collect(p.Attrs.ExtCommunities().All())
			if three := interest(3).Target; m.tampers && slices.Contains(targets, interest(6).Target) && !slices.Contains(targets, three) {
				targets = append(targets, three)
			}
			for _, x := range targets {
				list = append(list, fmt.Sprint(uint16(x)))
			}
			for k := range tab.All(wire.RTConstrain) {
				x, _ := wire.MembershipOfKey(k.Key)
				for _, q := range k.Paths {
					if q.Peer != m.in.addr {
						continue
					}
					wanted = wanted || x.Bits <= 32
					for _, c := range targets {
						wanted = wanted || x.Contains(c)
					}
				}
			}
			if wanted {
				n := p.Attrs.EVPN(c.Key)
				want[fmt.Sprint("guest ", uint32(n.Octets[29])<<8|uint32(n.Octets[30]))] = strings.Join(list, ",")
			}
		}
		if fmt.Sprint(m.routes) != fmt.Sprint(want) {
			t.Errorf("%s has\n%v, not\n%v", m.name, m.routes, want)
		}
		if m.evpnEOR != 1 {
			t.Errorf("%s: %d End-of-RIB", m.name, m.evpnEOR)
		}
		n := 0
		for range m.out.All(wire.L2VPNEVPN) {
			n++
		}
		if n != len(want) {
			t.Errorf("%s: %d adverts, %d routes", m.name, n, len(want))
		}
	}
	if err := tab.audit(); err != nil {
		t.Error(err)
	}
	for _, m := range all {
		m.in.Drop(wire.L2VPNEVPN)
		m.in.Drop(wire.RTConstrain)
	}
	readAll(all)
	for _, m := range all {
		if len(m.routes) > 0 {
			t.Errorf("%s still has %v", m.name, m.routes)
		}
		m.out.Close()
		m.in.Close()
	}
	if s := tab.Stats(); s.Prefixes != [4]int{} || s.Paths != 0 || s.Attrs != 0 {
		t.Errorf("left over: %+v", s)
	}
}
