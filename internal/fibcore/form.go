package fibcore

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// form is the content of a route in the kernel's terms: facts, and either the
// id of a next-hop object or next hops. Forms are interned and never change, so that
// two routes are equal when their form pointers are.
type form struct {
	wire.Facts
	nhid     uint32
	nextHops []wire.NextHop // sorted; nil with nhid
	alien    bool           // has attributes that this package never writes: equal to nothing desired
	key      string
	refs     int          // entries that have it
	group    *kernelGroup // of nhid, if that is in our range
}

// want is the desired content of a route: facts and next hops as the caller gave
// them. Wants are interned like forms.
type want struct {
	wire.Facts
	nextHops  []wire.NextHop // sorted, without duplicates
	buckets   uint16
	multipath bool
	key       string
	refs      int // entries that want it

	form      *form  // what to write now; nil: held back
	group     *group // that form uses, if any
	linksDown bool   // form is nil because all links are down
	changed   bool   // form is new, and the entries are not queued yet
}

// appendKey makes the interning key.
func appendKey(b []byte, f *wire.Facts, nhid uint32, nextHops []wire.NextHop, flags byte) []byte {
	b = append(b, byte(f.Family), byte(f.Type), f.Protocol, f.Scope, flags)
	b = binary.NativeEndian.AppendUint32(b, f.MTU)
	b = binary.NativeEndian.AppendUint32(b, f.AdvMSS)
	b = binary.NativeEndian.AppendUint32(b, nhid)
	b = appendAddr(b, f.PrefSrc)
	return appendNextHops(b, nextHops)
}

func appendNextHops(b []byte, nextHops []wire.NextHop) []byte {
	for _, l := range nextHops {
		b = appendAddr(b, l.Gateway)
		b = binary.NativeEndian.AppendUint32(b, uint32(l.IfIndex))
		b = binary.NativeEndian.AppendUint16(b, l.Weight)
		if l.OnLink {
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
	wants     map[string]*want
	multipath int // wants of RTA_MULTIPATH
	forms     map[string]*form
	scratch   []byte
	groupOf   func(id uint32) *kernelGroup // nil for ids out of our range
}

// form returns the one form of that content. The next hops must be sorted; they are
// copied when kept.
func (in *intern) form(f *wire.Facts, nhid uint32, nextHops []wire.NextHop, alien bool) *form {
	flags := byte(0)
	if alien {
		flags = 1
	}
	in.scratch = appendKey(in.scratch[:0], f, nhid, nextHops, flags)
	if g := in.forms[string(in.scratch)]; g != nil {
		return g
	}
	g := &form{Facts: *f, nhid: nhid, nextHops: slices.Clone(nextHops), alien: alien, key: string(in.scratch)}
	if nhid != 0 && in.groupOf != nil {
		g.group = in.groupOf(nhid)
	}
	in.forms[g.key] = g
	return g
}

// want returns the one want of that content, which may be new (form nil and
// refs 0).
func (in *intern) want(f *wire.Facts, nextHops []wire.NextHop, buckets uint16, multipath bool) *want {
	flags := byte(0)
	if multipath {
		flags = 1
	}
	in.scratch = appendKey(in.scratch[:0], f, uint32(buckets), nextHops, flags)
	if w := in.wants[string(in.scratch)]; w != nil {
		return w
	}
	w := &want{Facts: *f, nextHops: slices.Clone(nextHops), buckets: buckets, multipath: multipath, key: string(in.scratch)}
	in.wants[w.key] = w
	if multipath {
		in.multipath++
	}
	return w
}

// needsDump is the form of a route that was ours a moment ago and may now be gone,
// or not as it was.
var needsDump = &form{}
