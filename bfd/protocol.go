package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/be"
)

// The protocol between [Client] and [Serve], over a stream unix socket. Both
// sides send frames, integers in network byte order:
//
//	length  4 octets, of all that follows; 5 to 262144
//	type    1 octet
//	id      4 octets: a reply carries the id of its request, an event 0
//	body
//
// The client begins with hello, which says its version. The process speaks that version
// and the one before it; to a client of any other it replies with an error, and the client
// may try another one. Then the process sends an event for every session and one snapshot
// frame, and from then on events as they happen, folded as [Event] says while the client
// does not read. Every other request of the client has exactly one reply; a list has status
// frames before it. To a request that it does not know, or cannot read, the process replies
// with an error; a client ignores frames that it does not know.
//
// In bodies, a string is its length in 2 octets and its octets; an address its
// length in 1 octet (0, 4, 16) and its octets; a duration 8 octets of
// nanoseconds; a time 8 octets of nanoseconds since 1970; a list its length in 2
// octets and its elements.
//
// Version 2 added Err to events and to status frames.
const (
	protocolVersion = 2
	protocolOldest  = 1          // that is still spoken
	protocolMagic   = 0x48464244 // "HFBD"
	maxFrame        = 1 << 18
	frameHeader     = 9
)

// frameType is the type of a frame.
type frameType uint8

const (
	frameHello    frameType = 1 // magic (4), version (2), name; what follows is for later versions
	frameAdd      frameType = 2 // a SessionConfig
	frameRemove   frameType = 3 // a Key
	frameList     frameType = 4 // nothing
	frameSynced   frameType = 5 // nothing: drop what an earlier client of this name left and this one did not add
	frameHandover frameType = 6 // magic (4), version (2), in place of hello: see handover.go

	frameReply    frameType = 128 // an error text, empty for success
	frameStatus   frameType = 129 // a Status
	frameEvent    frameType = 130 // an Event
	frameSnapshot frameType = 131 // nothing: every session has had its event
	frameState    frameType = 132 // a part of what a successor gets
	frameUnsent   frameType = 133 // Unsent (8) of the status frame before it, if it is not 0
)

// Errors that cross the socket as text.
var (
	errProtocol  = errors.New("bfd: malformed frame")
	errVersion   = errors.New("bfd: protocol version not supported")
	errUnknown   = errors.New("bfd: unknown request")
	errNoHello   = errors.New("bfd: hello comes first")
	errManyConns = errors.New("bfd: too many connections")
)

// message is one frame.
type message struct {
	typ  frameType // what it is
	id   uint32    // of the request that it is, or answers; 0: neither
	body []byte    // the fields, encoded
}

// readFrame reads a frame into a buffer of its own, never longer than maxFrame.
func readFrame(r io.Reader) (message, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < frameHeader-4 || n > maxFrame {
		return message{}, errProtocol
	}
	m := message{typ: frameType(head[4]), id: binary.BigEndian.Uint32(head[5:]), body: make([]byte, n-(frameHeader-4))}
	_, err := io.ReadFull(r, m.body)
	return m, err
}

// encoder builds frames one after the other.
type encoder struct {
	version uint16 // of the protocol that the other side speaks
	b       []byte // finished frames, and the one under construction
	start   int    // offset of the frame under construction in b
}

// begin starts a frame: length (4, set by end), type (1), id (4).
func (e *encoder) begin(t frameType, id uint32) {
	e.start = len(e.b)
	e.b = append(e.b, 0, 0, 0, 0, byte(t))
	e.u32(id)
}

// end fills in the length. A frame that is too long is taken back.
func (e *encoder) end() error {
	n := len(e.b) - e.start - 4
	if n > maxFrame {
		e.b = e.b[:e.start]
		return fmt.Errorf("bfd: %d octets do not fit in a frame", n)
	}
	binary.BigEndian.PutUint32(e.b[e.start:], uint32(n))
	return nil
}

func (e *encoder) u8(v uint8)               { e.b = append(e.b, v) }
func (e *encoder) u16(v uint16)             { e.b = binary.BigEndian.AppendUint16(e.b, v) }
func (e *encoder) u32(v uint32)             { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)             { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) duration(v time.Duration) { e.u64(uint64(v)) }

