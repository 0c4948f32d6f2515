package lookup

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// RouteType is rtm_type.
type RouteType uint8

// The types of routes.
const (
	Unicast     RouteType = unix.RTN_UNICAST
	Local       RouteType = unix.RTN_LOCAL
	Broadcast   RouteType = unix.RTN_BROADCAST
	Anycast     RouteType = unix.RTN_ANYCAST
	Multicast   RouteType = unix.RTN_MULTICAST
	Blackhole   RouteType = unix.RTN_BLACKHOLE
	Unreachable RouteType = unix.RTN_UNREACHABLE
	Prohibit    RouteType = unix.RTN_PROHIBIT
	Throw       RouteType = unix.RTN_THROW
)

var typeNames = [...]string{Unicast: "unicast", Local: "local", Broadcast: "broadcast", Anycast: "anycast", Multicast: "multicast",
	Blackhole: "blackhole", Unreachable: "unreachable", Prohibit: "prohibit", Throw: "throw"}

// String returns iproute2's word.
func (t RouteType) String() string { return enum.String("RouteType", typeNames[:], t) }

// rejects reports whether packets are dropped, with the error that the sender sees
// (fib_props, fib6_prop).
func (t RouteType) rejects() (unix.Errno, bool) {
	switch t {
	case Blackhole:
		return unix.EINVAL, true
	case Unreachable:
		return unix.EHOSTUNREACH, true
	case Prohibit:
		return unix.EACCES, true
	}
	return 0, false
}

// Hop is one next hop.
type Hop struct {
	Gateway netip.Addr // invalid: the destination itself
	IfIndex int
	Link    string
	Weight  int
	OnLink  bool
	Object  uint32 // the next-hop object that it is, 0 without one
	Flags   uint8
}

// Flags of next hops (linux/rtnetlink.h: RTNH_F_DEAD, RTNH_F_LINKDOWN).
const (
	flagDead     = 1
	flagLinkDown = 16
)

// String formats the next hop as `ip route` does.
func (h Hop) String() string {
	var b strings.Builder
	if h.Gateway.IsValid() {
		fmt.Fprintf(&b, "via %v ", h.Gateway)
	}
	fmt.Fprintf(&b, "dev %s", h.Link)
	if h.OnLink {
		b.WriteString(" onlink")
	}
	if h.Flags&flagDead != 0 {
		b.WriteString(" dead")
	}
	if h.Flags&flagLinkDown != 0 {
		b.WriteString(" linkdown")
	}
	return b.String()
}

// Route is a route of the kernel.
type Route struct {
	Table    uint32
	Prefix   netip.Prefix
	Metric   uint32
	TOS      uint8
	Type     RouteType
	Protocol uint8
	PrefSrc  netip.Addr
	NextHop  uint32 // id of its next-hop object, 0 without one
	Hops     []Hop  // resolved
}

// String formats the route as `ip route show table all` does.
func (r Route) String() string {
	var b strings.Builder
	if r.Type != Unicast {
		fmt.Fprintf(&b, "%v ", r.Type)
	}
	switch {
	case r.Prefix.Bits() == 0:
		b.WriteString("default")
	case r.Prefix.IsSingleIP():
		b.WriteString(r.Prefix.Addr().String())
	default:
		b.WriteString(r.Prefix.String())
	}
	if r.NextHop != 0 {
		fmt.Fprintf(&b, " nhid %d", r.NextHop)
	}
	if r.Type == Unicast || r.Type == Local {
		for _, h := range r.Hops {
			if len(r.Hops) > 1 {
				b.WriteString(" nexthop")
			}
			b.WriteString(" " + h.String())
		}
	}
	fmt.Fprintf(&b, " table %s proto %s", TableName(r.Table), ProtocolName(r.Protocol))
	if r.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.PrefSrc)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

// lastMetric is the metric of hvrouter's routes of last resort; its unreachable prefixes have
// the one below it (domain.LastMetric).
const lastMetric = 4294967294

// LastResort reports whether the route is one of hvrouter's that drop what has no other route.
func (r Route) LastResort() bool {
	return !Foreign(r.Protocol) && r.Metric >= lastMetric-1 && r.Type >= Blackhole
}

// same reports whether two routes lead to the same, whichever program made them.
func (r Route) same(o Route) bool {
	if r.Table != o.Table || r.Prefix != o.Prefix || r.Metric != o.Metric || r.Type != o.Type {
		return false
	}
	return r.Type != Unicast || slices.Equal(ends(r.Hops), ends(o.Hops))
}

// end is what counts of a next hop for the question whether two are the same.
type end struct {
	gateway netip.Addr
	ifindex int
}

func ends(hops []Hop) (list []end) {
	for _, h := range hops {
		list = append(list, end{h.Gateway, h.IfIndex})
	}
	slices.SortFunc(list, func(a, b end) int {
		if c := a.gateway.Compare(b.gateway); c != 0 {
			return c
		}
		return a.ifindex - b.ifindex
	})
	return slices.Compact(list)
}
