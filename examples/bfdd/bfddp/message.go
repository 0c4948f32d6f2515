package bfddp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Versions of the protocol that are understood.
const (
	OldestVersion = 1
	NewestVersion = 2
)

// MaxMessage is the length of the longest message that is read. The longest known one has
// 356 octets.
const MaxMessage = 4096

// Type is the type of a message.
type Type uint16

// The types of bfdd/bfddp_packet.h.
const (
	TypeEchoRequest    Type = 0 // is the other side alive? An Echo
	TypeEchoReply      Type = 1 // an Echo
	TypeAdd            Type = 2 // bfdd adds or changes a session: a Session
	TypeDelete         Type = 3 // bfdd deletes one: a Session
	TypeState          Type = 4 // the data plane reports a State
	TypeCounterRequest Type = 5 // bfdd asks for the counters of the session LID
	TypeCounters       Type = 6 // the answer, with the same id: Counters
)

var typeNames = [...]string{"echo request", "echo reply", "add", "delete", "state", "counter request", "counters"}

// String returns the type in words.
func (t Type) String() string { return enum.String("Type", typeNames[:], t) }

// Message is one message. Which of the fields behind ID counts is said by Type; the others
// are zero. A type that is not known has none.
type Message struct {
	Version uint8  // of the protocol
	Type    Type   // what it is
	ID      uint16 // pairs an answer with its request; 0: neither

	Echo     Echo     // of TypeEchoRequest and TypeEchoReply
	Session  Session  // of TypeAdd and TypeDelete
	State    State    // of TypeState
	LID      uint32   // of TypeCounterRequest
	Counters Counters // of TypeCounters
}

// Echo has a time of each side. Who answers keeps that of the other side.
type Echo struct {
	PlaneTime uint64 // of the data plane, in a unit of its choice
	BFDdTime  uint64 // of bfdd, in microseconds since 1970
}

// Flags of a Session.
type Flags uint32

// The flags of bfdd/bfddp_packet.h.
const (
	FlagMultihop Flags = 1 << iota // RFC 5883, Section 2
	FlagDemand                     // Demand mode; bfdd never asks for it
	FlagC                          // bfdd would set the C bit
	FlagEcho                       // the echo function
	FlagIPv6                       // the addresses are IPv6
	FlagPassive                    // wait for the remote system
	FlagShutdown                   // administratively down
)

// Session is what bfdd wants of a session. Times are in microseconds.
type Session struct {
	Flags         Flags      // see there
	Local         netip.Addr // source address; zero: bfdd leaves it to the data plane
	Peer          netip.Addr // address of the remote system
	LID           uint32     // by which bfdd names the session, and its discriminator where bfdd runs it itself
	MinTx         uint32     // desired minimum interval of sending
	MinRx         uint32     // required minimum interval of receiving
	MinEchoTx     uint32     // likewise of the echo function
	MinEchoRx     uint32     //
	HoldTime      uint32     // in milliseconds, before the session starts; bfdd sends 0
	TTL           uint8      // the least that is accepted
	Multiplier    uint8      // detection multiplier
	IfIndex       uint32     // 0: not bound to an interface
	Interface     string     // its name; empty: not bound, up to 63 octets
	Mode          uint8      // from version 2: 0 is BFD, anything else one of the seamless kinds (RFC 7880, Section 1)
	Encapsulation uint8      // from version 2: 0 is none, 1 SRv6
}

// State reports the state of a session.
type State struct {
	LID             uint32      // bfdd's id of the session
	RemoteDiscr     uint32      // discriminator of the remote system
	RemoteFlags     RemoteFlags // see there
	RemoteMinTx     uint32      // its desired minimum interval of sending, in microseconds
	RemoteMinRx     uint32      // its required minimum interval of receiving
	RemoteMinEchoRx uint32      // likewise of the echo function
	State           uint8       // of the session itself, as in RFC 5880, Section 4.1
	RemoteDiag      uint8       // the remote system's diagnostic
	RemoteMult      uint8       // its detection multiplier
}

// RemoteFlags are bits of the remote system's last packet.
type RemoteFlags uint32

