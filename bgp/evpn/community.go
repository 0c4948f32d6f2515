package evpn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// Types and sub-types of extended communities, in the two high octets.
const (
	typeTargetAS2     = 0x0002 // RFC 4360, Section 4
	typeTargetIP      = 0x0102
	typeTargetAS4     = 0x0202 // RFC 5668, Section 2
	typeEncapsulation = 0x030c // RFC 9012, Section 4.1
	typeGateway       = 0x030d // RFC 7432, Section 7.8
	typeMobility      = 0x0600 // RFC 7432, Section 7.7
	typeESILabel      = 0x0601 // RFC 7432, Section 7.5
	typeRouterMAC     = 0x0603 // RFC 9135, Section 8.1
)

// RouteTarget returns the route target AS:value (RFC 4360, Section 4): with an AS number over 65535
// the value has 16 bits (RFC 5668, Section 2), so that not every VNI fits.
func RouteTarget(as, value uint32) (wire.ExtCommunity, error) {
	if as <= 0xffff {
		return typeTargetAS2<<48 | wire.ExtCommunity(as)<<32 | wire.ExtCommunity(value), nil
	}
	if value > 0xffff {
		return 0, fmt.Errorf("evpn: route target %d:%d: beside an AS number of 4 octets the value has 16 bits", as, value)
	}
	return typeTargetAS4<<48 | wire.ExtCommunity(as)<<16 | wire.ExtCommunity(value), nil
}

// IsRouteTarget reports whether c is a route target, of whatever form.
func IsRouteTarget(c wire.ExtCommunity) bool {
	t := c >> 48
	return t == typeTargetAS2 || t == typeTargetIP || t == typeTargetAS4
}

// Tunnel is a tunnel type of the encapsulation community (RFC 8365, Section 5.1.3).
type Tunnel uint16

// Tunnel types.
const (
	TunnelVXLAN Tunnel = 8
	TunnelNVGRE Tunnel = 9
	TunnelMPLS  Tunnel = 10
)

var tunnelNames = [...]string{8: "VXLAN", 9: "NVGRE", 10: "MPLS"}

// String returns "VXLAN", "NVGRE" or "MPLS".
func (t Tunnel) String() string { return enum.String("Tunnel", tunnelNames[:], t) }

// Encapsulation returns the community that says how packets are to be encapsulated: 0x03, 0x0c,
// reserved (4), tunnel type (2).
func Encapsulation(t Tunnel) wire.ExtCommunity { return typeEncapsulation<<48 | wire.ExtCommunity(t) }

// EncapsulationOf returns what an encapsulation community says.
func EncapsulationOf(c wire.ExtCommunity) (t Tunnel, ok bool) {
	return Tunnel(c), c>>48 == typeEncapsulation
}

// DefaultGateway is the community of the MAC address of a default gateway.
const DefaultGateway wire.ExtCommunity = typeGateway << 48

// Mobility is the MAC Mobility community (RFC 7432, Section 7.7): 0x06, 0x00, flags (1) of which the
// lowest is Sticky, reserved (1), sequence number (4). A route without one has the sequence number 0.
type Mobility struct {
	Sequence uint32 // the higher one wins (RFC 7432, Section 15)
	Sticky   bool   // the MAC does not move (RFC 7432, Section 15.2)
}

// Community returns the community.
func (m Mobility) Community() wire.ExtCommunity {
	c := typeMobility<<48 | wire.ExtCommunity(m.Sequence)
	if m.Sticky {
		c |= 1 << 40
	}
	return c
}

// MobilityOf returns what a MAC Mobility community says.
func MobilityOf(c wire.ExtCommunity) (m Mobility, ok bool) {
	return Mobility{Sequence: uint32(c), Sticky: c>>40&1 != 0}, c>>48 == typeMobility
}

// RouterMAC returns the community of the MAC address that routed packets are sent to (RFC 9135,
// Section 8.1): 0x06, 0x03, MAC (6).
func RouterMAC(m MAC) wire.ExtCommunity {
	var b [8]byte
	copy(b[2:], m[:])
	return typeRouterMAC<<48 | wire.ExtCommunity(binary.BigEndian.Uint64(b[:]))
}

// RouterMACOf returns what a router's MAC community says.
func RouterMACOf(c wire.ExtCommunity) (m MAC, ok bool) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(c))
	return MAC(b[2:]), c>>48 == typeRouterMAC
}

