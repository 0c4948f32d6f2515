package wire

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
)

// Community is a standard community: AS number and value, 16 bits each (RFC 1997, whose sections
// have no numbers: "COMMUNITIES attribute").
type Community uint32

// Well-known communities.
const (
	CommunityGracefulShutdown  Community = 0xFFFF0000 // RFC 8326, Section 5
	CommunityLLGRStale         Community = 0xFFFF0006 // RFC 9494, Section 3.2
	CommunityNoLLGR            Community = 0xFFFF0007 // RFC 9494, Section 3.3
	CommunityBlackhole         Community = 0xFFFF029A // RFC 7999, Section 2
	CommunityNoExport          Community = 0xFFFFFF01 // RFC 1997, "Well-known Communities"
	CommunityNoAdvertise       Community = 0xFFFFFF02 // RFC 1997, "Well-known Communities"
	CommunityNoExportSubconfed Community = 0xFFFFFF03 // RFC 1997, "Well-known Communities"
)

// NewCommunity returns as:value.
func NewCommunity(as, value uint16) Community { return Community(as)<<16 | Community(value) }

// ParseCommunity reads "65000:90".
func ParseCommunity(s string) (Community, error) {
	as, value, ok := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(as, 10, 16)
	v, err2 := strconv.ParseUint(value, 10, 16)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("community %q is not AS:VALUE of 16 bits each", s)
	}
	return NewCommunity(uint16(a), uint16(v)), nil
}

// String returns "65000:90".
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, c&0xffff) }

// Communities is the value of a COMMUNITIES attribute: AS number (2), value (2); repeated.
type Communities []byte

// All iterates over c.
func (c Communities) All() iter.Seq[Community] {
	return func(yield func(Community) bool) {
		for b := c; len(b) >= 4 && yield(Community(binary.BigEndian.Uint32(b))); b = b[4:] {
		}
	}
}

// Contains reports whether x is in c.
func (c Communities) Contains(x Community) bool {
	for b := c; len(b) >= 4; b = b[4:] {
		if Community(binary.BigEndian.Uint32(b)) == x {
			return true
		}
	}
	return false
}

// ExtCommunity is an extended community (RFC 4360, Section 2): type in the high octets.
type ExtCommunity uint64

// LinkBandwidth makes the link bandwidth community of a number of octets per second
// (draft-ietf-idr-link-bandwidth): type 0x40, which is not transitive, or 0x00, sub-type 4, an AS
// number of two octets, and an IEEE 754 number of four. An AS number that is longer is 23456
// (RFC 6793, Section 9).
func LinkBandwidth(as uint32, octets float32) ExtCommunity {
	if as > 0xffff {
		as = 23456
	}
	return 0x4004<<48 | ExtCommunity(as)<<32 | ExtCommunity(math.Float32bits(octets))
}

// LinkBandwidth returns the octets per second that a link bandwidth community says, of either
// type. ok is false for other communities, and for what is no positive finite number.
func (c ExtCommunity) LinkBandwidth() (octets float32, ok bool) {
	if !c.IsLinkBandwidth() {
		return 0, false
	}
	octets = math.Float32frombits(uint32(c))
	if !(octets > 0) || math.IsInf(float64(octets), 0) {
		return 0, false
	}
	return octets, true
}

// IsLinkBandwidth reports whether c is a link bandwidth community, whatever number it has.
func (c ExtCommunity) IsLinkBandwidth() bool { return c>>48 == 0x4004 || c>>48 == 0x0004 }

// Transitive reports whether the community goes on to other ASes (RFC 4360, Section 2: the T bit is
// 0 then).
func (c ExtCommunity) Transitive() bool { return c>>62&1 == 0 }