// The flags of bfdd/bfddp_packet.h.
const (
	RemoteC      RemoteFlags = 1 << iota // Control Plane Independent
	RemoteDemand                         // Demand
)

// Counters are what went over the wire for a session.
type Counters struct {
	LID                         uint32 // bfdd's id of the session
	ControlInBytes, ControlIn   uint64 // octets and packets of BFD that were accepted
	ControlOutBytes, ControlOut uint64 // that were sent
	EchoInBytes, EchoIn         uint64 // likewise of the echo function
	EchoOutBytes, EchoOut       uint64
}

// Lengths of a header and of what follows it.
const (
	headerLen   = 8
	echoLen     = 16
	sessionLen  = 132
	session2Len = 348
	stateLen    = 28
	requestLen  = 4
	countersLen = 72
	nameLen     = 64
)

// Errors of Parse. After one of them nothing in the stream can be trusted.
var (
	ErrVersion = errors.New("bfddp: version not known")
	ErrLength  = errors.New("bfddp: length contradicts the type")
)

// Parse decodes the message at the beginning of b and returns its length. The length is 0 if
// b has not got all of it. The message does not alias b.
//
// A header:
//
//	version (1), zero (1), type (2)    0
//	id (2), length (2)                 4
func Parse(b []byte) (m Message, n int, err error) {
	if len(b) < headerLen {
		return Message{}, 0, nil
	}
	m.Version, m.Type, m.ID = b[0], Type(binary.BigEndian.Uint16(b[2:])), binary.BigEndian.Uint16(b[4:])
	n = int(binary.BigEndian.Uint16(b[6:]))
	switch {
	case m.Version < OldestVersion || m.Version > NewestVersion:
		return Message{}, 0, fmt.Errorf("%w: %d", ErrVersion, m.Version)
	case n < headerLen+m.bodyLen() || n > MaxMessage:
		return Message{}, 0, fmt.Errorf("%w: %v of %d octets", ErrLength, m.Type, n)
	case len(b) < n:
		return Message{}, 0, nil
	}
	m.parseBody(b[headerLen:n])
	return m, n, nil
}

// bodyLen is how much follows the header, at the least.
func (m *Message) bodyLen() int {
	switch m.Type {
	case TypeEchoRequest, TypeEchoReply:
		return echoLen
	case TypeAdd, TypeDelete:
		if m.Version > 1 {
			return session2Len
		}
		return sessionLen
	case TypeState:
		return stateLen
	case TypeCounterRequest:
		return requestLen
	case TypeCounters:
		return countersLen
	}
	return 0
}

