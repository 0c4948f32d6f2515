package fib

import (
	"net/netip"
	"slices"
)

// nextHop is a NextHop in canonical form: weight at least 1.
type nextHop struct {
	gateway netip.Addr
	link    int32
	weight  uint16
	onlink  bool
}

func compareNextHops(a, b nextHop) int {
	if c := a.gateway.Compare(b.gateway); c != 0 {
		return c
	}
	switch {
	case a.link != b.link:
		return int(a.link) - int(b.link)
	case a.weight != b.weight:
		return int(a.weight) - int(b.weight)
	case a.onlink == b.onlink:
		return 0
	case a.onlink:
		return 1
	}
	return -1
}

// facts is what a route says beside its key and its next hops. Comparable.
type facts struct {
	family      Family
	typ         RouteType
	proto       uint8
	scope       uint8 // rtm_scope; always 0 in IPv6
	prefSrc     netip.Addr
	mtu, advMSS uint32
}

// form is the content of a route in the kernel's terms: facts, and either the
// id of a next-hop object or next hops. Forms are interned and never change, so that
// two routes are equal when their form pointers are.
type form struct {
	facts
	nhid     uint32
	nextHops []nextHop // sorted; nil with nhid
	alien    bool      // has attributes that this package never writes: equal to nothing desired
	key      string
	refs     int          // entries that have it
	group    *kernelGroup // of nhid, if that is in our range
}

// want is the desired content of a route: facts and next hops as the caller gave
// them. Wants are interned like forms.
type want struct {
	facts
	nextHops []nextHop // sorted, without duplicates
	buckets  uint16
	classic  bool
	key      string
	refs     int // entries that want it

	form    *form  // what to write now; nil: held back
	group   *group // that form uses, if any
	isCut   bool   // form is nil because all links are down
	changed bool   // form is new, and the entries have not been told
}

// appendKey makes the interning key.
func appendKey(b []byte, f *facts, nhid uint32, nextHops []nextHop, flags byte) []byte {
	b = append(b, byte(f.family), byte(f.typ), f.proto, f.scope, flags)
	b = native.AppendUint32(b, f.mtu)
	b = native.AppendUint32(b, f.advMSS)
	b = native.AppendUint32(b, nhid)
	b = appendAddr(b, f.prefSrc)
	return appendNextHops(b, nextHops)
}

func appendNextHops(b []byte, nextHops []nextHop) []byte {
	for _, l := range nextHops {
		b = appendAddr(b, l.gateway)
		b = native.AppendUint32(b, uint32(l.link))
		b = native.AppendUint16(b, l.weight)
		if l.onlink {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return b
}

func appendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return append(append(b, 4), v[:]...)
	case a.IsValid():
		v := a.As16()
		return append(append(b, 16), v[:]...)
	}
	return append(b, 0)
}

// intern holds all wants and forms by content.
type intern struct {
	wants   map[string]*want
	forms   map[string]*form
	scratch []byte
	groupOf func(id uint32) *kernelGroup // nil for ids out of our range
}

// form returns the one form of that content. The next hops must be sorted; they are
// copied when kept.
func (in *intern) form(f *facts, nhid uint32, nextHops []nextHop, alien bool) *form {
	flags := byte(0)
	if alien {
		flags = 1
	}
	in.scratch = appendKey(in.scratch[:0], f, nhid, nextHops, flags)
	if g := in.forms[string(in.scratch)]; g != nil {
		return g
	}
	g := &form{facts: *f, nhid: nhid, nextHops: slices.Clone(nextHops), alien: alien, key: string(in.scratch)}
	if nhid != 0 && in.groupOf != nil {
		g.group = in.groupOf(nhid)
	}
	in.forms[g.key] = g
	return g
}

// want returns the one want of that content, which may be new (form nil and
// refs 0).
func (in *intern) want(f *facts, nextHops []nextHop, buckets uint16, classic bool) *want {
	flags := byte(0)
	if classic {
		flags = 1
	}
	in.scratch = appendKey(in.scratch[:0], f, uint32(buckets), nextHops, flags)
	if w := in.wants[string(in.scratch)]; w != nil {
		return w
	}
	w := &want{facts: *f, nextHops: slices.Clone(nextHops), buckets: buckets, classic: classic, key: string(in.scratch)}
	in.wants[w.key] = w
	return w
}

// needsDump is the form of a route that was ours a moment ago and may now be gone,
// or not as it was.
var needsDump = &form{}
