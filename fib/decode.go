package fib

import (
	"errors"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

var errShort = errors.New("truncated netlink message")

// message is one netlink message; it aliases the buffer it was read into.
type message struct {
	typ, flags uint16
	seq, pid   uint32
	body       []byte
}

// messages iterates over the messages in a datagram. It stops at the first
// message that does not fit.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= sizeHeader {
			n := int(native.Uint32(b))
			if n < sizeHeader || n > len(b) {
				return
			}
			m := message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), native.Uint32(b[12:]), b[sizeHeader:n]}
			if !yield(m) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// next splits the first attribute off b. ok is false at the end and, then with
// rest not empty, when the attribute is malformed.
func next(b []byte) (typ uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	n := int(native.Uint16(b))
	if n < 4 || n > len(b) {
		return 0, nil, b, false
	}
	return native.Uint16(b[2:]) & attrMask, b[4:n], b[min(align(n), len(b)):], true
}

func u32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return native.Uint32(v)
}

func u16(v []byte) uint16 {
	if len(v) < 2 {
		return 0
	}
	return native.Uint16(v)
}

func u8(v []byte) uint8 {
	if len(v) < 1 {
		return 0
	}
	return v[0]
}

func text(v []byte) string {
	for len(v) > 0 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return string(v)
}

func address(v []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(v)
	return a
}

// reply is a decoded NLMSG_ERROR or NLMSG_DONE.
type reply struct {
	seq  uint32
	err  error // nil: acknowledged
	text string
}

// parseReply decodes an error message, with or without the request in it, and
// its extended acknowledgement.
func parseReply(m message) (reply, error) {
	if len(m.body) < 4 {
		return reply{}, errShort
	}
	r := reply{seq: m.seq}
	if errno := -int32(native.Uint32(m.body)); errno != 0 {
		r.err = unix.Errno(errno)
	}
	rest := m.body[4:]
	if m.typ == unix.NLMSG_ERROR {
		if len(rest) < sizeHeader {
			return reply{}, errShort
		}
		skip := sizeHeader
		if m.flags&unix.NLM_F_CAPPED == 0 {
			skip = max(skip, align(int(native.Uint32(rest))))
		}
		rest = rest[min(skip, len(rest)):]
	}
	if m.flags&unix.NLM_F_ACK_TLVS != 0 {
		for typ, v, rest, ok := next(rest); ok; typ, v, rest, ok = next(rest) {
			if typ == 1 { // NLMSGERR_ATTR_MSG
				r.text = text(v)
			}
		}
	}
	return r, nil
}
