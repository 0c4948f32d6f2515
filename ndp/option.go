package ndp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Infinity is the lifetime of what never expires: all ones on the wire. Lifetimes
// are whole seconds there, and are rounded down; longer ones than 2^32-2 s become
// Infinity.
const Infinity = time.Duration(1<<63 - 1)

// OptionType is the first octet of an option.
type OptionType uint8

// The options this package knows.
const (
	OptSourceLinkAddr OptionType = 1  // RFC 4861, Section 4.6.1
	OptTargetLinkAddr OptionType = 2  // RFC 4861, Section 4.6.1
	OptPrefix         OptionType = 3  // RFC 4861, Section 4.6.2
	OptRedirected     OptionType = 4  // RFC 4861, Section 4.6.3
	OptMTU            OptionType = 5  // RFC 4861, Section 4.6.4
	OptNonce          OptionType = 14 // RFC 3971, Section 5.3.2; RFC 7527, Section 4.1
	OptRoute          OptionType = 24 // RFC 4191, Section 2.3
	OptRDNSS          OptionType = 25 // RFC 8106, Section 5.1
	OptDNSSL          OptionType = 31 // RFC 8106, Section 5.2
	OptCaptivePortal  OptionType = 37 // RFC 8910, Section 2.3
	OptPREF64         OptionType = 38 // RFC 8781, Section 4
)

// Raw is an option as it is on the wire: one this package does not know, or one
// it shall not interpret.
type Raw struct {
	Type OptionType // not interpreted
	Data []byte     // after type and length; padded with zeros to whole 8-octet units when sent
}

// Prefix is a Prefix Information option.
type Prefix struct {
	Prefix     netip.Prefix  // host bits do not count
	OnLink     bool          // L: the prefix's addresses are neighbors
	Autonomous bool          // A: hosts may form addresses in it (SLAAC)
	Valid      time.Duration // lifetime
	Preferred  time.Duration // lifetime of addresses as sources of new connections; not over Valid
}

// Preference of a default router or route (RFC 4191, Section 2.1).
type Preference int8

// The three preferences; the zero value is medium.
const (
	PreferenceLow    Preference = -1
	PreferenceMedium Preference = 0
	PreferenceHigh   Preference = 1
)

// String returns "low", "medium" or "high".
func (p Preference) String() string {
	switch p {
	case PreferenceLow:
		return "low"
	case PreferenceMedium:
		return "medium"
	case PreferenceHigh:
		return "high"
	}
	return enum.String("Preference", nil, p)
}

// bits is the two-bit signed value in the position of octet's bits 3 and 4.
func (p Preference) bits() uint8 { return uint8(p) & 3 << 3 }

// preference reads bits; the reserved value 2 counts as medium (RFC 4191, Section
// 2.2; a route option with it is ignored by parseRoute).
func preference(b uint8) Preference {
	switch b >> 3 & 3 {
	case 1:
		return PreferenceHigh
	case 3:
		return PreferenceLow
	}
	return PreferenceMedium
}

// Route is a Route Information option: prefix by way of this router.
type Route struct {
	Prefix     netip.Prefix  // host bits do not count
	Preference Preference    // among routes of the same prefix length
	Lifetime   time.Duration // 0: no longer
}

// RDNSS is a Recursive DNS Server option.
type RDNSS struct {
	Lifetime time.Duration // 0: no longer
	Servers  []netip.Addr  // IPv6, in order of preference
}

// DNSSL is a DNS Search List option.
type DNSSL struct {
	Lifetime time.Duration // 0: no longer
	Domains  []string      // without the trailing dot; internationalised ones in their xn-- form
}

// PREF64 is a NAT64 prefix: of length 96, 64, 56, 48, 40 or 32.
type PREF64 struct {
	Prefix   netip.Prefix  // host bits do not count
	Lifetime time.Duration // in units of 8 s on the wire, rounded up, 65528 s at most
}
