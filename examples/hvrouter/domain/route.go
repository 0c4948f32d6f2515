package domain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Type is what a route does with a packet.
type Type uint8

// The types that the daemon writes.
const (
	Unicast Type = iota
	Blackhole
	Unreachable
	Prohibit
	TypeLocal // what is sent to an address of ours
)

var typeNames = [...]string{"unicast", "blackhole", "unreachable", "prohibit", "local"}

// String returns iproute2's word.
func (t Type) String() string { return enum.String("Type", typeNames[:], t) }

// LastMetric is the metric of the routes of last resort: the greatest that IPv4
// and IPv6 both take for a route that others may still lose against.
const LastMetric = 4294967294

// holeMetric is the metric of the unreachable prefixes: real routes of the same
// prefix win.
const holeMetric = LastMetric - 1

// NextHop is one gateway; with no Gateway the destination is on the link.
type NextHop struct {
	Gateway netip.Addr
	Link    string
	OnLink  bool // the gateway is on the link although no address says so
	// Weight is the next hop's share of the traffic beside others, 0 and 1 are the same.
	Weight uint16
}

// Compare orders next hops by link, then gateway.
func (n NextHop) Compare(o NextHop) int {
	return cmp.Or(strings.Compare(n.Link, o.Link), n.Gateway.Compare(o.Gateway))
}

// Key tells routes apart, as the kernel does.
type Key struct {
	Table  uint32
	Prefix netip.Prefix
	Metric uint32
}

// Route is one route that the daemon wants in the kernel.
type Route struct {
	Key
	Type     Type
	NextHops []NextHop // sorted, none twice; empty unless Type is Unicast or TypeLocal
	PrefSrc  netip.Addr
	// LinkScope is IPv4's scope link: the destination is on the link itself.
	LinkScope bool
	// Persistent routes outlive the daemon whatever happens.
	Persistent bool
}

// Equal reports whether two routes are the same in every respect.
func (r Route) Equal(o Route) bool {
	return r.Key == o.Key && r.Type == o.Type && r.PrefSrc == o.PrefSrc &&
		r.LinkScope == o.LinkScope && r.Persistent == o.Persistent && slices.Equal(r.NextHops, o.NextHops)
}

// String returns the route in the words of `ip route`.
func (r Route) String() string {
	var b strings.Builder
	if r.Type != Unicast {
		fmt.Fprintf(&b, "%v ", r.Type)
	}
	if r.Prefix.Bits() == 0 {
		b.WriteString("default")
	} else if r.Prefix.IsSingleIP() {
		b.WriteString(r.Prefix.Addr().String())
	} else {
		b.WriteString(r.Prefix.String())
	}
	for _, n := range r.NextHops {
		if n.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %v", n.Gateway)
		}
		fmt.Fprintf(&b, " dev %s", n.Link)
		if n.OnLink {
			b.WriteString(" onlink")
		}
		if n.Weight > 1 {
			fmt.Fprintf(&b, " weight %d", n.Weight)
		}
	}
	if r.LinkScope {
		b.WriteString(" scope link")
	}
	if r.PrefSrc.IsValid() {
		fmt.Fprintf(&b, " src %v", r.PrefSrc)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	return b.String()
}

// sortHops sorts next hops and drops those that stand twice; it keeps s.
func sortHops(s []NextHop) []NextHop {
	slices.SortFunc(s, NextHop.Compare)
	return slices.CompactFunc(s, func(a, b NextHop) bool { return a.Compare(b) == 0 })
}

func typeOf(word string) Type {
	return Type(max(0, slices.Index(typeNames[:], word)))
}
