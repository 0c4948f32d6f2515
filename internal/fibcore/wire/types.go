package wire

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/enum"
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

// Route types (linux/rtnetlink.h).
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

var typeNames = [...]string{RouteUnicast: "unicast", RouteLocal: "local", RouteBroadcast: "broadcast", RouteAnycast: "anycast", RouteMulticast: "multicast",
	RouteBlackhole: "blackhole", RouteUnreachable: "unreachable", RouteProhibit: "prohibit", RouteThrow: "throw"}

func (t RouteType) String() string { return enum.String("RouteType", typeNames[:], t) }

// String formats the key as `203.0.113.1/32 table 90 metric 10`.
func (k RouteKey) String() string {
	s := fmt.Sprintf("%v table %d", k.Prefix, k.Table)
	if k.TOS != 0 {
		s += fmt.Sprintf(" tos %#x", k.TOS)
	}
	if k.Metric != 0 {
		s += fmt.Sprintf(" metric %d", k.Metric)
	}
	return s
}

// Family is an address family.
type Family uint8

// Address families, with the kernel's numbers.
const (
	FamilyIPv4 Family = 2
	FamilyIPv6 Family = 10
)

// NextHop is a next hop as routes have it in the kernel: Weight is at least 1.
type NextHop struct {
	Gateway netip.Addr
	IfIndex int32
	Weight  uint16
	OnLink  bool
}

// CompareNextHops orders next hops.
func CompareNextHops(a, b NextHop) int {
	if c := a.Gateway.Compare(b.Gateway); c != 0 {
		return c
	}
	switch {
	case a.IfIndex != b.IfIndex:
		return int(a.IfIndex) - int(b.IfIndex)
	case a.Weight != b.Weight:
		return int(a.Weight) - int(b.Weight)
	case a.OnLink == b.OnLink:
		return 0
	case a.OnLink:
		return 1
	}
	return -1
}

// Facts is what a route says beside its key and its next hops. Comparable.
type Facts struct {
	Family      Family
	Type        RouteType
	Protocol    uint8
	Scope       uint8 // rtm_scope; always 0 in IPv6
	PrefSrc     netip.Addr
	MTU, AdvMSS uint32
}

// Address is an address of an interface. It is comparable.
type Address struct {
	IfIndex       int
	Prefix        netip.Prefix // host bits kept
	Scope         Scope
	NoPrefixRoute bool // IFA_F_NOPREFIXROUTE
	NoDAD         bool // IFA_F_NODAD
}

// String formats the address as `address 203.0.113.1/32 dev 2`.
func (a Address) String() string { return fmt.Sprintf("address %v dev %d", a.Prefix, a.IfIndex) }

// Neighbor is a permanent entry of the neighbour table, or a proxy entry. It is comparable.
type Neighbor struct {
	IfIndex int
	Addr    netip.Addr
	MAC     [6]byte // of a proxy entry zero
	Proxy   bool    // NTF_PROXY
}

// String formats the entry as `neighbor 203.0.113.1 dev 2 lladdr 02:00:00:00:00:01`, or `neighbor
// proxy 203.0.113.1 dev 2`.
func (n Neighbor) String() string {
	if n.Proxy {
		return fmt.Sprintf("neighbor proxy %v dev %d", n.Addr, n.IfIndex)
	}
	return fmt.Sprintf("neighbor %v dev %d lladdr %v", n.Addr, n.IfIndex, net.HardwareAddr(n.MAC[:]))
}

// Link is the state of an interface.
type Link struct {
	IfIndex          int
	Interface        string
	MAC              [6]byte
	MTU              int
	Master           int  // index of the bridge or VRF that it belongs to; 0: none
	AdminUp, Carrier bool // IFF_UP, IFF_LOWER_UP
}

// Up reports whether packets can leave through the link.
func (l Link) Up() bool { return l.AdminUp && l.Carrier }

// AddressKey and neighborKey are the keys of the low-rate tables.
type AddressKey struct {
	IfIndex int
	Prefix  netip.Prefix
	Peer    netip.Addr // of a point-to-point address of another program
}

type NeighborKey struct {
	IfIndex int
	Addr    netip.Addr
	Proxy   bool
}

// Compare orders keys by interface index and address.
func (k AddressKey) Compare(o AddressKey) int {
	return cmp.Or(cmp.Compare(k.IfIndex, o.IfIndex), k.Prefix.Compare(o.Prefix), k.Peer.Compare(o.Peer))
}

// Compare orders keys by interface index and address.
func (k NeighborKey) Compare(o NeighborKey) int {
	if k.IfIndex == o.IfIndex && k.Addr == o.Addr && k.Proxy != o.Proxy {
		if k.Proxy {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(k.IfIndex, o.IfIndex), k.Addr.Compare(o.Addr))
}
