package ndp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// MAC is a 48-bit Ethernet address: a comparable array of six octets with
// String, MarshalText and UnmarshalText. Its zero value means "none".
type MAC = ether.MAC

// Type is the ICMPv6 type of a Neighbor Discovery message (RFC 4861, Section 4).
type Type uint8

// The five messages.
const (
	TypeRouterSolicitation    Type = 133
	TypeRouterAdvertisement   Type = 134
	TypeNeighborSolicitation  Type = 135
	TypeNeighborAdvertisement Type = 136
	TypeRedirect              Type = 137
)

var typeNames = [...]string{TypeRouterSolicitation: "RS", TypeRouterAdvertisement: "RA",
	TypeNeighborSolicitation: "NS", TypeNeighborAdvertisement: "NA", TypeRedirect: "Redirect"}

// String returns the abbreviation of the message: RS, RA, NS, NA, Redirect.
func (t Type) String() string { return enum.String("Type", typeNames[:], t) }

// Groups every node, and every router, of a link belongs to.
var (
	AllNodes   = netip.MustParseAddr("ff02::1")
	AllRouters = netip.MustParseAddr("ff02::2")
)

// EtherType is IPv6's number in the Ethernet header.
const EtherType = 0x86dd

// headerLen is Ethernet plus IPv6 header.
const headerLen = 14 + 40

// Packet is one Neighbor Discovery message with what its validity depends on.
type Packet struct {
	IfIndex        int        // interface index
	DstMAC, SrcMAC MAC        // of the Ethernet header
	Dst, Src       netip.Addr // of the IPv6 header
	HopLimit       uint8      // 255, or receivers discard the packet; 0 is sent as 255
	Body           []byte     // the ICMPv6 message; received ones alias the Conn's buffer until its next Read
}

// Errors of ParseFrame and Check, plain values: a flood of bad packets costs no
// allocation. Errors of the message parsers wrap ErrMessage.
var (
	ErrShort    = errors.New("ndp: frame too short for its headers")
	ErrNotND    = errors.New("ndp: not an unfragmented ICMPv6 packet")
	ErrHopLimit = errors.New("ndp: hop limit is not 255")
	ErrChecksum = errors.New("ndp: wrong ICMPv6 checksum")
	ErrCode     = errors.New("ndp: ICMPv6 code is not 0")
	ErrAddress  = errors.New("ndp: address not allowed in this message")
	ErrMessage  = errors.New("ndp: malformed message")
)

// ParseFrame reads an Ethernet frame that carries ICMPv6 directly in IPv6. Body
// aliases b and ends where the IPv6 header says. It returns ErrShort or ErrNotND,
// and leaves the message to Check.
func ParseFrame(b []byte) (Packet, error) {
	if len(b) < headerLen {
		return Packet{}, ErrShort
	}
	// Destination (6), source (6), EtherType (2); then the IPv6 header: Version, Traffic Class,
	// Flow Label (4), Payload Length (2), Next Header (1), Hop Limit (1), Source Address (16),
	// Destination Address (16) (RFC 8200, Section 3).
	if binary.BigEndian.Uint16(b[12:]) != EtherType || b[14]>>4 != 6 || b[20] != 58 {
		return Packet{}, ErrNotND
	}
	size := int(binary.BigEndian.Uint16(b[18:]))
	if size > len(b)-headerLen {
		return Packet{}, ErrShort
	}
	return Packet{
		DstMAC:   MAC(b[:6]),
		SrcMAC:   MAC(b[6:12]),
		HopLimit: b[21],
		Src:      netip.AddrFrom16([16]byte(b[22:38])),
		Dst:      netip.AddrFrom16([16]byte(b[38:54])),
		Body:     b[headerLen : headerLen+size : headerLen+size],
	}, nil
}

// AppendBinary appends the Ethernet frame of p to b, with the checksum of Body filled
// in there (Body itself is left alone). Addresses that are not IPv6 are sent as ::. A Body
// of more than 65,535 octets, the limit of IPv6's payload length, is an error.
func (p *Packet) AppendBinary(b []byte) ([]byte, error) {
	if len(p.Body) > 1<<16-1 {
		return b, fmt.Errorf("ndp: body of %d octets; 65535 fit", len(p.Body))
	}
	return p.appendFrame(b), nil
}