func (m *Message) parseBody(b []byte) {
	switch m.Type {
	case TypeEchoRequest, TypeEchoReply:
		m.Echo = Echo{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	case TypeAdd, TypeDelete:
		m.Session = parseSession(b, m.Version)
	case TypeState:
		m.State = parseState(b)
	case TypeCounterRequest:
		m.LID = binary.BigEndian.Uint32(b)
	case TypeCounters:
		m.Counters = parseCounters(b)
	}
}

// parseSession decodes a session:
//
//	flags (4)                                           0
//	source, destination (16 each; IPv4: the first 4)    4
//	lid, min tx, min rx (4 each)                       36
//	min echo tx, min echo rx, hold time (4 each)       48
//	ttl, detection multiplier (1 each), zero (2)       60
//	interface index (4), interface name (64)           64
//	mode, encapsulation (1 each), ...                 132, version 2
func parseSession(b []byte, version uint8) Session {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	s := Session{Flags: Flags(word(0)), LID: word(36), MinTx: word(40), MinRx: word(44), MinEchoTx: word(48), MinEchoRx: word(52), HoldTime: word(56),
		TTL: b[60], Multiplier: b[61], IfIndex: word(64)}
	s.Local, s.Peer = s.parseAddr(b[4:20]), s.parseAddr(b[20:36])
	name, _, _ := bytes.Cut(b[68:68+nameLen-1], []byte{0}) // the last octet ends it in any case
	s.Interface = string(name)
	if version > 1 {
		s.Mode, s.Encapsulation = b[132], b[133]
	}
	return s
}

// parseAddr returns the zero Addr for an address that is all zeros.
func (s *Session) parseAddr(b []byte) netip.Addr {
	a := netip.AddrFrom16([16]byte(b))
	if s.Flags&FlagIPv6 == 0 {
		a = netip.AddrFrom4([4]byte(b))
	}
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// parseState decodes a state:
//
//	lid, remote discriminator, remote flags (4 each)         0
//	remote min tx, min rx, min echo rx (4 each)             12
//	state, diagnostic, detection multiplier, free (1 each)  24
func parseState(b []byte) State {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	return State{word(0), word(4), RemoteFlags(word(8)), word(12), word(16), word(20), b[24], b[25], b[26]}
}

// parseCounters decodes counters:
//
//	lid, free (4 each)                          0
//	control in: octets, packets (8 each)        8
//	control out, echo in, echo out: likewise   24
func parseCounters(b []byte) Counters {
	word := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	return Counters{binary.BigEndian.Uint32(b), word(8), word(16), word(24), word(32), word(40), word(48), word(56), word(64)}
}

// AppendBinary appends the message to b. It implements encoding.BinaryAppender. Of a type that
// is not known it appends the header. A version that is not known, an address of the
// wrong family and a name of more than 63 octets are errors.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	if m.Version < OldestVersion || m.Version > NewestVersion {
		return b, fmt.Errorf("%w: %d", ErrVersion, m.Version)
	}
	start := len(b)
	b = append(b, m.Version, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(m.Type))
	b = binary.BigEndian.AppendUint16(b, m.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(headerLen+m.bodyLen()))
	switch m.Type {
	case TypeEchoRequest, TypeEchoReply:
		return words64(b, m.Echo.PlaneTime, m.Echo.BFDdTime), nil
	case TypeAdd, TypeDelete:
		b, err := m.Session.append(b, m.Version)
		if err != nil {
			return b[:start], err
		}
		return b, nil
	case TypeState:
		s := &m.State
		b = words32(b, s.LID, s.RemoteDiscr, uint32(s.RemoteFlags), s.RemoteMinTx, s.RemoteMinRx, s.RemoteMinEchoRx)
		return append(b, s.State, s.RemoteDiag, s.RemoteMult, 0), nil
	case TypeCounterRequest:
		return words32(b, m.LID), nil
	case TypeCounters:
		c := &m.Counters
		return words64(words32(b, c.LID, 0), c.ControlInBytes, c.ControlIn, c.ControlOutBytes, c.ControlOut, c.EchoInBytes, c.EchoIn, c.EchoOutBytes, c.EchoOut), nil
	}
	return b, nil
}

func (s *Session) append(b []byte, version uint8) (_ []byte, err error) {
	if len(s.Interface) >= nameLen {
		return b, fmt.Errorf("bfddp: interface name of %d octets", len(s.Interface))
	}
	b = words32(b, uint32(s.Flags))
	for _, a := range []netip.Addr{s.Local, s.Peer} {
		if a.IsValid() && a.Is4() != (s.Flags&FlagIPv6 == 0) {
			return b, fmt.Errorf("bfddp: %v: the flag of the family says otherwise", a)
		}
		var octets [16]byte
		copy(octets[:], a.AsSlice())
		b = append(b, octets[:]...)
	}
	b = words32(b, s.LID, s.MinTx, s.MinRx, s.MinEchoTx, s.MinEchoRx, s.HoldTime)
	b = append(b, s.TTL, s.Multiplier, 0, 0)
	b = words32(b, s.IfIndex)
	b = append(b, s.Interface...)
	b = append(b, make([]byte, nameLen-len(s.Interface))...)
	if version > 1 {
		b = append(b, s.Mode, s.Encapsulation)
		b = append(b, make([]byte, session2Len-sessionLen-2)...)
	}
	return b, nil
}

func words32(b []byte, list ...uint32) []byte {
	for _, v := range list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func words64(b []byte, list ...uint64) []byte {
	for _, v := range list {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}
