package arp

import (
	"encoding/binary"
	"errors"
)

// EtherType is ARP's number in the Ethernet header.
const EtherType = 0x0806

// FrameLen is the length in octets of an Ethernet frame that carries a Packet,
// without padding and checksum.
const FrameLen = 14 + Len

// ErrEtherType is returned by ParseFrame for a frame that does not carry ARP
// directly after the Ethernet header; a frame with a VLAN tag is one.
var ErrEtherType = errors.New("arp: not an ARP frame")

// Frame is a packet in its Ethernet frame, and the interface it came in or goes
// out by. It is a value.
type Frame struct {
	Link     int // interface index
	Dst, Src MAC // of the Ethernet header
	Packet
}

// ParseFrame reads a frame from its destination address on. Link stays 0. It
// returns ErrShort, ErrEtherType or ErrFormat.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < 14 {
		return Frame{}, ErrShort
	}
	if binary.BigEndian.Uint16(b[12:]) != EtherType {
		return Frame{}, ErrEtherType
	}
	p, err := Parse(b[14:])
	if err != nil {
		return Frame{}, err
	}
	return Frame{Dst: MAC(b[:6]), Src: MAC(b[6:12]), Packet: p}, nil
}

// Append appends the frame's 42 octets to b.
func (f Frame) Append(b []byte) []byte {
	b = append(b, f.Dst[:]...)
	b = append(b, f.Src[:]...)
	b = binary.BigEndian.AppendUint16(b, EtherType)
	return f.Packet.Append(b)
}

// On returns p in a frame from its sender's address: to everybody if it is a
// request, to its target if it is a reply.
func (p Packet) On(link int) Frame {
	f := Frame{Link: link, Dst: Broadcast, Src: p.SenderMAC, Packet: p}
	if p.Op == Reply && p.TargetMAC.IsUnicast() {
		f.Dst = p.TargetMAC
	}
	return f
}