func (p *Packet) appendFrame(b []byte) []byte {
	hop := p.HopLimit
	if hop == 0 {
		hop = 255
	}
	src, dst := p.Src.As16(), p.Dst.As16()
	b = append(b, p.DstMAC[:]...)
	b = append(b, p.SrcMAC[:]...)
	b = append(b, EtherType>>8, EtherType&0xff, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Body)))
	b = append(b, 58, hop)
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	at := len(b)
	b = append(b, p.Body...)
	if body := b[at:]; len(body) >= 4 {
		body[2], body[3] = 0, 0
		binary.BigEndian.PutUint16(body[2:], ^checksum(src, dst, body))
	}
	return b
}

// Check makes the validity checks of RFC 4861, Sections 6.1 and 7.1, and Section 8.1,
// on everything but the options: hop limit 255, checksum, code 0, length, and
// which addresses the type allows. It returns the type.
func (p *Packet) Check() (Type, error) {
	// RFC 4861, Sections 6.1, 7.1 and 8.1: "The IP Hop Limit field has a value of 255, i.e.,
	// the packet could not possibly have been forwarded by a router."
	if p.HopLimit != 255 {
		return 0, ErrHopLimit
	}
	if len(p.Body) < 8 {
		return 0, ErrShort
	}
	if checksum(p.Src.As16(), p.Dst.As16(), p.Body) != 0xffff {
		return 0, ErrChecksum
	}
	if p.Body[1] != 0 {
		return 0, ErrCode
	}
	t := Type(p.Body[0])
	if p.Src.IsMulticast() || !p.allowed(t) {
		return t, ErrAddress
	}
	return t, nil
}

// allowed reports whether a message of type t may have the source and the destination of p.
func (p *Packet) allowed(t Type) bool {
	switch t {
	case TypeRouterSolicitation:
		return true
	case TypeRouterAdvertisement, TypeRedirect:
		// RFC 4861, Sections 6.1.2 and 8.1: "IP Source Address is a link-local address."
		return p.Src.IsLinkLocalUnicast()
	case TypeNeighborSolicitation:
		// RFC 4861, Section 7.1.1: "If the IP source address is the unspecified address, the
		// IP destination address is a solicited-node multicast address."
		return !p.Src.IsUnspecified() || isSolicitedNode(p.Dst)
	case TypeNeighborAdvertisement:
		// RFC 4861, Section 7.1.2: "If the IP Destination Address is a multicast address
		// the Solicited flag is zero."
		return !p.Src.IsUnspecified() && (!p.Dst.IsMulticast() || len(p.Body) < 5 || p.Body[4]&flagSolicited == 0)
	}
	return false
}

// SolicitedNode returns the group in which the owner of a listens for
// solicitations (RFC 4291, Section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func isSolicitedNode(a netip.Addr) bool {
	b := a.As16()
	return [13]byte(b[:13]) == [13]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff}
}

// GroupMAC returns the Ethernet address of the IPv6 group a (RFC 2464, Section 7).
func GroupMAC(a netip.Addr) MAC {
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// checksum is the ones' complement sum of pseudo header and message: 0xffff over a
// valid one, the complement of the field to fill in over one whose field is zero.
func checksum(src, dst [16]byte, body []byte) uint16 {
	sum := uint64(len(body)) + 58
	sum += sum32(src[:]) + sum32(dst[:])
	n := len(body) &^ 3
	sum += sum32(body[:n])
	switch rest := body[n:]; len(rest) {
	case 1:
		sum += uint64(rest[0]) << 24
	case 2:
		sum += uint64(rest[0])<<24 | uint64(rest[1])<<16
	case 3:
		sum += uint64(rest[0])<<24 | uint64(rest[1])<<16 | uint64(rest[2])<<8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// sum32 adds up b as 32-bit words; its length is a multiple of four.
func sum32(b []byte) (sum uint64) {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	return sum
}
