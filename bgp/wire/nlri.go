package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
)

// NLRI is one prefix in an UPDATE, with its path identifier where ADD-PATH is
// negotiated (RFC 7911, Section 3), else 0. It is comparable.
type NLRI struct {
	Prefix netip.Prefix // always masked
	PathID uint32       // 0 without ADD-PATH
}

// String returns the prefix, followed by "#id" if there is a path identifier.
func (n NLRI) String() string {
	if n.PathID == 0 {
		return n.Prefix.String()
	}
	return fmt.Sprintf("%v#%d", n.Prefix, n.PathID)
}

// NextHop is where routes lead to: an IPv4 address, or an IPv6 address with an
// optional link-local one beside it (RFC 2545, Section 3). It is comparable; the
// zero value is no next hop.
type NextHop struct {
	Addr      netip.Addr // IPv4, or IPv6 of global scope
	LinkLocal netip.Addr // the zero Addr if there is none
}

// List is a run of encoded NLRI of one family. The zero value is empty. It aliases
// the message it came from.
type List struct {
	Family  Family // of all NLRI in Raw
	AddPath bool   // path identifiers are present
	Raw     []byte // well-formed if the List comes from Update.Parse
	noMAC   bool   // the UPDATE has no Router's MAC community: see ErrEVPNLabel
}

// Empty reports whether l has no NLRI.
func (l List) Empty() bool { return len(l.Raw) == 0 }

// ErrNotUnicast comes with an NLRI that is well-formed but names no unicast
// destination: multicast, loopback, IPv6 link-local, IPv4-mapped. It is to be logged and ignored
// (RFC 4271, Section 6.3).
var ErrNotUnicast = &Error{Disposition: AttributeDiscard, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 4271, Section 6.3", Text: "prefix is not unicast: ignored"}

var errNLRI = &Error{Disposition: SessionReset, Code: CodeUpdate, Subcode: SubNetwork, Message: TypeUpdate,
	RFC: "RFC 7606, Section 5.3", Text: "malformed NLRI"}

// All iterates over the NLRI of l. An NLRI is paired with [ErrNotUnicast] if it is
// to be ignored. A List that Update.Parse has not checked may end with another
// [*Error] beside the zero NLRI, where it is malformed. A range over it allocates nothing
// in a function; in a function literal Go 1.26 may move the loop's body to the heap. It yields
// nothing of a family whose NLRI are no prefixes: see [List.EVPN] and [List.Memberships].
func (l List) All() iter.Seq2[NLRI, error] {
	return func(yield func(NLRI, error) bool) { // small: it is inlined into its caller, and nothing escapes
		if l.Family == IPv4Unicast {
			each4(l.Raw, l.AddPath, yield)
		} else if l.Family == IPv6Unicast {
			each6(l.Raw, l.AddPath, yield)
		}
	}
}

// wellFormed reports whether every NLRI of l has a length that its family allows
// and ends where l ends (RFC 7606, Section 5.3).
func (l List) wellFormed() bool {
	// Path Identifier (4) with ADD-PATH, Length in bits (1), Prefix: as many octets as hold
	// that many bits (RFC 4271, Section 4.3; RFC 7911, Section 3).
	switch l.Family {
	case L2VPNEVPN:
		return wellFormedEVPN(l.Raw, l.AddPath)
	case RTConstrain:
		return wellFormedMemberships(l.Raw, l.AddPath)
	}
	b, most, skip := l.Raw, byte(l.Family.bits()), 0
	if l.AddPath {
		skip = 4
	}
	i := 0
	for i+skip < len(b) {
		n := b[i+skip]
		if n > most {
			return false
		}
		step := skip + 1 + int(n+7)>>3
		// Neighbours mostly have the same length: a branch that predicts it is faster
		// than an address that waits for the octet before.
		for i += step; i+skip < len(b) && b[i+skip] == n; i += step {
		}
	}
	return i == len(b)
}

// AppendNLRI appends n as it stands in an UPDATE, with the path identifier if
// addPath is set.
func AppendNLRI(b []byte, n NLRI, addPath bool) []byte {
	if addPath {
		b = binary.BigEndian.AppendUint32(b, n.PathID)
	}
	bits := n.Prefix.Bits()
	b = append(b, byte(bits))
	if n.Prefix.Addr().Is4() {
		a := n.Prefix.Addr().As4()
		return append(b, a[:(bits+7)>>3]...)
	}
	a := n.Prefix.Addr().As16()
	return append(b, a[:(bits+7)>>3]...)
}
