package rtnl

import (
	"encoding/binary"
	"net/netip"
)

// The encoder appends to a buffer, as append does, and allocates only if that is
// too small:
//
//	at := len(b)
//	b = rtnl.Begin(b, rtnl.RTM_NEWROUTE, flags, seq)
//	b = append(b, ...) // struct rtmsg
//	b = rtnl.AppendUint32(b, rtnl.RTA_OIF, 2)
//	b = rtnl.End(b, at)

var native = binary.NativeEndian

// MaxMessage is the length of the longest message in octets that [End] completes. No
// attribute in such a message is longer than what its length field, of 16 bits, can say.
const MaxMessage = 1<<16 - 1

// Begin appends the header of a request or notification without its length, which End
// fills in.
func Begin(b []byte, typ, flags uint16, seq uint32) []byte {
	b = native.AppendUint32(b, 0)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	return native.AppendUint32(b, 0) // nlmsg_pid: the kernel knows who sends
}

// End sets the length of the message that begins at b[start:] and ends b. A message of
// more than MaxMessage octets is taken back: nothing of it is left behind b[:start],
// and [Writer.Add] and [Exchange] report ErrTooLong in its place.
func End(b []byte, start int) []byte {
	n := len(b) - start
	if n > MaxMessage {
		return b[:start]
	}
	native.PutUint32(b[start:], uint32(n))
	return b
}

// Nest begins an attribute that contains others, or an array; Unnest ends it.
func Nest(b []byte, typ uint16) []byte {
	b = native.AppendUint16(b, 0)
	return native.AppendUint16(b, typ)
}

// Unnest sets the length of the attribute, or of the struct rtnexthop, that begins at
// b[start:] and ends b.
func Unnest(b []byte, start int) []byte {
	native.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// AppendBytes appends an attribute.
func AppendBytes(b []byte, typ uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(value)))
	b = native.AppendUint16(b, typ)
	return pad(append(b, value...))
}

// AppendString appends an attribute with a string and the zero octet behind it.
func AppendString(b []byte, typ uint16, s string) []byte {
	b = native.AppendUint16(b, uint16(4+len(s)+1))
	b = native.AppendUint16(b, typ)
	return pad(append(append(b, s...), 0))
}

// pad fills b up to a multiple of 4 octets: all that was appended before is padded.
func pad(b []byte) []byte {
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

// AppendUint8 appends an attribute of one octet.
func AppendUint8(b []byte, typ uint16, v uint8) []byte {
	b = native.AppendUint16(b, 5)
	b = native.AppendUint16(b, typ)
	return append(b, v, 0, 0, 0)
}

// AppendUint16 appends an attribute of 16 bits in host byte order.
func AppendUint16(b []byte, typ, v uint16) []byte {
	b = native.AppendUint16(b, 6)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, v)
	return append(b, 0, 0)
}

// AppendUint32 appends an attribute of 32 bits in host byte order.
func AppendUint32(b []byte, typ uint16, v uint32) []byte {
	b = native.AppendUint16(b, 8)
	b = native.AppendUint16(b, typ)
	return native.AppendUint32(b, v)
}

// AppendAddr appends an attribute with an address of 4 or 16 octets. Its zone is left
// out; an IPv4-mapped address has 16.
func AppendAddr(b []byte, typ uint16, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return AppendBytes(b, typ, v[:])
	}
	v := a.As16()
	return AppendBytes(b, typ, v[:])
}

// AppendVia appends struct rtvia, a gateway of another family than its route's
// (RFC 8950, Section 4): an address family of 16 bits, then the address.
func AppendVia(b []byte, typ uint16, a netip.Addr) []byte {
	var v [18]byte
	native.PutUint16(v[:], uint16(FamilyOf(a)))
	n := 2
	if a.Is4() {
		p := a.As4()
		n += copy(v[2:], p[:])
	} else {
		p := a.As16()
		n += copy(v[2:], p[:])
	}
	return AppendBytes(b, typ, v[:n])
}

// FamilyOf returns AF_INET for an IPv4 address and AF_INET6 for any other.
func FamilyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return AF_INET
	}
	return AF_INET6
}
