// Package ether holds the Ethernet address as a comparable value. The packages
// arp, ndp and vxlan export it as their MAC, so that one value serves all three.
package ether

import (
	"encoding/hex"
	"fmt"
	"net"
)

// MAC is a 48-bit Ethernet address. It is comparable and may key a map. The zero
// value is 00:00:00:00:00:00, which no station has: fields of this type take it
// as "none". A net.HardwareAddr of six octets converts: MAC(hw).
type MAC [6]byte

// Broadcast is the address of every station.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsZero reports whether m is the zero value.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsUnicast reports whether m can be a station's own address: neither a group
// address nor zero.
func (m MAC) IsUnicast() bool { return m[0]&1 == 0 && m != MAC{} }

// String returns m in colon notation, lower case.
func (m MAC) String() string { return string(m.AppendTo(make([]byte, 0, 17))) }

// AppendTo appends what String returns to b.
func (m MAC) AppendTo(b []byte) []byte {
	for i := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = hex.AppendEncode(b, m[i:i+1])
	}
	return b
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (m MAC) MarshalText() ([]byte, error) { return m.AppendTo(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It takes every notation of
// net.ParseMAC, and six octets only.
func (m *MAC) UnmarshalText(text []byte) error {
	hw, err := net.ParseMAC(string(text))
	if err != nil {
		return err
	}
	if len(hw) != len(m) {
		return fmt.Errorf("address %s: not a 48-bit Ethernet address", text)
	}
	*m = MAC(hw)
	return nil
}

// LinkLocal returns the interface identifier's IPv6 link-local address of m,
// fe80::/64 with the modified EUI-64 of RFC 4291, Appendix A, as 16 octets.
func (m MAC) LinkLocal() [16]byte {
	return [16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}
}
