package wire

import "fmt"

// Family is an address family and a subsequent address family (RFC 4760, Section 3). It is
// comparable; the zero value is no family.
type Family struct {
	AFI  uint16 // Address Family Identifier
	SAFI uint8  // Subsequent Address Family Identifier
}

// Families that this package decodes.
var (
	IPv4Unicast = Family{AFI: 1, SAFI: 1}
	IPv6Unicast = Family{AFI: 2, SAFI: 1}
	// L2VPNEVPN is EVPN (RFC 7432, Section 20). Its NLRI are no prefixes: see [List.EVPN].
	L2VPNEVPN = Family{AFI: 25, SAFI: 70}
	// RTConstrain is route target constraint (RFC 4684, Section 4): which routes a peer wants of those
	// families whose routes carry route targets. Its NLRI are no prefixes: see [List.Memberships].
	RTConstrain = Family{AFI: 1, SAFI: 132}
)

// String returns "ipv4", "ipv6", "evpn", "rt-constrain", or the numbers.
func (f Family) String() string {
	switch f {
	case IPv4Unicast:
		return "ipv4"
	case IPv6Unicast:
		return "ipv6"
	case L2VPNEVPN:
		return "evpn"
	case RTConstrain:
		return "rt-constrain"
	}
	return fmt.Sprintf("afi %d safi %d", f.AFI, f.SAFI)
}

// bits is the length of an address of f in bits, 0 if the NLRI of f are no prefixes or f is not
// decoded here.
func (f Family) bits() int {
	switch f {
	case IPv4Unicast:
		return 32
	case IPv6Unicast:
		return 128
	}
	return 0
}

// FamilySet is a set of the families that this package decodes. The zero value is
// the empty set; it is comparable.
type FamilySet uint8

// Families returns the set of ff, without those that this package does not decode.
func Families(ff ...Family) FamilySet {
	var s FamilySet
	for _, f := range ff {
		s |= f.bit()
	}
	return s
}

func (f Family) bit() FamilySet {
	if f.SAFI == 1 && (f.AFI == 1 || f.AFI == 2) {
		return FamilySet(f.AFI)
	}
	switch f {
	case L2VPNEVPN:
		return 4
	case RTConstrain:
		return 8
	}
	return 0
}

// Has reports whether f is in s.
func (s FamilySet) Has(f Family) bool { return s&f.bit() != 0 }

// With returns s and f.
func (s FamilySet) With(f Family) FamilySet { return s | f.bit() }

// Without returns s without f.
func (s FamilySet) Without(f Family) FamilySet { return s &^ f.bit() }

// Slice returns the members of s: IPv4, IPv6, EVPN, route target constraint.
func (s FamilySet) Slice() []Family {
	var ff []Family
	for _, f := range [...]Family{IPv4Unicast, IPv6Unicast, L2VPNEVPN, RTConstrain} {
		if s.Has(f) {
			ff = append(ff, f)
		}
	}
	return ff
}
