package arp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/ether"
)

// MAC is a 48-bit Ethernet address: a comparable array of six octets with
// String, MarshalText and UnmarshalText. Its zero value means "none".
type MAC = ether.MAC

// Broadcast is the Ethernet address of every station, ff:ff:ff:ff:ff:ff.
var Broadcast = ether.Broadcast

// Operation is the opcode of a packet (RFC 826, "ar$op").
type Operation uint16

// The two operations of ARP proper. Others (RARP, InARP) are parsed and carried
// as numbers.
const (
	Request Operation = 1
	Reply   Operation = 2
)

// String returns "request", "reply" or "operation N".
func (o Operation) String() string {
	switch o {
	case Request:
		return "request"
	case Reply:
		return "reply"
	}
	return fmt.Sprintf("operation %d", uint16(o))
}

// Len is the length in octets of an ARP packet for IPv4 over Ethernet, without
// the Ethernet header and padding.
const Len = 28

// Packet is an ARP packet for IPv4 over Ethernet (RFC 826). It is a value: it
// aliases nothing and may be compared. All four addresses are in the packet
// whatever the operation.
type Packet struct {
	Op        Operation
	SenderMAC MAC        // ar$sha
	TargetMAC MAC        // ar$tha; zero in a request
	SenderIP  netip.Addr // ar$spa; 0.0.0.0 in a probe; the zero Addr is sent as 0.0.0.0
	TargetIP  netip.Addr // ar$tpa
}

// Errors of Parse. They are plain values, so that a flood of bad packets costs
// no allocation.
var (
	ErrShort  = errors.New("arp: packet shorter than 28 octets")
	ErrFormat = errors.New("arp: not IPv4 over Ethernet")
)

// fixed is the part of the header that is the same in every packet for IPv4 over
// Ethernet: hardware type 1, protocol type 0x0800, lengths 6 and 4.
const fixed = 0x0001_0800_0604

// Parse reads a packet from b, which starts after the Ethernet header and may be
// followed by padding. It returns ErrShort or ErrFormat, and does not judge the
// addresses or the operation: that is the policy's business.
func Parse(b []byte) (Packet, error) {
	if len(b) < Len {
		return Packet{}, ErrShort
	}
	b = b[:Len]
	head := binary.BigEndian.Uint64(b)
	if head>>16 != fixed {
		return Packet{}, ErrFormat
	}
	return Packet{
		Op:        Operation(head),
		SenderMAC: MAC(b[8:14]),
		SenderIP:  netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: MAC(b[18:24]),
		TargetIP:  netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

// Append appends the 28 octets of p to b. Addresses that are not IPv4 (the zero
// Addr among them) are written as 0.0.0.0.
func (p Packet) Append(b []byte) []byte {
	sender, target := v4(p.SenderIP), v4(p.TargetIP)
	b = binary.BigEndian.AppendUint64(b, fixed<<16|uint64(p.Op))
	b = append(b, p.SenderMAC[:]...)
	b = append(b, sender[:]...)
	b = append(b, p.TargetMAC[:]...)
	return append(b, target[:]...)
}

// v4 is a.As4 that never panics.
func v4(a netip.Addr) [4]byte {
	if !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}

// IsProbe reports whether p asks for an address without claiming it: a request
// whose sender address is 0.0.0.0 (RFC 5227, Section 1.1).
func (p Packet) IsProbe() bool {
	return p.Op == Request && (!p.SenderIP.IsValid() || p.SenderIP.IsUnspecified())
}

// IsAnnouncement reports whether p claims an address: sender and target address
// are the same (RFC 5227, Section 1.1; "gratuitous ARP", both in its request and
// in its reply form).
func (p Packet) IsAnnouncement() bool {
	return p.SenderIP == p.TargetIP && p.SenderIP.IsValid() && !p.SenderIP.IsUnspecified()
}

// NewRequest asks who has target, on behalf of (mac, ip).
func NewRequest(mac MAC, ip, target netip.Addr) Packet {
	return Packet{Op: Request, SenderMAC: mac, SenderIP: ip, TargetIP: target}
}

// NewProbe asks whether anyone has ip already (RFC 5227, Section 2.1.1).
func NewProbe(mac MAC, ip netip.Addr) Packet {
	return Packet{Op: Request, SenderMAC: mac, SenderIP: netip.IPv4Unspecified(), TargetIP: ip}
}

// NewAnnouncement claims ip for mac (RFC 5227, Section 2.3). Everybody who has ip
// in the cache replaces the address by mac.
func NewAnnouncement(mac MAC, ip netip.Addr) Packet {
	return Packet{Op: Request, SenderMAC: mac, SenderIP: ip, TargetIP: ip}
}

// Answer is the reply to the request p which says that mac has p.TargetIP.
func (p Packet) Answer(mac MAC) Packet {
	return Packet{Op: Reply, SenderMAC: mac, SenderIP: p.TargetIP, TargetMAC: p.SenderMAC, TargetIP: p.SenderIP}
}

// String returns p in the words of tcpdump.
func (p Packet) String() string {
	switch {
	case p.IsProbe():
		return fmt.Sprintf("probe %v by %v", p.TargetIP, p.SenderMAC)
	case p.IsAnnouncement():
		return fmt.Sprintf("announcement %v is-at %v", p.SenderIP, p.SenderMAC)
	case p.Op == Request:
		return fmt.Sprintf("who-has %v tell %v (%v)", p.TargetIP, p.SenderIP, p.SenderMAC)
	case p.Op == Reply:
		return fmt.Sprintf("%v is-at %v, to %v (%v)", p.SenderIP, p.SenderMAC, p.TargetIP, p.TargetMAC)
	}
	return fmt.Sprintf("%v from %v (%v)", p.Op, p.SenderIP, p.SenderMAC)
}
