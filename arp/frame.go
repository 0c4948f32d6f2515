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
	IfIndex  int // interface index
	Dst, Src MAC // of the Ethernet header
	Packet
	// Received is when the kernel received the frame, before its own ARP had it. It has a
	// monotonic clock reading, as what time.Now returns has. Zero: it came from no Conn. Write ignores it.
	Received time.Time
}

// ParseFrame reads a frame from its destination address on. IfIndex stays 0. It
// returns ErrShort, ErrEtherType or ErrFormat.
func ParseFrame(b []byte) (f Frame, err error) {
	err = f.decode(b)
	return f, err
}

// decode is ParseFrame into f; an error leaves f as it was, and IfIndex is never changed.
func (f *Frame) decode(b []byte) error {
	// Destination (6), source (6), EtherType (2).
	if len(b) < 14 {
		return ErrShort
	}
	if binary.BigEndian.Uint16(b[12:]) != EtherType {
		return ErrEtherType
	}
	if err := f.Packet.decode(b[14:]); err != nil {
		return err
	}
	f.Dst, f.Src = MAC(b[:6]), MAC(b[6:12])
	return nil
}

// AppendBinary appends the frame's 42 octets to b. It implements
// [encoding.BinaryAppender]; the error is always nil.
func (f Frame) AppendBinary(b []byte) ([]byte, error) { return f.append(b), nil }

func (f Frame) append(b []byte) []byte {
	n := len(b)
	b = slices.Grow(b, FrameLen)[:n+FrameLen]
	f.encode(b[n:])
	return b
}

// encode writes the frame's 42 octets to the start of b, which must have room for
// them.
func (f *Frame) encode(b []byte) {
	b = b[:FrameLen]
	*(*MAC)(b) = f.Dst
	*(*MAC)(b[6:]) = f.Src
	binary.BigEndian.PutUint16(b[12:], EtherType)
	f.Packet.encode(b[14:])
}

// On returns p in a frame from its sender's address: to [Broadcast] if it is a
// request, to its target if it is a reply.
func (p Packet) On(ifindex int) Frame {
	f := Frame{IfIndex: ifindex, Dst: Broadcast, Src: p.SenderMAC, Packet: p}
	if p.Op == OpReply && p.TargetMAC.IsUnicast() {
		f.Dst = p.TargetMAC
	}
	return f
}