// ESILabel is the ESI Label community (RFC 7432, Section 7.5): 0x06, 0x01, flags (1) of which the lowest
// is SingleActive, reserved (2), label (3).
type ESILabel struct {
	Label        Label // of split horizon; 0 with VXLAN (RFC 8365, Section 8.3.1)
	SingleActive bool  // one router of the segment forwards; else all do
}

// Community returns the community.
func (e ESILabel) Community() wire.ExtCommunity {
	c := typeESILabel<<48 | wire.ExtCommunity(e.Label&0xffffff)
	if e.SingleActive {
		c |= 1 << 40
	}
	return c
}

// ESILabelOf returns what an ESI Label community says.
func ESILabelOf(c wire.ExtCommunity) (e ESILabel, ok bool) {
	return ESILabel{Label: Label(c & 0xffffff), SingleActive: c>>40&1 != 0}, c>>48 == typeESILabel
}

// CommunityString returns what c says in EVPN, such as "rt:65000:100", "encapsulation:VXLAN",
// "mobility:2", "mobility:0:sticky", "router-mac:52:54:00:00:00:01", "default-gateway" or
// "esi-label:0:all-active"; of other communities what wire.ExtCommunity.String does.
func CommunityString(c wire.ExtCommunity) string {
	if t, ok := EncapsulationOf(c); ok {
		return "encapsulation:" + t.String()
	}
	if m, ok := MobilityOf(c); ok {
		s := fmt.Sprintf("mobility:%d", m.Sequence)
		if m.Sticky {
			s += ":sticky"
		}
		return s
	}
	if m, ok := RouterMACOf(c); ok {
		return "router-mac:" + m.String()
	}
	if e, ok := ESILabelOf(c); ok {
		if e.SingleActive {
			return fmt.Sprintf("esi-label:%d:single-active", e.Label)
		}
		return fmt.Sprintf("esi-label:%d:all-active", e.Label)
	}
	if c == DefaultGateway {
		return "default-gateway"
	}
	return c.String()
}

// TunnelKind is the tunnel type of a PMSI Tunnel attribute (RFC 6514, Section 5).
type TunnelKind uint8

// IngressReplication sends a copy to each router (RFC 6514, Section 5; RFC 8365, Section 9).
const IngressReplication TunnelKind = 6

var kindNames = [...]string{6: "ingress replication"}

// String returns "ingress replication", or the number of another type.
func (k TunnelKind) String() string { return enum.String("TunnelKind", kindNames[:], k) }

// PMSI is a PMSI Tunnel attribute, which says how broadcast, unknown unicast and multicast get to the
// router of a type 3 route: Flags (1), Tunnel Type (1), MPLS Label (3), Tunnel Identifier.
type PMSI struct {
	Flags uint8      // 1: leaf information required
	Kind  TunnelKind // what the identifier is
	Label Label      // with VXLAN the VNI (RFC 8365, Section 5.1.3)
	// Endpoint is the tunnel's end with ingress replication, IPv4 or IPv6; not valid otherwise.
	Endpoint netip.Addr
	// Identifier is the Tunnel Identifier of other types. It aliases what was parsed; nil with ingress
	// replication.
	Identifier []byte
}

// ParsePMSI reads the value of a PMSI Tunnel attribute. ok is false if it is malformed, which
// [wire.Update.Parse] does not let pass.
func ParsePMSI(v []byte) (p PMSI, ok bool) {
	if len(v) < 5 {
		return PMSI{}, false
	}
	p = PMSI{Flags: v[0], Kind: TunnelKind(v[1]), Label: labelOf(v[2:])}
	if p.Kind != IngressReplication {
		p.Identifier = v[5:]
		return p, true
	}
	p.Endpoint, ok = netip.AddrFromSlice(v[5:])
	return p, ok
}

// AppendBinary appends the value of the attribute.
func (p *PMSI) AppendBinary(b []byte) []byte {
	b = p.Label.append(append(b, p.Flags, byte(p.Kind)))
	if p.Kind == IngressReplication {
		return appendBare(b, p.Endpoint)
	}
	return append(b, p.Identifier...)
}

// String returns "ingress replication 192.0.2.1 label 100".
func (p *PMSI) String() string {
	var s strings.Builder
	s.WriteString(p.Kind.String())
	if p.Endpoint.IsValid() {
		fmt.Fprintf(&s, " %v", p.Endpoint)
	}
	if len(p.Identifier) > 0 {
		fmt.Fprintf(&s, " %x", p.Identifier)
	}
	fmt.Fprintf(&s, " label %d", p.Label)
	return s.String()
}
