package wire

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Attrs is a set of path attributes in canonical form: encoded one after another, in
// ascending order of type, each at most once, 4-octet AS numbers, no NEXT_HOP,
// MP_REACH_NLRI, MP_UNREACH_NLRI, AS4_PATH or AS4_AGGREGATOR. Equal octets are equal
// attributes. It comes from [Update.AppendAttrs], [PathAttrs.Append] or
// [Attrs.AppendEdited]; one that is made otherwise must have this form. Getters alias
// it and read it from the front: keep what is asked for often.
type Attrs []byte

// All iterates over the attributes of a.
func (a Attrs) All() iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for b := []byte(a); ; {
			x, rest, ok := cutAttr(b)
			if !ok || !yield(x) {
				return
			}
			b = rest
		}
	}
}

// Get returns the value of the attribute of type t.
func (a Attrs) Get(t AttrType) (value []byte, ok bool) {
	for b := []byte(a); len(b) >= 3 && AttrType(b[1]) <= t; {
		x, rest, ok := cutAttr(b)
		if !ok {
			break
		}
		if x.Type == t {
			return x.Value, true
		}
		b = rest
	}
	return nil, false
}

func (a Attrs) uint32(t AttrType) (uint32, bool) {
	v, _ := a.Get(t)
	if len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// Origin is the value of an ORIGIN attribute; lower is better.
type Origin uint8

// Origins (RFC 4271, Section 4.3).
const (
	OriginIGP        Origin = 0
	OriginEGP        Origin = 1
	OriginIncomplete Origin = 2
)

// String returns "IGP", "EGP" or "incomplete".
func (o Origin) String() string {
	return enum.String("Origin", []string{"IGP", "EGP", "incomplete"}, o)
}

// Origin returns ORIGIN, OriginIncomplete if it is missing.
func (a Attrs) Origin() Origin {
	if v, _ := a.Get(AttrOrigin); len(v) == 1 {
		return Origin(v[0])
	}
	return OriginIncomplete
}

// ASPath returns AS_PATH.
func (a Attrs) ASPath() ASPath {
	v, _ := a.Get(AttrASPath)
	return v
}

// MED returns MULTI_EXIT_DISC.
func (a Attrs) MED() (uint32, bool) { return a.uint32(AttrMED) }

// LocalPref returns LOCAL_PREF.
func (a Attrs) LocalPref() (uint32, bool) { return a.uint32(AttrLocalPref) }

// OriginatorID returns ORIGINATOR_ID (RFC 4456, Section 8).
func (a Attrs) OriginatorID() (netip.Addr, bool) {
	v, _ := a.Get(AttrOriginatorID)
	if len(v) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(v)), true
}

// ClusterList returns CLUSTER_LIST (RFC 4456, Section 8).
func (a Attrs) ClusterList() ClusterList {
	v, _ := a.Get(AttrClusterList)
	return v
}

// Communities returns COMMUNITIES (RFC 1997, "COMMUNITIES attribute").
func (a Attrs) Communities() Communities {
	v, _ := a.Get(AttrCommunities)
	return v
}

// ExtCommunities returns EXTENDED COMMUNITIES (RFC 4360, Section 2).
func (a Attrs) ExtCommunities() ExtCommunities {
	v, _ := a.Get(AttrExtCommunities)
	return v
}

// LargeCommunities returns LARGE_COMMUNITY (RFC 8092, Section 3).
func (a Attrs) LargeCommunities() LargeCommunities {
	v, _ := a.Get(AttrLargeCommunities)
	return v
}

// ClusterList is the value of a CLUSTER_LIST attribute: cluster ids (4 each), the nearest reflector
// first (RFC 4456, Section 8).
type ClusterList []byte

// Len is the number of cluster ids.
func (c ClusterList) Len() int { return len(c) / 4 }

// At returns the i-th cluster id.
func (c ClusterList) At(i int) netip.Addr { return netip.AddrFrom4([4]byte(c[4*i : 4*i+4])) }

// Contains reports whether id, an IPv4 address, is in c.
func (c ClusterList) Contains(id netip.Addr) bool {
	for i := range c.Len() {
		if c.At(i) == id {
			return true
		}
	}
	return false
}

// Edit is a change of one attribute.
type Edit struct {
	Attr        // the new value; of Delete the type alone
	Delete bool // remove it; Flags and Value are ignored
}

// AppendEdited appends to b a copy of a in which every attribute named by edits is
// replaced, added or deleted. The edits are in ascending order of type, each type
// once; b does not overlap a.
func (a Attrs) AppendEdited(b []byte, edits ...Edit) Attrs {
	rest := []byte(a)
	for _, e := range edits {
		keep := rest
		for len(rest) >= 3 && AttrType(rest[1]) < e.Type {
			_, next, ok := cutAttr(rest)
			if !ok {
				break
			}
			rest = next
		}
		b = append(b, keep[:len(keep)-len(rest)]...)
		if len(rest) >= 3 && AttrType(rest[1]) == e.Type {
			_, rest, _ = cutAttr(rest)
		}
		if !e.Delete {
			b = e.Attr.Append(b)
		}
	}
	return append(b, rest...)
}
