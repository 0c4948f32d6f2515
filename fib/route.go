package fib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// RouteKey is what makes a route unique in the kernel. It is comparable.
type RouteKey struct {
	// Table is the routing table id, 1 to 2^32-1. 0 is the main table (254).
	Table uint32
	// Prefix is the destination; its host bits must be zero. Its address
	// decides the family.
	Prefix netip.Prefix
	// TOS is rtm_tos, IPv4 only.
	TOS uint8
	// Metric is RTA_PRIORITY; lower wins. IPv6 has no metric 0: the kernel,
	// and SetRoute, make 1024 of it.
	Metric uint32
}

// RouteType is rtm_type.
type RouteType uint8

// Route types (linux/rtnetlink.h). The zero value of [Route.Type] is RouteUnicast.
const (
	RouteUnicast     RouteType = 1
	RouteLocal       RouteType = 2
	RouteBroadcast   RouteType = 3
	RouteAnycast     RouteType = 4
	RouteMulticast   RouteType = 5
	RouteBlackhole   RouteType = 6
	RouteUnreachable RouteType = 7
	RouteProhibit    RouteType = 8
	RouteThrow       RouteType = 9
)

// Scope is rtm_scope, IPv4 only.
type Scope uint8

// Route scopes. ScopeAuto is what iproute2 chooses: link for a unicast route
// without gateway, host for a local one, universe for everything else.
const (
	ScopeAuto     Scope = 0
	ScopeUniverse Scope = 1 // 0 in the kernel
	ScopeSite     Scope = 200
	ScopeLink     Scope = 253
	ScopeHost     Scope = 254
	ScopeNowhere  Scope = 255
)

// NextHop is one next hop of a unicast route. It is comparable.
type NextHop struct {
	// Gateway is where packets go next. The zero Addr is "directly connected
	// to the interface". A gateway of the other family than the route is sent as
	// RTA_VIA (RFC 8950, Section 3: IPv4 over IPv6 only).
	Gateway netip.Addr
	// IfIndex is the interface index; required. A next hop on a link that is down
	// waits until it is up; one of several, until it has carrier. If the interface is
	// deleted and one of the same name is made, the next hop follows the name.
	IfIndex int
	// Weight is the share of this next hop in the traffic of the route, 1 to 256; a group takes
	// 256 from Linux 6.12 on only. 0 is 1. [Weights] makes weights of bandwidths.
	Weight uint16
	// OnLink says that Gateway is reached over the interface although no connected
	// prefix says so (RTNH_F_ONLINK).
	OnLink bool
}

// Route is a desired route. Two calls of SetRoute with equal keys replace each
// other; the writer coalesces.
type Route struct {
	RouteKey
	// Type is RouteUnicast if zero. Types other than RouteUnicast, RouteLocal, RouteBroadcast,
	// RouteAnycast and RouteMulticast have no next hops.
	Type RouteType
	// NextHops are the next hops, in any order; duplicates are merged. One next hop is
	// written as a plain route, several as a next-hop group (or as
	// RTA_MULTIPATH, see RTAMultipath). SetRoute does not keep the slice.
	NextHops []NextHop
	// PrefSrc is the preferred source address. The zero Addr is none.
	PrefSrc netip.Addr
	// Scope is chosen as iproute2 does if zero.
	Scope Scope
	// MTU and AdvMSS are route metrics in octets. 0 is none.
	MTU, AdvMSS uint32
	// Persistent marks a route that must outlive everything: it is written with
	// the persistent protocol number, so that a program that removes all routes of
	// Protocol leaves it.
	Persistent bool
	// Buckets makes the group of several next hops a resilient one (Linux 5.12) with
	// so many hash buckets: when a next hop goes, only flows of that next hop move. It
	// must be at least the number of next hops. 0 is an ordinary group.
	Buckets uint16
	// RTAMultipath asks for RTA_MULTIPATH instead of a next-hop group.
	RTAMultipath bool
}

// RouteState says how far a desired route has come. Packets are forwarded as desired in
// StateInstalled and StatePartial. StatePending and StateLost pass by themselves, within
// milliseconds; StateHeld, StateFailed and StateForeign last until something changes.
type RouteState uint8

const (
	// StatePending is not written yet, or not as it is desired now.
	StatePending RouteState = iota
	// StateInstalled is in the kernel as desired.
	StateInstalled
	// StateHeld waits for a link that is down, absent or without carrier.
	StateHeld
	// StateFailed was refused by the kernel; it is tried again with back-off.
	StateFailed
	// StateForeign yields to another program's route under the same key.
	StateForeign
	// StateStale is ours in the kernel, not desired, and waits for Sweep.
	StateStale
	// StatePartial is in the kernel as desired, but without some of its next hops: their
	// link is down or gone, GatewayDown was called, or the kernel refused them.
	StatePartial
	// StateLost was in the kernel as desired until another program removed or replaced it,
	// or the kernel did with a link or an address. It is about to be written again.
	StateLost
)

func (s RouteState) String() string { return fibcore.RouteState(s).String() }

// RouteStatus is one row of [FIB.Routes].
type RouteStatus struct {
	Route // as desired; for StateStale as it is in the kernel
	State RouteState
	// Present reports whether the kernel has a route of ours under the key, with this
	// content or with an earlier one.
	Present bool
	// Active is how many of NextHops that route has now.
	Active int
	// NextHopID is the next-hop object or group that the kernel's route uses,
	// 0 if none.
	NextHopID uint32
	// Err is why State is StateFailed or StateForeign: an *[Error] with the kernel's errno
	// and extended-ACK text, or with ErrForeign.
	Err error
}

func (t RouteType) String() string { return wire.RouteType(t).String() }

// String formats the key as `203.0.113.1/32 table 90 metric 10`.
func (k RouteKey) String() string { return wire.RouteKey(k).String() }

// Learned is a route that another program put into the kernel.
type Learned struct {
	Route
	// Protocol is rtm_protocol.
	Protocol uint8
}
