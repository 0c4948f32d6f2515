package rtnl

import (
	"errors"
	"iter"
	"net/netip"
)

// ErrMalformed says that a message or an attribute does not fit into what it is in, or is
// shorter than it must be.
var ErrMalformed = errors.New("malformed netlink message")

// Message is one netlink message.
type Message struct {
	Type, Flags uint16
	Seq         uint32
	Port        uint32 // the port id of the socket that caused it; 0: the kernel itself
	Body        []byte // the fixed header and the attributes; aliases the datagram
}

// Messages iterates over the messages in a datagram. It stops at the first one that does
// not fit.
func Messages(b []byte) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for {
			m, rest, ok := next(b)
			if !ok || !yield(m) {
				return
			}
			b = rest
		}
	}
}

// next splits the first message off b. ok is false at the end, and if the message does not
// fit.
func next(b []byte) (m Message, rest []byte, ok bool) {
	if len(b) < SizeHeader {
		return m, nil, false
	}
	n := native.Uint32(b)
	if n < SizeHeader || uint64(n) > uint64(len(b)) {
		return m, nil, false
	}
	m = Message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), native.Uint32(b[12:]), b[SizeHeader:n]}
	return m, b[min(Align(int(n)), len(b)):], true
}

// Align returns n, rounded up to a multiple of 4: the space that n octets take in a message.
func Align(n int) int { return (n + 3) &^ 3 }

// Malformed is the type that [Attributes] ends with at an attribute that does not fit. No
// attribute has it: types have 14 bits.
const Malformed = 0xffff

// Attributes iterates over attributes, by their types without the flags NLA_F_NESTED and
// NLA_F_NET_BYTEORDER:
//
//	for typ, v := range rtnl.Attributes(body[rtnl.SizeRoute:]) {
//		switch typ {
//		case rtnl.RTA_OIF:
//			ifindex = int(v.Uint32())
//		case rtnl.Malformed:
//			return rtnl.ErrMalformed
//		}
//	}
//
// It stops at an attribute that does not fit into b or is shorter than its header, with the
// type Malformed. Less than 4 octets at the end are padding. The loop compiles to one
// without calls or memory (a cursor with methods takes five times as long).
func Attributes(b []byte) iter.Seq2[uint16, Value] {
	return func(yield func(uint16, Value) bool) {
		for len(b) >= 4 {
			typ, n := native.Uint16(b[2:])&attrMask, int(native.Uint16(b))
			if n < 4 || n > len(b) {
				typ, n, b = Malformed, 4, b[:4]
			}
			v := Value(b[4:n])
			b = b[min(Align(n), len(b)):]
			if !yield(typ, v) { // in one place: a loop's body is inlined then
				return
			}
		}
	}
}

// Value is the value of an attribute; it aliases the datagram. A value that is shorter
// than what is asked for reads as zero.
type Value []byte

// Uint8 returns the first octet.
func (v Value) Uint8() uint8 {
	if len(v) < 1 {
		return 0
	}
	return v[0]
}

// Uint16 returns 16 bits in host byte order.
func (v Value) Uint16() uint16 {
	if len(v) < 2 {
		return 0
	}
	return native.Uint16(v)
}

// Uint32 returns 32 bits in host byte order.
func (v Value) Uint32() uint32 {
	if len(v) < 4 {
		return 0
	}
	return native.Uint32(v)
}

// Int32 returns 32 bits in host byte order, for an interface index for example.
func (v Value) Int32() int32 { return int32(v.Uint32()) }

// Text returns a string without the zero octets at its end.
func (v Value) Text() string {
	for len(v) > 0 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return string(v)
}

// Addr returns an address of 4 or 16 octets, the zero Addr if the value has another length.
func (v Value) Addr() netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

// Via returns the address of struct rtvia; see AppendVia.
func (v Value) Via() netip.Addr {
	if len(v) < 2 {
		return netip.Addr{}
	}
	return v[2:].Addr()
}

// Attributes iterates over the attributes within the value.
func (v Value) Attributes() iter.Seq2[uint16, Value] { return Attributes(v) }
