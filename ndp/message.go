package ndp

import (
	"net/netip"
	"time"
)

// RouterSolicitation asks routers to advertise themselves (RFC 4861, Section 4.1).
type RouterSolicitation struct {
	SourceLinkAddr MAC    // zero: none; must be none if the packet's source is ::
	Nonce          []byte // aliases what was parsed; nil: none
}

// RouterAdvertisement is what a router advertises to hosts (RFC 4861, Section 4.2). The
// zero value advertises a router that is no default router, and nothing else.
type RouterAdvertisement struct {
	HopLimit      uint8         // hosts shall use; 0: unspecified
	Managed       bool          // M: addresses by DHCPv6
	Other         bool          // O: other configuration by DHCPv6
	Preference    Preference    // among default routers
	Lifetime      time.Duration // as a default router, whole seconds up to 65535; 0: is none
	ReachableTime time.Duration // whole milliseconds; 0: unspecified
	RetransTimer  time.Duration // whole milliseconds; 0: unspecified

	SourceLinkAddr MAC      // zero: none
	MTU            uint32   // octets; 0: none
	Prefixes       []Prefix // one option each
	Routes         []Route  // one option each
	RDNSS          []RDNSS  // one option each
	DNSSL          []DNSSL  // one option each
	PREF64         []PREF64 // one option each
	CaptivePortal  string   // URI of the API; empty: none
	Options        []Raw    // further ones, sent last; when parsed, those not known, aliasing the packet
}

// NeighborSolicitation asks for the link-layer address of a neighbor, checks that it is
// reachable, or detects duplicates of an address (RFC 4861, Section 4.3; RFC 4862, Section
// 5.4.2).
type NeighborSolicitation struct {
	Target         netip.Addr // whose link-layer address is wanted
	SourceLinkAddr MAC        // zero: none
	Nonce          []byte     // aliases what was parsed; nil: none
}

// NeighborAdvertisement answers a solicitation, or propagates a changed address
// unsolicited (RFC 4861, Sections 4.4 and 7.2.6).
type NeighborAdvertisement struct {
	Router         bool       // R: the sender is a router
	Solicited      bool       // S: in answer to a solicitation of the destination's
	Override       bool       // O: replaces a cached address
	Target         netip.Addr // whose link-layer address this is
	TargetLinkAddr MAC        // zero: none
}

// Redirect informs a host of a better first hop (RFC 4861, Section 4.5).
type Redirect struct {
	Target, Destination netip.Addr // a better first hop for Destination; the same: it is on-link
	TargetLinkAddr      MAC        // zero: none
	Redirected          []byte     // the start of the packet that caused it; aliases what was parsed
}

const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)
