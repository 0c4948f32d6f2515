package wire

import (
	"encoding/binary"
	"net/netip"
)

// each4 is All for IPv4: Path Identifier (4) with ADD-PATH, Length in bits (1), Prefix (0 to 4);
// repeated (RFC 4271, Section 4.3; RFC 7911, Section 3).
func each4(b []byte, addPath bool, yield func(NLRI, error) bool) {
	var a [4]byte
	for i := 0; i < len(b); {
		var id uint32
		if addPath {
			if len(b)-i < 5 {
				yield(NLRI{}, errNLRI)
				return
			}
			id = binary.BigEndian.Uint32(b[i:])
			i += 4
		}
		bits := uint(b[i])
		i++
		size := int(bits+7) >> 3
		if bits > 32 || len(b)-i < size {
			yield(NLRI{}, errNLRI)
			return
		}
		var v uint32
		if len(b)-i >= 4 { // nearly always: read more than is needed
			v = binary.BigEndian.Uint32(b[i:])
		} else {
			for j, x := range b[i:] {
				v |= uint32(x) << (24 - 8*j)
			}
		}
		i += size
		v &= uint32(^uint64(0) << (32 - bits))
		var err error
		if v >= 127<<24 && notUnicast4(v, bits) {
			err = ErrNotUnicast
		}
		binary.BigEndian.PutUint32(a[:], v)
		if !yield(NLRI{netip.PrefixFrom(netip.AddrFrom4(a), int(bits)), id}, err) {
			return
		}
	}
}

// notUnicast4 reports whether a prefix is loopback or multicast. The rest of 240.0.0.0/4 may one day be used.
func notUnicast4(v uint32, bits uint) bool {
	return v>>28 == 14 && bits >= 4 || v>>24 == 127 && bits >= 8
}

// each6 is All for IPv6: Path Identifier (4) with ADD-PATH, Length in bits (1), Prefix (0 to
// 16); repeated (RFC 4760, Section 5; RFC 7911, Section 3).
func each6(b []byte, addPath bool, yield func(NLRI, error) bool) {
	for len(b) > 0 {
		var id uint32
		if addPath {
			if len(b) < 5 {
				yield(NLRI{}, errNLRI)
				return
			}
			id = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		bits := uint(b[0])
		size := int(bits+7) >> 3
		if bits > 128 || len(b) <= size {
			yield(NLRI{}, errNLRI)
			return
		}
		var a [16]byte
		if len(b) >= 17 {
			a = [16]byte(b[1:17])
		} else {
			copy(a[:], b[1:])
		}
		b = b[1+size:]
		mask6(&a, bits)
		n := NLRI{netip.PrefixFrom(netip.AddrFrom16(a), int(bits)), id}
		var err error
		if (a[0] >= 0xfe || a[0] == 0) && notUnicast6(&a, bits) {
			err = ErrNotUnicast
		}
		if !yield(n, err) {
			return
		}
	}
}

// notUnicast6 reports whether a prefix is multicast, link-local, loopback, or IPv4-mapped. The
// last stand for IPv4 nodes and occur in no packet (RFC 4291, Section 2.5.5.2; RFC 5156, Section 2.2).
func notUnicast6(a *[16]byte, bits uint) bool {
	switch a[0] {
	case 0xff:
		return bits >= 8
	case 0xfe:
		return a[1]&0xc0 == 0x80 && bits >= 10
	}
	return bits >= 96 && netip.AddrFrom16(*a).Is4In6() || bits == 128 && netip.AddrFrom16(*a).IsLoopback()
}

// mask6 clears what follows the first bits bits of a.
func mask6(a *[16]byte, bits uint) {
	hi, lo := ^uint64(0), ^uint64(0)
	if bits < 64 {
		hi, lo = ^(^uint64(0) >> bits), 0
	} else {
		lo = ^(^uint64(0) >> (bits - 64))
	}
	binary.BigEndian.PutUint64(a[:8], binary.BigEndian.Uint64(a[:8])&hi)
	binary.BigEndian.PutUint64(a[8:], binary.BigEndian.Uint64(a[8:])&lo)
}
