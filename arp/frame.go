package arp

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
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
	// Received is when the kernel received the frame, if that was before the program
	// listened: see [Config.SocketStore]. Zero: since.
	Received time.Time
}

// ParseFrame reads a frame from its destination address on. Link stays 0. It
// returns ErrShort, ErrEtherType or ErrFormat.
func ParseFrame(b []byte) (f Frame, err error) {
	err = f.Decode(b)
	return f, err
}

// Decode is ParseFrame into f; an error leaves f as it was, and Link is never changed.
func (f *Frame) Decode(b []byte) error {
	if len(b) < 14 {
		return ErrShort
	}
	if binary.BigEndian.Uint16(b[12:]) != EtherType {
		return ErrEtherType
	}
	if err := f.Packet.Decode(b[14:]); err != nil {
		return err
	}
	f.Dst, f.Src = MAC(b[:6]), MAC(b[6:12])
	return nil
}

// Append appends the frame's 42 octets to b.
func (f Frame) Append(b []byte) []byte {
	n := len(b)
	b = slices.Grow(b, FrameLen)[:n+FrameLen]
	f.Encode(b[n:])
	return b
}

// Encode writes the frame's 42 octets to the start of b, which must have room for
// them.
func (f *Frame) Encode(b []byte) {
	b = b[:FrameLen]
	*(*MAC)(b) = f.Dst
	*(*MAC)(b[6:]) = f.Src
	binary.BigEndian.PutUint16(b[12:], EtherType)
	f.Packet.Encode(b[14:])
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