func (e *encoder) time(v time.Time) { e.u64(uint64(v.UnixNano())) }

func (e *encoder) bool(v bool) { e.u8(bit(v, 1)) }

func (e *encoder) string(v string) {
	v = v[:min(len(v), 0xffff)]
	e.u16(uint16(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) addr(v netip.Addr) {
	b := v.AsSlice()
	e.u8(uint8(len(b)))
	e.b = append(e.b, b...)
}

// key appends a Key: Peer and Local (addresses), Interface and NetNS (strings), Multihop (1).
func (e *encoder) key(k Key) {
	e.addr(k.Peer)
	e.addr(k.Local)
	e.string(k.Interface)
	e.string(k.NetNS)
	e.bool(k.Multihop)
}

// config appends a SessionConfig:
//
//	Key
//	DesiredMinTx, RequiredMinRx (8 each), Multiplier (1)
//	Passive, AdminDown (1 each), MinTTL (1), Echo (1)
//	Auth Type (1), list of keys: ID (1), Secret (string)
//	list of next hops: ID, IfIndex (4 each), Gateway (address), list of Keys (Guards)
func (e *encoder) config(c *SessionConfig) {
	e.key(c.Key)
	e.duration(c.DesiredMinTx)
	e.duration(c.RequiredMinRx)
	e.u8(c.Multiplier)
	e.bool(c.Passive)
	e.bool(c.AdminDown)
	e.u8(c.MinTTL)
	e.bool(c.Echo)
	e.u8(uint8(c.Auth.Type))
	e.u16(uint16(len(c.Auth.Keys)))
	for _, k := range c.Auth.Keys {
		e.u8(k.ID)
		e.string(k.Secret)
	}
	e.u16(uint16(len(c.Failover)))
	for _, n := range c.Failover {
		e.u32(n.ID)
		e.u32(uint32(n.IfIndex))
		e.addr(n.Gateway)
		e.u16(uint16(len(n.Guards)))
		for _, k := range n.Guards {
			e.key(k)
		}
	}
}

// event appends an Event:
//
//	Key
//	State, Diag, RemoteDiag, Reason, RemoteC (1 each)
//	Time, Downs (8 each), Removed (1)
//	list of next hops: ID (4), Deleted (1), Err (string), Took (8)
//	Err (string), from version 2
func (e *encoder) event(v *Event) {
	e.key(v.Key)
	e.u8(uint8(v.State))
	e.u8(uint8(v.Diag))
	e.u8(uint8(v.RemoteDiag))
	e.u8(uint8(v.Reason))
	e.bool(v.RemoteC)
	e.time(v.Time)
	e.u64(v.Downs)
	e.bool(v.Removed)
	e.u16(uint16(len(v.Failover)))
	for _, f := range v.Failover {
		e.u32(f.ID)
		e.bool(f.Deleted)
		e.string(f.Err)
		e.duration(f.Took)
	}
	if e.version > 1 {
		e.string(v.Err)
	}
}

// status appends a Status:
//
//	Key
//	State, RemoteState, Diag, RemoteDiag, Reason, RemoteC (1 each)
//	Discr, RemoteDiscr (4 each)
//	DesiredMinTx, RequiredMinRx (8 each), Multiplier (1)
//	RemoteMinTx, RemoteMinRx (8 each), RemoteMultiplier (1)
//	TxInterval, DetectTime, Since, Downs, Sent, Received, Refused (8 each)
//	Err (string), from version 2
func (e *encoder) status(v *Status) {
	e.key(v.Key)
	e.u8(uint8(v.State))
	e.u8(uint8(v.RemoteState))
	e.u8(uint8(v.Diag))
	e.u8(uint8(v.RemoteDiag))
	e.u8(uint8(v.Reason))
	e.bool(v.RemoteC)
	e.u32(v.Discr)
	e.u32(v.RemoteDiscr)
	e.duration(v.DesiredMinTx)
	e.duration(v.RequiredMinRx)
	e.u8(v.Multiplier)
	e.duration(v.RemoteMinTx)
	e.duration(v.RemoteMinRx)
	e.u8(v.RemoteMultiplier)
	e.duration(v.TxInterval)
	e.duration(v.DetectTime)
	e.time(v.Since)
	e.u64(v.Downs)
	e.u64(v.Sent)
	e.u64(v.Received)
	e.u64(v.Refused)
	if e.version > 1 {
		e.string(v.Err)
	}
}

// decoder reads a body. Short is set if it ended too early.
type decoder struct {
	be.Cursor
	version uint16 // of the protocol that the other side speaks
}

func decode(version uint16, b []byte) *decoder { return &decoder{be.Cursor{B: b}, version} }

// err is errProtocol unless the body was exactly as long as expected.
func (d *decoder) err() error {
	if d.Short || len(d.B) != 0 {
		return errProtocol
	}
	return nil
}

func (d *decoder) u64() uint64 { return uint64(d.Uint32())<<32 | uint64(d.Uint32()) }

func (d *decoder) duration() time.Duration { return time.Duration(d.u64()) }

func (d *decoder) time() time.Time { return time.Unix(0, int64(d.u64())) }

func (d *decoder) bool() bool { return d.Uint8() != 0 }

func (d *decoder) string() string { return string(d.Next(int(d.Uint16()))) }

func (d *decoder) addr() netip.Addr {
	a, _ := netip.AddrFromSlice(d.Next(int(d.Uint8())))
	return a
}

func (d *decoder) key() Key {
	return Key{Peer: d.addr(), Local: d.addr(), Interface: d.string(), NetNS: d.string(), Multihop: d.bool()}
}

// list reads a length and calls f so many times, as long as there is something to
// read.
func (d *decoder) list(f func()) {
	for n := d.Uint16(); n > 0 && !d.Short; n-- {
		f()
	}
}

func (d *decoder) config() (c SessionConfig) {
	c.Key = d.key()
	c.DesiredMinTx, c.RequiredMinRx = d.duration(), d.duration()
	c.Multiplier, c.Passive, c.AdminDown, c.MinTTL, c.Echo = d.Uint8(), d.bool(), d.bool(), d.Uint8(), d.bool()
	c.Auth.Type = AuthType(d.Uint8())
	d.list(func() { c.Auth.Keys = append(c.Auth.Keys, AuthKey{d.Uint8(), d.string()}) })
	d.list(func() {
		n := NextHop{ID: d.Uint32(), IfIndex: int(int32(d.Uint32())), Gateway: d.addr()}
		d.list(func() { n.Guards = append(n.Guards, d.key()) })
		c.Failover = append(c.Failover, n)
	})
	return c
}

func (d *decoder) event() (v Event) {
	v.Key = d.key()
	v.State, v.Diag, v.RemoteDiag, v.Reason = State(d.Uint8()), Diag(d.Uint8()), Diag(d.Uint8()), Reason(d.Uint8())
	v.RemoteC, v.Time, v.Downs, v.Removed = d.bool(), d.time(), d.u64(), d.bool()
	d.list(func() {
		v.Failover = append(v.Failover, FailoverResult{ID: d.Uint32(), Deleted: d.bool(), Err: d.string(), Took: d.duration()})
	})
	if d.version > 1 {
		v.Err = d.string()
	}
	return v
}

func (d *decoder) status() (v Status) {
	v.Key = d.key()
	v.State, v.RemoteState, v.Diag, v.RemoteDiag, v.Reason = State(d.Uint8()), State(d.Uint8()), Diag(d.Uint8()), Diag(d.Uint8()), Reason(d.Uint8())
	v.RemoteC, v.Discr, v.RemoteDiscr = d.bool(), d.Uint32(), d.Uint32()
	v.DesiredMinTx, v.RequiredMinRx, v.Multiplier = d.duration(), d.duration(), d.Uint8()
	v.RemoteMinTx, v.RemoteMinRx, v.RemoteMultiplier = d.duration(), d.duration(), d.Uint8()
	v.TxInterval, v.DetectTime, v.Since = d.duration(), d.duration(), d.time()
	v.Downs, v.Sent, v.Received, v.Refused = d.u64(), d.u64(), d.u64(), d.u64()
	if d.version > 1 {
		v.Err = d.string()
	}
	return v
}