// String returns "rt:AS:VALUE" or "soo:AS:VALUE" for route targets and origins,
// "bandwidth:AS:OCTETS" for a link bandwidth in octets per second, else the number in hexadecimal.
func (c ExtCommunity) String() string {
	if octets, ok := c.LinkBandwidth(); ok {
		return fmt.Sprintf("bandwidth:%d:%.0f", c>>32&0xffff, octets)
	}
	name := ""
	switch c >> 48 & 0xff {
	case 2:
		name = "rt"
	case 3:
		name = "soo"
	}
	switch t := c >> 56; {
	case name != "" && t == 0: // 2-octet AS
		return fmt.Sprintf("%s:%d:%d", name, c>>32&0xffff, c&0xffffffff)
	case name != "" && t == 1: // IPv4 address
		return fmt.Sprintf("%s:%d.%d.%d.%d:%d", name, c>>40&0xff, c>>32&0xff, c>>24&0xff, c>>16&0xff, c&0xffff)
	case name != "" && t == 2: // 4-octet AS
		return fmt.Sprintf("%s:%d:%d", name, c>>16&0xffffffff, c&0xffff)
	}
	return fmt.Sprintf("0x%016x", uint64(c))
}

// ExtCommunities is the value of an EXTENDED COMMUNITIES attribute: Type (1), Sub-Type (1) or
// value, Value (6); repeated (RFC 4360, Section 2).
type ExtCommunities []byte

// All iterates over c.
func (c ExtCommunities) All() iter.Seq[ExtCommunity] {
	return func(yield func(ExtCommunity) bool) {
		for b := c; len(b) >= 8 && yield(ExtCommunity(binary.BigEndian.Uint64(b))); b = b[8:] {
		}
	}
}

// Contains reports whether x is in c.
func (c ExtCommunities) Contains(x ExtCommunity) bool {
	for y := range c.All() {
		if x == y {
			return true
		}
	}
	return false
}

// LargeCommunity is a large community (RFC 8092, Section 3).
type LargeCommunity struct {
	Global uint32 // Global Administrator: an AS number
	Local1 uint32 // Local Data Part 1
	Local2 uint32 // Local Data Part 2
}

// String returns "65000:1:2".
func (c LargeCommunity) String() string {
	return fmt.Sprintf("%d:%d:%d", c.Global, c.Local1, c.Local2)
}

// ParseLargeCommunity reads "65000:1:2".
func ParseLargeCommunity(s string) (LargeCommunity, error) {
	part := strings.Split(s, ":")
	var v [3]uint32
	for i := range v {
		n, err := strconv.ParseUint(part[min(i, len(part)-1)], 10, 32)
		if len(part) != 3 || err != nil {
			return LargeCommunity{}, fmt.Errorf("large community %q is not GLOBAL:LOCAL:LOCAL of 32 bits each", s)
		}
		v[i] = uint32(n)
	}
	return LargeCommunity{v[0], v[1], v[2]}, nil
}

// LargeCommunities is the value of a LARGE_COMMUNITY attribute: Global Administrator (4), Local
// Data Part 1 (4), Local Data Part 2 (4); repeated (RFC 8092, Section 3).
type LargeCommunities []byte

// All iterates over c.
func (c LargeCommunities) All() iter.Seq[LargeCommunity] {
	return func(yield func(LargeCommunity) bool) {
		u := binary.BigEndian.Uint32
		for b := c; len(b) >= 12 && yield(LargeCommunity{u(b), u(b[4:]), u(b[8:])}); b = b[12:] {
		}
	}
}

// Contains reports whether x is in c.
func (c LargeCommunities) Contains(x LargeCommunity) bool {
	for y := range c.All() {
		if x == y {
			return true
		}
	}
	return false
}

// repeats reports whether some community is in c more than once. Beyond a few it may say so
// of a list in which none is: to find out is distinct's work.
func (c LargeCommunities) repeats() bool {
	const size, few = 12, 16
	for i := size; i < len(c) && len(c) <= few*size; i += size {
		for j := 0; j < i; j += size {
			if string(c[i:i+size]) == string(c[j:j+size]) {
				return true
			}
		}
	}
	return len(c) > few*size
}

// distinct returns c without what is in it already: "A receiving speaker MUST silently remove
// redundant BGP Large Community values" (RFC 8092, Section 3), and none may be sent.
func (c LargeCommunities) distinct() LargeCommunities {
	if !c.repeats() {
		return c
	}
	seen := make(map[LargeCommunity]bool, len(c)/12)
	kept := make(LargeCommunities, 0, len(c))
	rest := c
	for x := range c.All() {
		if !seen[x] {
			seen[x] = true
			kept = append(kept, rest[:12]...)
		}
		rest = rest[12:]
	}
	return kept
}
