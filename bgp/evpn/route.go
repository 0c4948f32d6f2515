package evpn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// RouteType is the type of an EVPN route.
type RouteType uint8

// Route types that are decoded.
const (
	TypeEthernetAD      RouteType = 1 // Ethernet Auto-Discovery (RFC 7432, Section 7.1)
	TypeMACIP           RouteType = 2 // MAC/IP Advertisement (RFC 7432, Section 7.2)
	TypeMulticast       RouteType = 3 // Inclusive Multicast Ethernet Tag (RFC 7432, Section 7.3)
	TypeEthernetSegment RouteType = 4 // Ethernet Segment (RFC 7432, Section 7.4)
	TypeIPPrefix        RouteType = 5 // IP Prefix (RFC 9136, Section 3.1)
)

var typeNames = [...]string{1: "Ethernet A-D", 2: "MAC/IP", 3: "inclusive multicast", 4: "Ethernet segment", 5: "IP prefix"}

// String returns the name of the type in a word or two, such as "MAC/IP".
func (t RouteType) String() string { return enum.String("RouteType", typeNames[:], t) }

// Route is an EVPN route. What a type does not have is the zero value. A Route of types 1 to 5 owns
// its memory.
type Route struct {
	Type RouteType // which fields count
	RD   RD        // makes the route unique; who imports it is decided by route targets
	ESI  ESI       // types 1, 2, 4 and 5; zero: no Ethernet segment
	// EthernetTag is the Ethernet Tag ID of types 1, 2, 3 and 5: 0 with VLAN-based service, which
	// VXLAN uses (RFC 8365, Section 5.1.3); 0xffffffff in a type 1 that is about a whole segment.
	EthernetTag uint32
	MAC         MAC // type 2
	// IP is the address that belongs to MAC, not valid if there is none (type 2), or that of the
	// originating router (types 3 and 4). IPv4 or IPv6, without a zone.
	IP netip.Addr
	// Prefix is that of type 5, masked.
	Prefix netip.Prefix
	// Gateway is the overlay index of type 5 (RFC 9136, Section 3.2), of the family of Prefix; the
	// unspecified address means none. The zero Addr is written as that.
	Gateway netip.Addr
	// Label is the VNI or MPLS label of types 1, 2 and 5: of the bridge domain in type 2, of the VRF
	// in type 5. Label2 is that of the VRF in type 2; it is there if HasLabel2 is set.
	Label, Label2 Label
	HasLabel2     bool
	// Octets are what follows Route Type and Length of a type that is not decoded, at most 255. They
	// alias what was parsed. Nil for types 1 to 5.
	Octets []byte
}

// ErrMalformed comes with a route whose fields do not fill its length.
var ErrMalformed = errors.New("evpn: malformed route")

// Parse reads one NLRI, from its Route Type on and without anything after it: wire.EVPN.Octets. The
// error is [ErrMalformed] or nil; it is nil for every NLRI that
// [wire.List.EVPN] yields without [wire.ErrEVPNFields].
func Parse(b []byte) (r Route, err error) {
	if len(b) < 2 || int(b[1]) != len(b)-2 {
		return Route{}, ErrMalformed
	}
	r.Type = RouteType(b[0])
	c := cursor{b: b[2:]}
	switch r.Type {
	case TypeEthernetAD: // RD (8), ESI (10), Ethernet Tag ID (4), MPLS Label (3)
		r.RD, r.ESI, r.EthernetTag, r.Label = c.rd(), c.esi(), c.uint32(), c.label()
	case TypeMACIP: // RD (8), ESI (10), Ethernet Tag ID (4), 48 (1), MAC (6), IP Address Length (1), IP (0, 4, 16), Label1 (3), Label2 (0, 3)
		r.RD, r.ESI, r.EthernetTag = c.rd(), c.esi(), c.uint32()
		r.MAC, r.IP = c.mac(), c.addr(true)
		r.Label = c.label()
		if r.HasLabel2 = len(c.b) > 0; r.HasLabel2 {
			r.Label2 = c.label()
		}
	case TypeMulticast: // RD (8), Ethernet Tag ID (4), IP Address Length (1), IP (4, 16)
		r.RD, r.EthernetTag, r.IP = c.rd(), c.uint32(), c.addr(false)
	case TypeEthernetSegment: // RD (8), ESI (10), IP Address Length (1), IP (4, 16)
		r.RD, r.ESI, r.IP = c.rd(), c.esi(), c.addr(false)
	case TypeIPPrefix: // RD (8), ESI (10), Ethernet Tag ID (4), IP Prefix Length (1), IP Prefix, GW IP Address (4 or 16 each), MPLS Label (3)
		r.RD, r.ESI, r.EthernetTag = c.rd(), c.esi(), c.uint32()
		r.Prefix, r.Gateway = c.prefix()
		r.Label = c.label()
	default:
		r.Octets = c.b
		return r, nil
	}
	if c.bad || len(c.b) > 0 {
		return Route{}, ErrMalformed
	}
	return r, nil
}

