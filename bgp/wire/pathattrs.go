package wire

import (
	"encoding/binary"
	"net/netip"
)

// PathAttrs is a blueprint of [Attrs], for routes that are originated here. The zero
// value is ORIGIN IGP and an empty AS_PATH.
type PathAttrs struct {
	Origin           Origin           // well-known mandatory
	ASPath           []uint32         // as one sequence
	MED              *uint32          // nil: not sent
	LocalPref        *uint32          // nil: not sent; iBGP needs one (RFC 4271, Section 5.1.5)
	AtomicAggregate  bool             // true: sent
	Communities      []Community      // empty: not sent
	OriginatorID     netip.Addr       // the zero Addr: not sent
	ClusterList      []netip.Addr     // IPv4 addresses
	ExtCommunities   []ExtCommunity   // empty: not sent
	LargeCommunities []LargeCommunity // empty: not sent
	Other            []Attr           // of types over 32, in ascending order
}

// Append appends the attributes to b in canonical form.
func (p *PathAttrs) Append(b []byte) Attrs {
	b = append(b, wellKnown, byte(AttrOrigin), 1, byte(p.Origin))
	b = NewAttr(AttrASPath, AppendSequence(nil, p.ASPath...)).Append(b)
	for _, x := range []struct {
		t AttrType
		v *uint32
	}{{AttrMED, p.MED}, {AttrLocalPref, p.LocalPref}} {
		if x.v != nil {
			b = NewAttr(x.t, binary.BigEndian.AppendUint32(nil, *x.v)).Append(b)
		}
	}
	if p.AtomicAggregate {
		b = NewAttr(AttrAtomicAggregate, nil).Append(b)
	}
	var v []byte
	for _, c := range p.Communities {
		v = binary.BigEndian.AppendUint32(v, uint32(c))
	}
	b = appendNotEmpty(b, AttrCommunities, v)
	if p.OriginatorID.Is4() {
		b = NewAttr(AttrOriginatorID, p.OriginatorID.AsSlice()).Append(b)
	}
	v = nil
	for _, id := range p.ClusterList {
		v = append(v, id.AsSlice()...)
	}
	b = appendNotEmpty(b, AttrClusterList, v)
	v = nil
	for _, c := range p.ExtCommunities {
		v = binary.BigEndian.AppendUint64(v, uint64(c))
	}
	b = appendNotEmpty(b, AttrExtCommunities, v)
	v = nil
	for _, c := range p.LargeCommunities {
		for _, x := range [...]uint32{c.Global, c.Local1, c.Local2} {
			v = binary.BigEndian.AppendUint32(v, x)
		}
	}
	b = appendNotEmpty(b, AttrLargeCommunities, LargeCommunities(v).distinct())
	for _, a := range p.Other {
		b = a.Append(b)
	}
	return b
}

func appendNotEmpty(b []byte, t AttrType, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return NewAttr(t, v).Append(b)
}
