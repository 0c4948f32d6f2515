package rib

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// interest is membership i: some are for one route target, some for many.
func interest(i int) wire.Membership {
	switch i {
	case 0:
		return wire.Membership{}
	case 1:
		return wire.Membership{OriginAS: 65000, Bits: 32}
	case 2:
		return wire.Membership{OriginAS: 65000, Target: 0x0002fde8 << 32, Bits: 64}
	}
	return wire.NewMembership(65000, 0x0002fde8<<32|wire.ExtCommunity(i))
}

// interestUpdate announces memberships, or withdraws them if attrs is nil.
func interestUpdate(tb testing.TB, attrs wire.Attrs, nh wire.NextHop, addPath bool, id uint32, list ...wire.Membership) *wire.Update {
	tb.Helper()
	b := wire.Builder{AS4: true}
	opt := wire.Options{AS4: true, IBGP: true}
	if addPath {
		b.AddPath, opt.AddPath = wire.Families(wire.RTConstrain), wire.Families(wire.RTConstrain)
	}
	if attrs != nil {
		b.Reach(nil, wire.RTConstrain, attrs, nh)
	} else {
		b.Unreach(nil, wire.RTConstrain)
	}
	for _, m := range list {
		if !b.AddKeyed(m.AppendKey(nil), nil, id) {
			tb.Fatal("no room")
		}
	}
	u, err := wire.ParseUpdate(b.Finish()[wire.HeaderLen:], opt)
	if err != nil {
		tb.Fatal(err)
	}
	return &u
}

// member is a peer of a table that exchanges memberships with it.
type member struct {
	tb       testing.TB
	name     string
	client   bool
	external bool
	addPath  bool
	in       *In
	out      *Out
	has      map[string]string // by membership, and path identifier: how it came
	eor      int
	routes   map[string]string // EVPN routes by their octets: how they came
	evpnEOR  int

	restarting bool // its next session has the Restart State bit
	awake      bool // it has been notified, or has not read all yet
	tampers    bool // its export policy adds route target 3 to what has 6
}

// join makes peer i of a table and opens its session.
func join(tb testing.TB, t *Table, i int, kind string) *member {
	m := &member{tb: tb, name: fmt.Sprint(kind, i), client: strings.Contains(kind, "client"), external: strings.Contains(kind, "external"), addPath: strings.Contains(kind, "add-path")}
	addr := netip.AddrFrom4([4]byte{10, 0, 2, byte(i)})
	as := uint32(65000)
	if m.external {
		as = 65001
	}
	var err error
	if m.in, err = t.NewIn(PeerConfig{Addr: addr, AS: as, RouterID: addr, Client: m.client}); err != nil {
		tb.Fatal(err)
	}
	m.open()
	return m
}

func (m *member) plain() bool { return strings.Contains(m.name, "plain") }

func (m *member) config() OutConfig {
	c := OutConfig{Families: wire.Families(wire.L2VPNEVPN, wire.RTConstrain), AS4: true, NextHop4: via("10.0.0.99"), LongLived: true, PeerRestarting: m.restarting, Notify: func() { m.awake = true }}
	if m.tampers {
		c.Export = tamper
	}
	if m.addPath {
		c.AddPath = wire.Families(wire.RTConstrain)
	}
	if m.plain() {
		c.Families = wire.Families(wire.L2VPNEVPN)
	}
	return c
}

// tamper is an export policy.
func tamper(r *Route) Verdict {
	if r.HasExtCommunity(0x0002fde8<<32 | 6) {
		r.AddExtCommunity(0x0002fde8<<32 | 3)
	}
	return VerdictAccept
}

func (m *member) open() {
	m.awake = true
	var err error
	if m.out, err = m.in.NewOut(m.config()); err != nil {
		m.tb.Fatal(err)
	}
	m.has, m.eor = map[string]string{}, 0
	m.routes, m.evpnEOR = map[string]string{}, 0
}

// attrs are those with which a peer announces its interest.
func (m *member) attrs(pref uint32) wire.Attrs {
	if m.external {
		return (&wire.PathAttrs{ASPath: []uint32{65001}}).Append(nil)
	}
	return (&wire.PathAttrs{LocalPref: &pref}).Append(nil)
}

