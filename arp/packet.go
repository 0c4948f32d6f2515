package arp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// MAC is a 48-bit Ethernet address: a comparable array of six octets with
// String, MarshalText and UnmarshalText. Its zero value means "none".
type MAC = ether.MAC

// Broadcast is the Ethernet address of every station, ff:ff:ff:ff:ff:ff.
var Broadcast = ether.Broadcast

// IP is an IPv4 address as it is in a packet. It is comparable and holds no pointer, so
// that a flood of packets is moved about for next to nothing; netip.Addr, which the
// rest of this package takes, is three times its size.
type IP [4]byte

// IPFrom returns a as an IP. What is not IPv4 (the zero Addr among it) becomes 0.0.0.0.
func IPFrom(a netip.Addr) IP {
	if !a.Is4() {
		return IP{}
	}
	return a.As4()
}

// Addr returns ip as a netip.Addr.
func (ip IP) Addr() netip.Addr { return netip.AddrFrom4(ip) }

// IsUnspecified reports whether ip is 0.0.0.0.
func (ip IP) IsUnspecified() bool { return ip == IP{} }

// String returns ip in dotted notation.
func (ip IP) String() string { return ip.Addr().String() }

// Operation is the opcode of a packet (RFC 826, "ar$op").
type Operation uint16

// The two operations of ARP proper. Others (RARP, InARP) are parsed and carried
// as numbers.
const (
	OpRequest Operation = 1
	OpReply   Operation = 2
)

// String returns "request", "reply" or "operation N".
func (o Operation) String() string {
	return enum.String("Operation", []string{OpRequest: "request", OpReply: "reply"}, o)
}

// Len is the length in octets of an ARP packet for IPv4 over Ethernet, without
// the Ethernet header and padding.
const Len = 28

// Packet is an ARP packet for IPv4 over Ethernet (RFC 826). It is a value of 28
// octets: it aliases nothing, points nowhere, and may be compared. All four addresses are in
// the packet whatever the operation.
type Packet struct {
	Op        Operation // ar$op
	SenderMAC MAC       // ar$sha
	SenderIP  IP        // ar$spa; 0.0.0.0 in a probe
	TargetMAC MAC       // ar$tha; zero in a request
	TargetIP  IP        // ar$tpa
}

// Errors of ParsePacket. They are plain values, so that a flood of bad packets costs
// no allocation.
var (
	ErrShort  = errors.New("arp: packet shorter than 28 octets")
	ErrFormat = errors.New("arp: not IPv4 over Ethernet")
)

// fixed is the part of the header that is the same in every packet for IPv4 over
// Ethernet: hardware type 1, protocol type 0x0800, lengths 6 and 4.
const fixed = 0x0001_0800_0604

// ParsePacket reads a packet from b, which starts after the Ethernet header and may be
// followed by padding. It returns ErrShort or ErrFormat, and does not judge the
// addresses or the operation: that is the policy's business.
func ParsePacket(b []byte) (p Packet, err error) {
	err = p.decode(b)
	return p, err
}

// decode is ParsePacket into p, which an error leaves as it was: for loops that fill a slice
// of packets, where the copy of the result would cost as much as the parsing.
func (p *Packet) decode(b []byte) error {
	if len(b) < Len {
		return ErrShort
	}
	b = b[:Len]
	// ar$hrd (2), ar$pro (2), ar$hln (1), ar$pln (1), ar$op (2), ar$sha (6), ar$spa (4),
	// ar$tha (6), ar$tpa (4): RFC 826, "Packet format". The first four are constant.
	head := binary.BigEndian.Uint64(b)
	if head>>16 != fixed {
		return ErrFormat
	}
	p.Op = Operation(head)
	p.SenderMAC = MAC(b[8:14])
	p.SenderIP = IP(b[14:18])
	p.TargetMAC = MAC(b[18:24])
	p.TargetIP = IP(b[24:28])
	return nil
}

// AppendBinary appends the 28 octets of p to b. It implements
// [encoding.BinaryAppender]; the error is always nil.
func (p Packet) AppendBinary(b []byte) ([]byte, error) { return p.append(b), nil }

func (p Packet) append(b []byte) []byte {
	n := len(b)
	b = slices.Grow(b, Len)[:n+Len]
	p.encode(b[n:])
	return b
}

// encode writes the 28 octets of p to the start of b, which must have room for them.
func (p *Packet) encode(b []byte) {
	b = b[:Len]
	binary.BigEndian.PutUint64(b, fixed<<16|uint64(p.Op))
	*(*MAC)(b[8:]) = p.SenderMAC
	*(*IP)(b[14:]) = p.SenderIP
	*(*MAC)(b[18:]) = p.TargetMAC
	*(*IP)(b[24:]) = p.TargetIP
}

// IsProbe reports whether p asks for an address without claiming it: a request
// whose sender address is 0.0.0.0 (RFC 5227, Section 1.1).
func (p Packet) IsProbe() bool {
	return p.Op == OpRequest && p.SenderIP.IsUnspecified()
}

// IsAnnouncement reports whether p claims an address: sender and target address
// are the same (RFC 5227, Section 1.1; "gratuitous ARP", both in its request and
// in its reply form).
func (p Packet) IsAnnouncement() bool {
	return p.SenderIP == p.TargetIP && !p.SenderIP.IsUnspecified()
}

// NewRequest returns a request for the Ethernet address of target, sent by (mac, ip).
func NewRequest(mac MAC, ip, target netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderMAC: mac, SenderIP: IPFrom(ip), TargetIP: IPFrom(target)}
}

// NewProbe returns a probe by mac: a request that asks whether another station has ip,
// without claiming it (RFC 5227, Section 2.1.1).
func NewProbe(mac MAC, ip netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderMAC: mac, TargetIP: IPFrom(ip)}
}

// NewAnnouncement returns a packet that claims ip for mac (RFC 5227, Section 2.3). A
// station that has ip in its ARP cache replaces the Ethernet address by mac.
func NewAnnouncement(mac MAC, ip netip.Addr) Packet {
	return Packet{Op: OpRequest, SenderMAC: mac, SenderIP: IPFrom(ip), TargetIP: IPFrom(ip)}
}

// Answer returns the reply to the request p which says that mac has p.TargetIP. Sender
// and target change places (RFC 826, "Packet Reception").
func (p Packet) Answer(mac MAC) Packet {
	return Packet{Op: OpReply, SenderMAC: mac, SenderIP: p.TargetIP, TargetMAC: p.SenderMAC, TargetIP: p.SenderIP}
}

// String returns p in the words of tcpdump.
func (p Packet) String() string {
	switch {
	case p.IsProbe():
		return fmt.Sprintf("probe %v by %v", p.TargetIP, p.SenderMAC)
	case p.IsAnnouncement():
		return fmt.Sprintf("announcement %v is-at %v", p.SenderIP, p.SenderMAC)
	case p.Op == OpRequest:
		return fmt.Sprintf("who-has %v tell %v (%v)", p.TargetIP, p.SenderIP, p.SenderMAC)
	case p.Op == OpReply:
		return fmt.Sprintf("%v is-at %v, to %v (%v)", p.SenderIP, p.SenderMAC, p.TargetIP, p.TargetMAC)
	}
	return fmt.Sprintf("%v from %v (%v)", p.Op, p.SenderIP, p.SenderMAC)
}
