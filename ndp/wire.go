package ndp

import (
	"fmt"
	"net/netip"
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
// length: Type (1), Length (1, in units of 8 octets), data. RFC 4861, Section 4.6: "Nodes
// MUST silently discard an ND packet that contains an option with length zero."
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

// checkOption returns an error if data does not fit into an option, after so many octets
// (more) of the option's own.
func checkOption(what string, data []byte, more ...int) error {
	fit := maxOption
	for _, n := range more {
		fit -= n
	}
	if len(data) > fit {
		return fmt.Errorf("ndp: %s of %d octets; %d fit", what, len(data), fit)
	}
	return nil
}
