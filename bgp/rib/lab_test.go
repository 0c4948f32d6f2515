package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// via is a next hop.
func via(s string) wire.NextHop { return wire.NextHop{Addr: ip(s)} }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// messageOf encodes an UPDATE and parses it again, as a session would.
func messageOf(tb testing.TB, addPath, ibgp bool, build func(b *wire.Builder) []byte) *wire.Update {
	tb.Helper()
	all := wire.Families(families[:]...)
	b := wire.Builder{AS4: true, Max: 65535}
	opt := wire.Options{AS4: true, IBGP: ibgp, ExtendedNextHop: true}
	if addPath {
		b.AddPath, opt.AddPath = all, all
	}
	var u wire.Update
	if err := u.Parse(build(&b)[wire.HeaderLen:], opt); err != nil {
		tb.Fatal(err)
	}
	return &u
}

// reachOf is an UPDATE that announces.
func familyNo(p netip.Prefix) wire.Family {
	if p.Addr().Is4() {
		return wire.IPv4Unicast
	}
	return wire.IPv6Unicast
}

func reachOf(tb testing.TB, ibgp bool, a wire.PathAttrs, nh wire.NextHop, nlri ...wire.NLRI) *wire.Update {
	return messageOf(tb, true, ibgp, func(b *wire.Builder) []byte {
		b.Reach(nil, familyNo(nlri[0].Prefix), a.Append(nil), nh)
		for _, n := range nlri {
			b.Add(n)
		}
		return b.Finish()
	})
}

// unreachOf is an UPDATE that withdraws.
func unreachOf(tb testing.TB, nlri ...wire.NLRI) *wire.Update {
	return messageOf(tb, true, true, func(b *wire.Builder) []byte {
		b.Unreach(nil, familyNo(nlri[0].Prefix))
		for _, n := range nlri {
			b.Add(n)
		}
		return b.Finish()
	})
}

// sink is the far end of an Out: it parses what is sent and keeps an Adj-RIB-In.
type sink struct {
	tb      testing.TB
	out     *Out
	addPath wire.FamilySet
	buf     []byte
	routes  map[wire.NLRI]string
	eor     map[wire.Family]int
	updates int
	err     error
	two     bool     // two-octet AS numbers
	strict  bool     // complain about withdrawals of what is not there
	trace   []string // what came, in words
}

func newSink(tb testing.TB, out *Out, addPath wire.FamilySet, room int) *sink {
	return &sink{tb: tb, out: out, addPath: addPath, buf: make([]byte, room),
		routes: map[wire.NLRI]string{}, eor: map[wire.Family]int{}}
}

// fill reads once and reports whether there was something.
func (s *sink) fill() bool {
	n := s.out.Fill(s.buf)
	for b := s.buf[:n]; len(b) > 0 && s.err == nil; {
		size := int(b[16])<<8 | int(b[17])
		s.message(b[:size])
		b = b[size:]
	}
	return n > 0
}

func (s *sink) drain() {
	for s.fill() {
	}
	if s.err != nil {
		s.tb.Error(s.err)
	}
}

func (s *sink) message(b []byte) {
	s.updates++
	if wire.MessageType(b[18]) == wire.TypeRouteRefresh {
		r, err := wire.ParseRouteRefresh(b[wire.HeaderLen:])
		if err != nil {
			s.err = err
		}
		s.note("%s %v", map[uint8]string{wire.RefreshBegin: "BoRR", wire.RefreshEnd: "EoRR"}[r.Subtype], r.Family)
		return
	}
	var u wire.Update
	if err := u.Parse(b[wire.HeaderLen:], wire.Options{AS4: !s.two, IBGP: true, AddPath: s.addPath, ExtendedNextHop: true}); err != nil {
		s.err = fmt.Errorf("%w: % x", err, b)
		return
	}
	if fam, ok := u.EndOfRIB(); ok {
		s.eor[fam]++
		s.note("End-of-RIB %v", fam)
		return
	}
	s.unreach(&u)
	s.reach(&u)
}

func (s *sink) unreach(u *wire.Update) {
	var names []string
	for _, fam := range families {
		for n := range u.Unreach(fam) {
			if _, ok := s.routes[n]; !ok && s.strict {
				s.err = fmt.Errorf("withdrawal of %v, which was never announced", n)
			}
			delete(s.routes, n)
			names = append(names, n.String())
		}
	}
	if len(names) > 0 {
		s.note("withdraw %s", strings.Join(names, " "))
	}
}

func (s *sink) reach(u *wire.Update) {
	var names []string
	text := describe(u.AppendAttrs(nil), nextHopOf(u))
	for _, fam := range families {
		for n := range u.Reach(fam) {
			s.routes[n] = text
			names = append(names, n.String())
		}
	}
	if len(names) > 0 {
		s.note("announce %s: %s", strings.Join(names, " "), text)
	}
}

func nextHopOf(u *wire.Update) wire.NextHop {
	if u.MPReach.Empty() {
		return u.NextHop
	}
	return u.MPNextHop
}

func (s *sink) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

// describe writes attributes in words.
func describe(a wire.Attrs, nh wire.NextHop) string {
	var f []string
	if nh.Addr.IsValid() {
		f = append(f, "via "+nh.Addr.String())
	}
	if nh.LinkLocal.IsValid() {
		f = append(f, "link-local "+nh.LinkLocal.String())
	}
	if o := a.Origin(); o != wire.OriginIGP {
		f = append(f, "origin "+o.String())
	}
	if p := a.ASPath(); len(p) > 0 {
		f = append(f, "path "+p.String())
	}
	if v, ok := a.MED(); ok {
		f = append(f, fmt.Sprintf("med %d", v))
	}
	if v, ok := a.LocalPref(); ok {
		f = append(f, fmt.Sprintf("pref %d", v))
	}
	if as, ok := a.OnlyToCustomer(); ok {
		f = append(f, fmt.Sprintf("otc %d", as))
	}
	for c := range a.Communities().All() {
		f = append(f, "community "+c.String())
	}
	if id, ok := a.OriginatorID(); ok {
		f = append(f, "originator "+id.String())
	}
	if l := a.ClusterList(); l.Len() > 0 {
		var ids []string
		for i := range l.Len() {
			ids = append(ids, l.At(i).String())
		}
		f = append(f, "clusters "+strings.Join(ids, ","))
	}
	for c := range a.LargeCommunities().All() {
		f = append(f, "large "+c.String())
	}
	for c := range a.ExtCommunities().All() {
		f = append(f, "ext "+c.String())
	}
	return strings.Join(f, ", ")
}

// sorted returns the keys of a map of routes in order.
func sortedNLRI(m map[wire.NLRI]string) []wire.NLRI {
	var list []wire.NLRI
	for n := range m {
		list = append(list, n)
	}
	slices.SortFunc(list, cmpNLRI)
	return list
}
