package bfd

import (
	"encoding/binary"
	"time"
)

// UDP ports of RFC 5881, Section 4, and RFC 5883, Section 5.
const (
	Port         = 3784 // single-hop control packets
	EchoPort     = 3785 // echo packets
	MultihopPort = 4784 // multihop control packets
)

// Packet is a control packet (RFC 5880, Section 4.1). The zero value is no valid
// packet: it lacks Multiplier and MyDiscr. The required minimum echo interval is
// all that a Packet knows of the echo function.
type Packet struct {
	Diag  Diag  // why the sender's session last went down
	State State // of the sender's session
	Poll  bool  // P: the sender waits for a packet with Final
	Final bool  // F: the answer to Poll
	// ControlIndependent is the C bit: the sender's BFD does not share fate with
	// its control plane.
	ControlIndependent bool
	// Demand is the D bit: the receiver shall send nothing periodic while both
	// ends are Up.
	Demand     bool
	Multiplier uint8  // Detect Mult; never 0
	MyDiscr    uint32 // the sender's discriminator; never 0
	YourDiscr  uint32 // the receiver's; 0 if the sender does not know it
	// Intervals are whole microseconds on the wire; anything finer is cut off.
	DesiredMinTx      time.Duration
	RequiredMinRx     time.Duration // 0: send nothing but echo
	RequiredMinEchoRx time.Duration // 0: no echo packets

	auth []byte // authentication section, nil without A bit; aliases raw
	raw  []byte // the packet as received, Length octets; aliases ParsePacket's argument
}

// headerLen is the length of the mandatory section.
const headerLen = 24

// maxPacketLen is a packet with the longest authentication section (SHA1).
const maxPacketLen = headerLen + 28

// PacketError says why a packet must be discarded (RFC 5880, Section 6.8.6). The
// values are constants, so that refusing a packet allocates nothing.
type PacketError string

// Error implements error.
func (e PacketError) Error() string { return "bfd: packet: " + string(e) }

// What [ParsePacket] finds, in the order of RFC 5880, Section 6.8.6.
const (
	ErrShort      PacketError = "shorter than 24 octets"
	ErrVersion    PacketError = "version is not 1"
	ErrLength     PacketError = "length field contradicts the packet"
	ErrMultiplier PacketError = "detect mult is zero"
	ErrMultipoint PacketError = "multipoint bit is set"
	ErrMyDiscr    PacketError = "my discriminator is zero"
	ErrYourDiscr  PacketError = "your discriminator is zero in state Init or Up"
	ErrAuth       PacketError = "malformed authentication section"
)

// ParsePacket decodes a control packet and makes every check of RFC 5880, Section
// 6.8.6, that needs no session. Octets beyond the Length field are ignored (RFC
// 9764, Section 3). The packet aliases b and is valid until b is reused. ParsePacket does not
// allocate; its errors are of type [PacketError].
//
// A control packet (RFC 5880, Section 4.1):
//
//	Vers (3 bits), Diag (5 bits)                 0
//	Sta (2 bits), P, F, C, A, D, M               1
//	Detect Mult, Length                          2
//	My Discriminator, Your Discriminator         4
//	Desired Min TX Interval, in microseconds    12
//	Required Min RX Interval                    16
//	Required Min Echo RX Interval               20
//	Auth Type, Auth Len, Authentication Data    24, with A
func ParsePacket(b []byte) (Packet, error) {
	if len(b) < headerLen {
		return Packet{}, ErrShort
	}
	length, withAuth := int(b[3]), b[1]&0x04 != 0
	least := headerLen
	if withAuth {
		least += 2
	}
	p := Packet{
		Diag: Diag(b[0] & 0x1f), State: State(b[1] >> 6),
		Poll: b[1]&0x20 != 0, Final: b[1]&0x10 != 0,
		ControlIndependent: b[1]&0x08 != 0, Demand: b[1]&0x02 != 0,
		Multiplier:        b[2],
		MyDiscr:           binary.BigEndian.Uint32(b[4:]),
		YourDiscr:         binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx:      micros(b[12:]),
		RequiredMinRx:     micros(b[16:]),
		RequiredMinEchoRx: micros(b[20:]),
	}
	switch {
	case b[0]>>5 != 1:
		return Packet{}, ErrVersion
	case length < least || length > len(b):
		return Packet{}, ErrLength
	case p.Multiplier == 0:
		return Packet{}, ErrMultiplier
	case b[1]&0x01 != 0:
		return Packet{}, ErrMultipoint
	case p.MyDiscr == 0:
		return Packet{}, ErrMyDiscr
	case p.YourDiscr == 0 && p.State > StateDown:
		return Packet{}, ErrYourDiscr
	}
	p.raw = b[:length:length]
	if withAuth {
		p.auth = p.raw[headerLen:]
		if int(p.auth[1]) != len(p.auth) {
			return Packet{}, ErrAuth
		}
	}
	return p, nil
}

// AppendBinary appends the packet, without an authentication section, to b. It
// implements [encoding.BinaryAppender]. It does not judge the values: intervals are
// sent as whole microseconds from 0 to 2^32-1, and the error is always nil.
func (p *Packet) AppendBinary(b []byte) ([]byte, error) { return p.append(b), nil }

func (p *Packet) append(b []byte) []byte {
	flags := byte(p.State) << 6
	flags |= bit(p.Poll, 0x20) | bit(p.Final, 0x10) | bit(p.ControlIndependent, 0x08) | bit(p.Demand, 0x02)
	b = append(b, 1<<5|byte(p.Diag)&0x1f, flags, p.Multiplier, headerLen)
	b = binary.BigEndian.AppendUint32(b, p.MyDiscr)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscr)
	b = appendMicros(b, p.DesiredMinTx)
	b = appendMicros(b, p.RequiredMinRx)
	return appendMicros(b, p.RequiredMinEchoRx)
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}

func micros(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func appendMicros(b []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(min(max(d, 0), maxInterval)/time.Microsecond))
}