func (m *member) wants(pref, id uint32, list ...wire.Membership) {
	m.tb.Helper()
	if err := m.in.Update(interestUpdate(m.tb, m.attrs(pref), wire.NextHop{Addr: m.in.addr}, m.addPath, m.id(id), list...)); err != nil {
		m.tb.Fatal(err)
	}
}

func (m *member) wantsNot(id uint32, list ...wire.Membership) {
	m.tb.Helper()
	if err := m.in.Update(interestUpdate(m.tb, nil, wire.NextHop{}, m.addPath, m.id(id), list...)); err != nil {
		m.tb.Fatal(err)
	}
}

func (m *member) id(id uint32) uint32 {
	if m.addPath {
		return id
	}
	return 0
}

// readAll has each read that is notified, until none is.
func readAll(all []*member) {
	for busy := true; busy; {
		busy = false
		for _, m := range all {
			if m.awake {
				busy = true
				m.read(1000)
			}
		}
	}
}

// read takes in at most some messages of what the peer is sent, and returns what they said.
func (m *member) read(most int) (said []string) {
	m.tb.Helper()
	buf := make([]byte, 4096)
	for ; most > 0; most-- {
		n := m.out.Fill(buf)
		if n == 0 {
			m.awake = false
			break
		}
		for b := buf[:n]; len(b) > 0; {
			h, err := wire.ParseHeader(b, 4096)
			if err != nil {
				m.tb.Fatal(err)
			}
			switch h.Type {
			case wire.TypeUpdate:
				said = append(said, m.take(b[wire.HeaderLen:h.Len])...)
			case wire.TypeRouteRefresh:
				r, err := wire.ParseRouteRefresh(b[wire.HeaderLen:h.Len])
				if err != nil {
					m.tb.Fatal(err)
				}
				said = append(said, fmt.Sprintf("%v marker %d", r.Family, r.Subtype))
			}
			b = b[h.Len:]
		}
	}
	return said
}

func (m *member) take(body []byte) (said []string) {
	opt := wire.Options{AS4: true, IBGP: !m.external}
	if m.addPath {
		opt.AddPath = wire.Families(wire.RTConstrain)
	}
	u, err := wire.ParseUpdate(body, opt)
	if err != nil {
		m.tb.Fatal(err)
	}
	if f, ok := u.EndOfRIB(); ok {
		switch f {
		case wire.RTConstrain:
			m.eor++
		case wire.L2VPNEVPN:
			m.evpnEOR++
			return []string{"End-of-RIB"}
		}
		return nil
	}
	for x := range u.MPUnreach.Memberships() {
		said = append(said, "-"+x.String())
		delete(m.has, x.String())
	}
	text := describe(u.AppendAttrs(nil), u.MPNextHop)
	for x := range u.MPReach.Memberships() {
		said = append(said, "+"+x.String()+" "+text)
		m.has[x.String()] = text
	}
	guest := func(n wire.EVPN) string { return fmt.Sprint("guest ", binary.BigEndian.Uint32(n.Octets[27:])) }
	for n := range u.MPUnreach.EVPN() {
		said = append(said, "-"+guest(n))
		delete(m.routes, guest(n))
	}
	for n := range u.MPReach.EVPN() {
		var targets []string
		for c := range wire.Attrs(u.AppendAttrs(nil)).ExtCommunities().All() {
			targets = append(targets, fmt.Sprint(uint16(c)))
		}
		said = append(said, "+"+guest(n)+" "+strings.Join(targets, ","))
		m.routes[guest(n)] = strings.Join(targets, ",")
	}
	return said
}

