package ndp

import (
	"encoding/binary"
	"net/netip"
)

func appendPrefix(b []byte, p Prefix) []byte {
	flags := uint8(0)
	if p.OnLink {
		flags |= 0x80
	}
	if p.Autonomous {
		flags |= 0x40
	}
	b = append(b, uint8(OptPrefix), 4, uint8(p.Prefix.Bits()), flags)
	b = binary.BigEndian.AppendUint32(b, seconds(p.Valid))
	b = binary.BigEndian.AppendUint32(b, seconds(p.Preferred))
	return appendAddr(pad(b, 4), p.Prefix.Masked().Addr())
}

// parsePrefix reads, after type and length: Prefix Length (1), L, A and 6 bits (1), Valid
// Lifetime (4), Preferred Lifetime (4), reserved (4), Prefix (16) (RFC 4861, Section 4.6.2).
func parsePrefix(d []byte) (p Prefix, ok bool) {
	if len(d) != 30 || d[0] > 128 {
		return p, false
	}
	return Prefix{
		Prefix:     netip.PrefixFrom(addr(d[14:]), int(d[0])).Masked(),
		OnLink:     d[1]&0x80 != 0,
		Autonomous: d[1]&0x40 != 0,
		Valid:      lifetime(binary.BigEndian.Uint32(d[2:])),
		Preferred:  lifetime(binary.BigEndian.Uint32(d[6:])),
	}, true
}

func appendRoute(b []byte, r Route) []byte {
	n := (r.Prefix.Bits() + 63) / 64 * 8 // octets of prefix: 0, 8 or 16
	b = append(b, uint8(OptRoute), uint8(1+n/8), uint8(r.Prefix.Bits()), r.Preference.bits())
	b = binary.BigEndian.AppendUint32(b, seconds(r.Lifetime))
	a := r.Prefix.Masked().Addr().As16()
	return append(b, a[:n]...)
}

// parseRoute reads, after type and length: Prefix Length (1), 3 bits, Prf (2 bits), 3 bits,
// Route Lifetime (4), Prefix (0, 8 or 16) (RFC 4191, Section 2.3).
func parseRoute(d []byte) (r Route, ok bool) {
	if len(d) < 6 || len(d) > 22 || d[0] > 128 || int(d[0]) > (len(d)-6)*8 || d[1]&0x18 == 0x10 {
		return r, false
	}
	var a [16]byte
	copy(a[:], d[6:])
	return Route{
		Prefix:     netip.PrefixFrom(netip.AddrFrom16(a), int(d[0])).Masked(),
		Preference: preference(d[1]),
		Lifetime:   lifetime(binary.BigEndian.Uint32(d[2:])),
	}, true
}
