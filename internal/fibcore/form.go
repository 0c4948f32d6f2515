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

// shownBy reports whether a message of the kernel shows a form: formSeen would return it.
func (f *form) shownBy(m *wire.RouteMessage) bool {
	return f.nhid == m.NextHopID && f.Facts == m.Facts && f.alien == m.Unknown && (f.nhid != 0 || slices.Equal(f.nextHops, m.NextHops))
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
	// entries are those, unless there have been too many: everything is gone through then.
	entries []uint32
	many    bool

	form      *form  // what to write now; nil: held back
	group     *group // that form uses, if any
	linksDown bool   // form is nil because all links are down
	changed   bool   // form is new, and the entries are not queued yet
}

// mostListed is of how many entries a want knows which they are: four octets each, and not worth it
// where nearly everything has to be gone through anyway.
const mostListed = 256

// enter and leave note that an entry has the want, and has it no more.
func (w *want) enter(i uint32) {
	w.refs++
	if w.many = w.many || len(w.entries) == mostListed; w.many {
		w.entries = nil
		return
	}
	w.entries = append(w.entries, i)
}

func (w *want) leave(i uint32) {
	w.refs--
	if at := slices.Index(w.entries, i); at >= 0 {
		last := len(w.entries) - 1
		w.entries[at] = w.entries[last]
		w.entries = w.entries[:last]
	}
	w.many = w.many && w.refs > 0
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
	formsOf   sets[uint32, *form] // by their nhid, but for 0
	gateways  map[gatewayKey]int  // of wants with several next hops: how often they have each
	changed   bool                // the keys of gateways have
	sorted    []gatewayKey        // the keys of gateways; nil: to be made anew
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
	if nhid != 0 {
		in.formsOf.add(nhid, g)
	}
	return g
}

// forget removes a form.
func (in *intern) forget(f *form) {
	delete(in.forms, f.key)
	if f.nhid != 0 {
		in.formsOf.remove(f.nhid, f)
	}
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
	in.count(w, 1)
	return w
}

// drop forgets a want.
func (in *intern) drop(w *want) {
	if in.wants[w.key] == w {
		delete(in.wants, w.key)
		in.count(w, -1)
	}
}

// count counts what a want has that wants are counted by.
func (in *intern) count(w *want, n int) {
	if w.multipath {
		in.multipath += n
	}
	if len(w.nextHops) < 2 {
		return
	}
	for i := range w.nextHops {
		k := gatewayOf(&w.nextHops[i])
		if !k.Gateway.IsValid() {
			continue
		}
		before := in.gateways[k]
		if in.gateways[k] = before + n; before+n == 0 {
			delete(in.gateways, k)
		}
		if before == 0 || before+n == 0 {
			in.changed, in.sorted = true, nil
		}
	}
}

// needsDump is the form of a route that was ours a moment ago and may now be gone,
// or not as it was.
var needsDump = &form{}
