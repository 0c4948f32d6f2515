package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Membership is one route target membership NLRI (RFC 4684, Section 4), with its path identifier where
// ADD-PATH is negotiated, else 0:
//
//	Length (1) in bits, origin AS (4), route target (8): as many octets as hold that many bits
//
// Who announces it wants the routes that carry a route target within it. It is a prefix, so that it may
// stand for many targets; the origin AS is no part of what is compared, and always complete: "Except for
// the default route target, which is encoded as a zero-length prefix, the minimum prefix length is 32
// bits. As the origin-as field cannot be interpreted as a prefix." It is comparable; the zero value is
// the default route target, which wants everything.
type Membership struct {
	OriginAS uint32       // AS of who wants the routes; 0 of the default route target
	Target   ExtCommunity // the first Bits-32 bits of a route target; the others are 0
	Bits     uint8        // prefix length: 0, or 32 to 96
	PathID   uint32       // 0 without ADD-PATH
}

// NewMembership returns the membership for one route target.
func NewMembership(originAS uint32, target ExtCommunity) Membership {
	return Membership{OriginAS: originAS, Target: target, Bits: membershipBits}
}

const (
	originBits     = 32              // of the origin AS
	membershipBits = originBits + 64 // of the longest prefix
)

// Contains reports whether m wants routes that carry a route target.
func (m Membership) Contains(target ExtCommunity) bool {
	return (m.Target^target)&m.mask() == 0
}

// Everything reports whether m wants routes whatever their route targets, and those without one.
func (m Membership) Everything() bool { return m.Bits <= originBits }

// Single reports whether m is for one route target, which is its Target.
func (m Membership) Single() bool { return m.Bits == membershipBits }

// mask has the bits of a route target that m fixes.
func (m Membership) mask() ExtCommunity {
	return ^(^ExtCommunity(0) >> (max(m.Bits, originBits) - originBits))
}

// String returns "65000:0002fde800000064", "65000:0002fde800000000/64" of a prefix that is shorter, or
// "default", followed by "#id" if there is a path identifier.
func (m Membership) String() string {
	s := fmt.Sprintf("%d:%016x", m.OriginAS, uint64(m.Target))
	switch {
	case m.Bits == 0:
		s = "default"
	case m.Bits != membershipBits:
		s += fmt.Sprintf("/%d", m.Bits)
	}
	if m.PathID != 0 {
		s += fmt.Sprintf("#%d", m.PathID)
	}
	return s
}

// Valid reports whether m is what an UPDATE may have: a length that there is, and nothing behind it.
func (m Membership) Valid() bool {
	if m.Bits == 0 {
		return m.OriginAS == 0 && m.Target == 0
	}
	return m.Bits >= originBits && m.Bits <= membershipBits && m.Target&^m.mask() == 0
}

// ErrMembershipLength comes with a membership of 1 to 31 bits, which names no origin AS. It ends where
// it should, so that the others of the UPDATE are good.
var ErrMembershipLength = &Error{Disposition: TreatAsWithdraw, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 4684, Section 4", Text: "route target membership of less than 32 bits"}

// Memberships iterates over the NLRI of l, if its family is RTConstrain. One of a length that there is
// not comes as it is, paired with [ErrMembershipLength]; it is to be treated as a withdraw by itself. A
// List that Update.Parse has not checked may end with another [*Error] beside the zero Membership, where
// it is malformed. It allocates nothing.
func (l List) Memberships() iter.Seq2[Membership, error] {
	return func(yield func(Membership, error) bool) {
		if l.Family == RTConstrain {
			eachMembership(l.Raw, l.AddPath, yield)
		}
	}
}

func eachMembership(b []byte, addPath bool, yield func(Membership, error) bool) {
	for len(b) > 0 {
		octets, id, size := cutMembership(b, addPath)
		if size == 0 {
			yield(Membership{}, errNLRI)
			return
		}
		m := membershipOf(octets)
		m.PathID = id
		if !yield(m, lengthError(m.Bits)) {
			return
		}
		b = b[size:]
	}
}

// lengthError is ErrMembershipLength or nil.
func lengthError(bits uint8) error {
	if bits > 0 && bits < originBits {
		return ErrMembershipLength
	}
	return nil
}

// cutMembership finds the NLRI at the start of b, from its length on, and its path identifier. The size
// is 0 if it is malformed.
func cutMembership(b []byte, addPath bool) (octets []byte, id uint32, size int) {
	if addPath {
		if len(b) < 4 {
			return nil, 0, 0
		}
		id = binary.BigEndian.Uint32(b)
		b, size = b[4:], 4
	}
	if len(b) < 1 || b[0] > membershipBits {
		return nil, 0, 0
	}
	end := 1 + int(b[0]+7)>>3
	if len(b) < end {
		return nil, 0, 0
	}
	return b[:end:end], id, size + end
}

// membershipOf reads an NLRI that cutMembership has found.
func membershipOf(octets []byte) (m Membership) {
	var v [membershipBits / 8]byte
	copy(v[:], octets[1:])
	m.Bits = octets[0]
	m.OriginAS = binary.BigEndian.Uint32(v[:])
	if m.Bits < originBits {
		m.OriginAS &= ^(^uint32(0) >> m.Bits)
	}
	m.Target = ExtCommunity(binary.BigEndian.Uint64(v[4:])) & m.mask()
	return m
}

// wellFormedMemberships reports whether each NLRI ends where it should, and is no longer than there is
// (RFC 7606, Section 5.3).
func wellFormedMemberships(b []byte, addPath bool) bool {
	for len(b) > 0 {
		_, _, size := cutMembership(b, addPath)
		if size == 0 {
			return false
		}
		b = b[size:]
	}
	return true
}

// AppendKey appends what names m among others: the NLRI, without the path identifier, with zeros
// behind the length.
func (m Membership) AppendKey(b []byte) []byte {
	var v [membershipBits / 8]byte
	binary.BigEndian.PutUint32(v[:], m.OriginAS)
	binary.BigEndian.PutUint64(v[4:], uint64(m.Target))
	return append(append(b, m.Bits), v[:(m.Bits+7)>>3]...)
}

// MembershipOfKey is the reverse of [Membership.AppendKey]. It reports false if key is none.
func MembershipOfKey(key []byte) (m Membership, ok bool) {
	octets, _, size := cutMembership(key, false)
	if size == 0 || size != len(key) {
		return Membership{}, false
	}
	return membershipOf(octets), true
}
