package ndp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// pref64Bits are the prefix lengths by their code (RFC 8781, Section 4).
var pref64Bits = [...]int{96, 64, 56, 48, 40, 32}

func appendPREF64(b []byte, p PREF64) []byte {
	for code, n := range pref64Bits {
		if n != p.Prefix.Bits() {
			continue
		}
		units := min((max(p.Lifetime, 0)+8*time.Second-1)/(8*time.Second), 1<<13-1)
		if p.Lifetime == Infinity {
			units = 1<<13 - 1
		}
		b = append(b, uint8(OptPREF64), 2)
		b = binary.BigEndian.AppendUint16(b, uint16(units)<<3|uint16(code))
		a := p.Prefix.Masked().Addr().As16()
		return append(b, a[:12]...)
	}
	return b
}

// parsePREF64 reads, after type and length: Scaled Lifetime (13 bits, units of 8 s), Prefix
// Length Code (3 bits), the highest 96 bits of the prefix (12) (RFC 8781, Section 4).
func parsePREF64(d []byte) (p PREF64, ok bool) {
	if len(d) != 14 || int(d[1]&7) >= len(pref64Bits) {
		return p, false
	}
	var a [16]byte
	copy(a[:], d[2:])
	v := binary.BigEndian.Uint16(d)
	return PREF64{
		Prefix:   netip.PrefixFrom(netip.AddrFrom16(a), pref64Bits[v&7]).Masked(),
		Lifetime: time.Duration(v>>3) * 8 * time.Second,
	}, true
}