// AppendBinary appends the NLRI, from its Route Type on. The error says what a route lacks that is to
// be written; b is returned as it was then.
func (r *Route) AppendBinary(b []byte) ([]byte, error) {
	if err := r.Check(); err != nil {
		return b, err
	}
	at := len(b)
	b = append(b, byte(r.Type), 0)
	if !r.known() {
		b = append(b, r.Octets...)
		b[at+1] = byte(len(r.Octets))
		return b, nil
	}
	b = append(b, r.RD[:]...)
	if r.Type != TypeMulticast {
		b = append(b, r.ESI[:]...)
	}
	if r.Type != TypeEthernetSegment {
		b = binary.BigEndian.AppendUint32(b, r.EthernetTag)
	}
	switch r.Type {
	case TypeEthernetAD:
		b = r.Label.append(b)
	case TypeMACIP:
		b = append(append(b, 48), r.MAC[:]...)
		b = r.Label.append(appendAddr(b, r.IP))
		if r.HasLabel2 {
			b = r.Label2.append(b)
		}
	case TypeMulticast, TypeEthernetSegment:
		b = appendAddr(b, r.IP)
	case TypeIPPrefix:
		b = appendBare(append(b, byte(r.Prefix.Bits())), r.Prefix.Masked().Addr())
		var none [16]byte
		if r.Gateway.IsValid() {
			b = appendBare(b, r.Gateway)
		} else {
			b = append(b, none[:r.Prefix.Addr().BitLen()/8]...)
		}
		b = r.Label.append(b)
	}
	b[at+1] = byte(len(b) - at - 2)
	return b, nil
}

// appendAddr appends an address after its length in bits; one that is not valid has length 0.
func appendAddr(b []byte, a netip.Addr) []byte { return appendBare(append(b, byte(a.BitLen())), a) }

func appendBare(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		x := a.As4()
		return append(b, x[:]...)
	}
	if a.Is6() {
		x := a.As16()
		return append(b, x[:]...)
	}
	return b
}

func (r *Route) known() bool { return r.Type >= TypeEthernetAD && r.Type <= TypeIPPrefix }

// Check returns what keeps the route from being written, nil if nothing does.
func (r *Route) Check() error {
	switch r.Type {
	case TypeEthernetAD:
	case TypeMACIP:
		if !plain(r.IP) && r.IP.IsValid() {
			return fmt.Errorf("evpn: MAC/IP route: address %v is IPv4-mapped or has a zone", r.IP)
		}
	case TypeMulticast, TypeEthernetSegment:
		if !plain(r.IP) {
			return fmt.Errorf("evpn: %v route: originating router %v is no address without a zone", r.Type, r.IP)
		}
	case TypeIPPrefix:
		switch {
		case !r.Prefix.IsValid():
			return fmt.Errorf("evpn: IP prefix route: prefix %v is not valid", r.Prefix)
		case r.Gateway.IsValid() && (!plain(r.Gateway) || r.Gateway.Is4() != r.Prefix.Addr().Is4()):
			return fmt.Errorf("evpn: IP prefix route %v: gateway %v is of another family, or has a zone", r.Prefix, r.Gateway)
		case r.Gateway.IsValid() && !r.Gateway.IsUnspecified() && r.ESI != ESI{}:
			// RFC 9136, Section 3.2: such a route is treated as a withdraw.
			return fmt.Errorf("evpn: IP prefix route %v: both an ESI and a gateway", r.Prefix)
		}
	default:
		if len(r.Octets) > 255 {
			return fmt.Errorf("evpn: %v: %d octets are more than 255", r.Type, len(r.Octets))
		}
	}
	return nil
}

