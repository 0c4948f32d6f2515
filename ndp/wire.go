package ndp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// What is wrong with a message; all wrap ErrMessage.
var (
	errTooShort   = fmt.Errorf("%w: too short for its type", ErrMessage)
	errOptionZero = fmt.Errorf("%w: option of length zero", ErrMessage)
	errOptionLong = fmt.Errorf("%w: option longer than the packet", ErrMessage)
	errTarget     = fmt.Errorf("%w: multicast target", ErrMessage)
	errLinkAddr   = fmt.Errorf("%w: source link-layer address from the unspecified address", ErrMessage)
	errOverride   = fmt.Errorf("%w: redirect target is neither a router nor the destination", ErrMessage)
)

// nextOption takes the option at the start of b; data is what follows type and
// length. RFC 4861, Section 4.6: an option of length zero makes the packet invalid.
func nextOption(b []byte) (t OptionType, data, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, nil, errOptionLong
	}
	n := int(b[1]) * 8
	switch {
	case n == 0:
		return 0, nil, nil, errOptionZero
	case n > len(b):
		return 0, nil, nil, errOptionLong
	}
	return OptionType(b[0]), b[2:n:n], b[n:], nil
}

// appendOption appends type, length and data, padded with zeros to whole units.
func appendOption(b []byte, t OptionType, data []byte) []byte {
	units := (len(data) + 2 + 7) / 8
	b = append(b, uint8(t), uint8(units))
	b = append(b, data...)
	return pad(b, units*8-2-len(data))
}

func pad(b []byte, n int) []byte {
	for range n {
		b = append(b, 0)
	}
	return b
}

func appendLinkAddr(b []byte, t OptionType, m MAC) []byte {
	if m.IsZero() {
		return b
	}
	b = append(b, uint8(t), 1)
	return append(b, m[:]...)
}

// linkAddr reads a link-layer address option of Ethernet's length.
func linkAddr(data []byte) (MAC, bool) {
	if len(data) != 6 {
		return MAC{}, false
	}
	return MAC(data), true
}

func appendAddr(b []byte, a netip.Addr) []byte {
	x := a.As16()
	return append(b, x[:]...)
}

func addr(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])) }

const infinite = 1<<32 - 1

// seconds is d as a 32-bit lifetime.
func seconds(d time.Duration) uint32 {
	switch s := d / time.Second; {
	case s < 0:
		return 0
	case s >= infinite:
		return infinite
	default:
		return uint32(s)
	}
}

func lifetime(v uint32) time.Duration {
	if v == infinite {
		return Infinity
	}
	return time.Duration(v) * time.Second
}

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

func appendRDNSS(b []byte, r RDNSS) []byte {
	if len(r.Servers) == 0 || len(r.Servers) > 127 {
		return b
	}
	b = append(b, uint8(OptRDNSS), uint8(1+2*len(r.Servers)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, seconds(r.Lifetime))
	for _, s := range r.Servers {
		b = appendAddr(b, s)
	}
	return b
}

func parseRDNSS(d []byte) (r RDNSS, ok bool) {
	if len(d) < 22 || len(d)%16 != 6 {
		return r, false
	}
	r.Lifetime = lifetime(binary.BigEndian.Uint32(d[2:]))
	for d = d[6:]; len(d) > 0; d = d[16:] {
		r.Servers = append(r.Servers, addr(d))
	}
	return r, true
}

func appendDNSSL(b []byte, l DNSSL) []byte {
	var names []byte
	for _, name := range l.Domains {
		names = appendName(names, name)
	}
	if len(names) == 0 || len(names) > 255*8-8 {
		return b
	}
	data := binary.BigEndian.AppendUint32(make([]byte, 2, 6+len(names)), seconds(l.Lifetime))
	return appendOption(b, OptDNSSL, append(data, names...))
}

// appendName appends a domain name in the form of RFC 1035, Section 3.1, or
// nothing if it has none.
func appendName(b []byte, name string) []byte {
	if !validName(name) {
		return b
	}
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, uint8(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}

func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return true
}

func parseDNSSL(d []byte) (l DNSSL, ok bool) {
	if len(d) < 14 {
		return l, false
	}
	l.Lifetime = lifetime(binary.BigEndian.Uint32(d[2:]))
	for d = d[6:]; len(d) > 0 && d[0] != 0; {
		var name string
		if name, d, ok = parseName(d); !ok {
			return DNSSL{}, false
		}
		l.Domains = append(l.Domains, name)
	}
	return l, len(l.Domains) > 0
}

func parseName(d []byte) (name string, rest []byte, ok bool) {
	var labels []string
	for len(d) > 0 && d[0] != 0 {
		n := int(d[0])
		if n > 63 || 1+n > len(d) || strings.Contains(string(d[1:1+n]), ".") {
			return "", nil, false
		}
		labels = append(labels, string(d[1:1+n]))
		d = d[1+n:]
	}
	name = strings.Join(labels, ".")
	if len(d) == 0 || !validName(name) {
		return "", nil, false
	}
	return name, d[1:], true
}

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
