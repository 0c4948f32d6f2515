package evpn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// RD is a route distinguisher (RFC 4364, Section 4.2): Type (2), Administrator and Assigned Number
// (6 together). It is comparable; its octets are those on the wire.
type RD [8]byte

// NewRD returns the distinguisher of type 1 that RFC 7432, Section 7.9, recommends: an IPv4 address
// of the router, and a number that is unique on it. The zero RD if addr is not IPv4.
func NewRD(addr netip.Addr, number uint16) (rd RD) {
	if !addr.Is4() {
		return RD{}
	}
	a := addr.As4()
	rd[1] = 1
	copy(rd[2:], a[:])
	binary.BigEndian.PutUint16(rd[6:], number)
	return rd
}

// ParseRD reads "192.0.2.1:5" (type 1), "65000:100" (type 0, or 2 for an AS number over 65535).
func ParseRD(s string) (rd RD, err error) {
	admin, number, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(number, 10, 32)
	if a, aerr := netip.ParseAddr(admin); aerr == nil && a.Is4() && err == nil && n <= 0xffff {
		return NewRD(a, uint16(n)), nil
	}
	as, aerr := strconv.ParseUint(admin, 10, 32)
	switch {
	case err != nil || aerr != nil || as > 0xffff && n > 0xffff:
		return RD{}, fmt.Errorf("evpn: route distinguisher %q is neither ADDRESS:NUMBER nor AS:NUMBER", s)
	case as > 0xffff:
		rd[1] = 2
		binary.BigEndian.PutUint32(rd[2:], uint32(as))
		binary.BigEndian.PutUint16(rd[6:], uint16(n))
	default:
		binary.BigEndian.PutUint16(rd[2:], uint16(as))
		binary.BigEndian.PutUint32(rd[4:], uint32(n))
	}
	return rd, nil
}

// String returns what [ParseRD] reads, and hexadecimal digits of other types.
func (rd RD) String() string {
	switch binary.BigEndian.Uint16(rd[:]) {
	case 0:
		return fmt.Sprintf("%d:%d", binary.BigEndian.Uint16(rd[2:]), binary.BigEndian.Uint32(rd[4:]))
	case 1:
		return fmt.Sprintf("%v:%d", netip.AddrFrom4([4]byte(rd[2:6])), binary.BigEndian.Uint16(rd[6:]))
	case 2:
		return fmt.Sprintf("%d:%d", binary.BigEndian.Uint32(rd[2:]), binary.BigEndian.Uint16(rd[6:]))
	}
	return fmt.Sprintf("0x%x", rd[:])
}

// ESI is an Ethernet Segment Identifier (RFC 7432, Section 5): Type (1), value (9). The zero value
// is a site with a single home. It is comparable.
type ESI [10]byte

// String returns "03:00:11:22:33:44:55:00:00:01".
func (e ESI) String() string { return colons(e[:]) }

// MAC is an Ethernet address. It is comparable.
type MAC [6]byte

// String returns "52:54:00:00:00:01".
func (m MAC) String() string { return colons(m[:]) }

func colons(b []byte) string {
	var s strings.Builder
	for i, x := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		fmt.Fprintf(&s, "%02x", x)
	}
	return s.String()
}

// Label is the 24 bits of an MPLS label field. With VXLAN it is the VNI itself (RFC 8365, Section
// 5.1.3); with MPLS the label is in the high 20 bits.
type Label uint32

// VNI returns the VXLAN network identifier.
func (l Label) VNI() uint32 { return uint32(l) }

// MPLS returns the MPLS label.
func (l Label) MPLS() uint32 { return uint32(l >> 4) }

func labelOf(b []byte) Label { return Label(b[0])<<16 | Label(b[1])<<8 | Label(b[2]) }

func (l Label) append(b []byte) []byte { return append(b, byte(l>>16), byte(l>>8), byte(l)) }