// TestMembershipReflection: RFC 4684, Section 3.2, word by word.
func TestMembershipReflection(t *testing.T) {
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	a, b := join(t, tab, 1, "client"), join(t, tab, 2, "client")
	c, d := join(t, tab, 3, "other"), join(t, tab, 4, "other")
	all := []*member{a, b, c, d}
	said := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, m := range all {
			for _, s := range m.read(100) {
				got = append(got, m.name+" "+s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	said("at first")
	for _, m := range all {
		if m.eor != 1 {
			t.Errorf("%s: %d End-of-RIB", m.name, m.eor)
		}
	}
	x, name := interest(9), interest(9).String()
	// To clients: ORIGINATOR_ID and next hop are ours, and so it goes back to the one that sent it.
	const toClient = " via 10.0.0.99, pref 100, originator 10.0.0.99, clusters 10.0.0.99"
	from := func(i int) string {
		return fmt.Sprintf(" via 10.0.2.%d, pref 100, originator 10.0.2.%d, clusters 10.0.0.99", i, i)
	}
	a.wants(100, 0, x)
	said("a client's", "client1 +"+name+toClient, "client2 +"+name+toClient, "other3 +"+name+from(1), "other4 +"+name+from(1))
	// Another client's is worse: nobody hears of it.
	b.wants(100, 0, x)
	said("another client's")
	// The first goes: clients need not know, others do.
	a.wantsNot(0, x)
	said("the first goes", "other3 +"+name+from(2), "other4 +"+name+from(2))
	// One that is no client has a better path: clients get that, and others still that of the client.
	c.wants(200, 0, x)
	const better = " via 10.0.0.99, pref 200, originator 10.0.0.99, clusters 10.0.0.99"
	said("a better one of no client", "client1 +"+name+better, "client2 +"+name+better)
	// The client's goes, and there is nothing that may go to others.
	b.wantsNot(0, x)
	said("the client's goes", "other3 -"+name, "other4 -"+name)
	// It is back, while the best one is not a client's.
	b.wants(100, 0, x)
	said("and is back", "other3 +"+name+from(2), "other4 +"+name+from(2))
	c.wantsNot(0, x)
	said("the better one goes", "client1 +"+name+toClient, "client2 +"+name+toClient)
	// Our own interest beats them all, and has no originator.
	if err := tab.Originate(LocalPath{Membership: &x}); err != nil {
		t.Fatal(err)
	}
	const own = " via 10.0.0.99, pref 100"
	said("our own", "client1 +"+name+own, "client2 +"+name+own, "other3 +"+name+own, "other4 +"+name+own)
	if p := tab.LookupMembership(x); len(p) != 2 || !p[0].Local || p[1].Peer != b.in.addr {
		t.Errorf("%+v", p)
	}
	if !tab.WithdrawMembership(x, 0) || tab.WithdrawMembership(x, 0) {
		t.Error("not withdrawn once")
	}
	said("no longer", "client1 +"+name+toClient, "client2 +"+name+toClient, "other3 +"+name+from(2), "other4 +"+name+from(2))
	if err := tab.Originate(LocalPath{Membership: &wire.Membership{Bits: 31}}); err == nil {
		t.Error("a membership of 31 bits was originated")
	}
	// Malformed ones are refused, the others of the UPDATE are not.
	u := interestUpdate(t, a.attrs(100), via("10.0.2.1"), false, 0, interest(3))
	u.MPReach.Raw = append(slices.Clone(u.MPReach.Raw), 31, 0, 0, 0xfd, 0xe8)
	if err := a.in.Update(u); err != nil {
		t.Fatal(err)
	}
	if n := a.in.Counters(wire.RTConstrain); n.Paths != 1 || n.Refused[ReasonMalformed] != 1 {
		t.Errorf("%+v", n)
	}
}

// TestMembershipSearch: clients, others and external peers announce and withdraw memberships, read now and
// then, restart and ask again; in the end each has what RFC 4684, Section 3.2, wants, computed anew.
func TestMembershipSearch(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		searchMemberships(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func searchMemberships(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 4684))
	tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.99")})
	if err != nil {
		t.Fatal(err)
	}
	tab.limits.backlog, tab.limits.batch, tab.limits.list = 300, 100, 1+r.IntN(6) // so that peers fall behind, and lists become indexes
	var all []*member
	for i, kind := range []string{"client", "client", "client add-path", "client", "other", "other", "other add-path", "external"} {
		all = append(all, join(t, tab, i, kind))
	}
	stale := map[*member]bool{}
	for range 150 {
		m := all[r.IntN(len(all))]
		list := []wire.Membership{interest(r.IntN(6)), interest(r.IntN(6))}
		switch n := r.IntN(20); {
		case n < 8:
			m.wants(uint32(100+100*r.IntN(2)), uint32(r.IntN(3)), list...)
		case n < 12:
			m.wantsNot(uint32(r.IntN(3)), list...)
		case n < 16:
			m.read(1 + r.IntN(3))
		case n < 17:
			m.out.Refresh(wire.RTConstrain, r.IntN(2) == 0)
		case n < 18:
			m.out.Close()
			m.in.MarkStale(wire.RTConstrain)
			stale[m] = true
			m.open()
		case n < 19:
			m.in.EndOfRIB(wire.RTConstrain)
			delete(stale, m)
		default:
			x := interest(r.IntN(6))
			if !tab.WithdrawMembership(x, 0) {
				if err := tab.Originate(LocalPath{Membership: &x}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	byAddr := map[netip.Addr]*member{}
	for _, m := range all {
		byAddr[m.in.addr] = m
	}
	readAll(all)
	for _, m := range all {
		if m.eor != 1 {
			t.Errorf("%s: %d End-of-RIB", m.name, m.eor)
		}
		want := map[string]string{}
		for c := range tab.All(wire.RTConstrain) {
			x, ok := wire.MembershipOfKey(c.Key)
			if !ok || c.Family != wire.RTConstrain {
				t.Fatalf("key %x of %v", c.Key, c.Family)
			}
			for _, p := range tab.LookupMembership(x) { // with those that have moved
				from := byAddr[p.Peer]
				if text, ok := m.oracle(from, &p); ok {
					if m.addPath {
						x.PathID = 0
						want[x.String()] += "+"
						continue
					}
					if _, there := want[x.String()]; !there && (from != m || m.client) {
						want[x.String()] = text
					}
					break
				} else if !m.addPath && (m.client || m.external) {
					break // the best or nothing
				}
			}
		}
		got := m.has
		if m.addPath { // path identifiers are the table's to choose: compare how many there are
			got = map[string]string{}
			for k := range m.has {
				name, _, _ := strings.Cut(k, "#")
				got[name] += "+"
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has\n%v, not\n%v", m.name, got, want)
		}
	}
	for _, m := range all {
		m.in.Drop(wire.RTConstrain)
	}
	for i := range 6 {
		tab.WithdrawMembership(interest(i), 0)
	}
	readAll(all)
	for _, m := range all {
		if len(m.has) > 0 {
			t.Errorf("%s still has %v", m.name, m.has)
		}
		m.out.Close()
		m.in.Close()
	}
	if s := tab.Stats(); s.Prefixes != [4]int{} || s.Paths != 0 || s.Attrs != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// oracle returns how a path goes out to m, false if it does not. A peer does not get its own back, unless it
// is a client.
func (m *member) oracle(from *member, p *Path) (string, bool) {
	switch {
	case p.Moved:
		return "", false
	case from == m && !m.client && m.addPath:
		return "", false
	case from != nil && !from.external && !m.external && !from.client && !m.client:
		return "", false
	}
	a := describe(p.Attrs.Attrs, wire.NextHop{})
	pref := "pref 100"
	if strings.Contains(a, "pref 200") {
		pref = "pref 200"
	}
	nh, reflection := "10.0.0.99", ""
	if from != nil && !from.external && !m.external {
		reflection = ", originator 10.0.0.99, clusters 10.0.0.99"
		if !m.client {
			nh = from.in.addr.String()
			reflection = fmt.Sprintf(", originator %v, clusters 10.0.0.99", from.in.addr)
		}
	} else if from != nil && from.external && !m.external && !m.client {
		nh = from.in.addr.String()
	}
	path := ""
	switch {
	case m.external && from != nil && from.external:
		path = "path 65000 65001"
	case m.external:
		path = "path 65000"
	case from != nil && from.external:
		path = "path 65001"
	}
	parts := []string{"via " + nh}
	if path != "" {
		parts = append(parts, path)
	}
	if !m.external {
		parts = append(parts, pref)
	}
	return strings.Join(parts, ", ") + reflection, true
}
