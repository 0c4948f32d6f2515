package fib

import "net/netip"

// The encoder appends netlink messages to a buffer: thin on purpose, since the
// bulk of what this package does is here. Integers are in host byte order,
// addresses in network order, everything is padded to 4 octets.

// begin appends a message header; end sets its length.
func begin(b []byte, typ, flags uint16, seq uint32) []byte {
	b = native.AppendUint32(b, 0)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	return native.AppendUint32(b, 0)
}

func end(b []byte, start int) []byte {
	native.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func attr(b []byte, typ uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(4+len(value)))
	b = native.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

func attr8(b []byte, typ uint16, v uint8) []byte {
	b = native.AppendUint16(b, 5)
	b = native.AppendUint16(b, typ)
	return append(b, v, 0, 0, 0)
}

func attr16(b []byte, typ, v uint16) []byte {
	b = native.AppendUint16(b, 6)
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, v)
	return append(b, 0, 0)
}

func attr32(b []byte, typ uint16, v uint32) []byte {
	b = native.AppendUint16(b, 8)
	b = native.AppendUint16(b, typ)
	return native.AppendUint32(b, v)
}

func attrString(b []byte, typ uint16, s string) []byte {
	b = native.AppendUint16(b, uint16(4+len(s)+1))
	b = native.AppendUint16(b, typ)
	b = append(append(b, s...), 0)
	for len(b)&3 != 0 {
		b = append(b, 0)
	}
	return b
}

func attrAddr(b []byte, typ uint16, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return attr(b, typ, v[:])
	}
	v := a.As16()
	return attr(b, typ, v[:])
}

// appendVia appends RTA_VIA: a family, then the address.
func appendVia(b []byte, a netip.Addr) []byte {
	var v [18]byte
	native.PutUint16(v[:], uint16(familyOf(a)))
	n := 2 + copy(v[2:], a.AsSlice())
	return attr(b, attrVia, v[:n])
}

// nest starts a nested attribute; unnest sets its length.
func nest(b []byte, typ uint16) []byte {
	b = native.AppendUint16(b, 0)
	return native.AppendUint16(b, typ)
}

func unnest(b []byte, start int) []byte {
	native.PutUint16(b[start:], uint16(len(b)-start))
	return b
}