func plain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" }

// Key appends what names the route in a RIB, as [wire.EVPN.AppendKey] does.
func (r *Route) Key(b []byte) ([]byte, error) {
	var room [2 + 255]byte
	octets, err := r.AppendBinary(room[:0])
	if err != nil {
		return b, err
	}
	return wire.EVPN{Octets: octets}.AppendKey(b), nil
}

// String returns the route as FRR shows it, in brackets: "[2]:[0]:[48]:[52:54:00:00:00:01]:[32]:[192.0.2.1]".
// It has what names the route, without the RD.
func (r *Route) String() string {
	switch r.Type {
	case TypeEthernetAD:
		return fmt.Sprintf("[1]:[%d]:[%v]", r.EthernetTag, r.ESI)
	case TypeMACIP:
		if !r.IP.IsValid() {
			return fmt.Sprintf("[2]:[%d]:[48]:[%v]", r.EthernetTag, r.MAC)
		}
		return fmt.Sprintf("[2]:[%d]:[48]:[%v]:[%d]:[%v]", r.EthernetTag, r.MAC, r.IP.BitLen(), r.IP)
	case TypeMulticast:
		return fmt.Sprintf("[3]:[%d]:[%d]:[%v]", r.EthernetTag, r.IP.BitLen(), r.IP)
	case TypeEthernetSegment:
		return fmt.Sprintf("[4]:[%v]:[%d]:[%v]", r.ESI, r.IP.BitLen(), r.IP)
	case TypeIPPrefix:
		return fmt.Sprintf("[5]:[%d]:[%d]:[%v]", r.EthernetTag, r.Prefix.Bits(), r.Prefix.Addr())
	}
	return fmt.Sprintf("[%d]:[%x]", uint8(r.Type), r.Octets)
}

// cursor reads fields off the front of b; bad is set where they are not all there, or are not
// what a route may have.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if len(c.b) < n {
		c.bad, c.b = true, nil
		return zeros[:n]
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

var zeros [16]byte // what take returns of too little; never written

func (c *cursor) rd() RD         { return RD(c.take(8)) }
func (c *cursor) esi() ESI       { return ESI(c.take(10)) }
func (c *cursor) uint32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) label() Label   { return labelOf(c.take(3)) }

// mac reads a MAC address after its length, which is 48 bits: "MAC Address Length values other than
// 48 bits are outside the scope of this document" (RFC 7432, Section 9.2.1).
func (c *cursor) mac() MAC {
	if c.take(1)[0] != 48 {
		c.bad = true
	}
	return MAC(c.take(6))
}

// addr reads an address after its length in bits, which is 0 only if that may be.
func (c *cursor) addr(none bool) netip.Addr {
	switch bits := c.take(1)[0]; {
	case bits == 32:
		return netip.AddrFrom4([4]byte(c.take(4)))
	case bits == 128:
		return netip.AddrFrom16([16]byte(c.take(16)))
	case bits != 0 || !none:
		c.bad = true
	}
	return netip.Addr{}
}

// prefix reads the length of a prefix, the prefix and a gateway. Their family shows in the octets that
// are left: "The Length field of the BGP EVPN NLRI for an EVPN IP Prefix route MUST be either 34 (if
// IPv4 addresses are carried) or 58 (if IPv6 addresses are carried)" (RFC 9136, Section 3.1).
func (c *cursor) prefix() (p netip.Prefix, gateway netip.Addr) {
	bits := int(c.take(1)[0])
	switch {
	case len(c.b) == 2*4+3 && bits <= 32:
		p = netip.PrefixFrom(netip.AddrFrom4([4]byte(c.take(4))), bits)
		gateway = netip.AddrFrom4([4]byte(c.take(4)))
	case len(c.b) == 2*16+3 && bits <= 128:
		p = netip.PrefixFrom(netip.AddrFrom16([16]byte(c.take(16))), bits)
		gateway = netip.AddrFrom16([16]byte(c.take(16)))
	default:
		c.bad = true
	}
	return p.Masked(), gateway
}
