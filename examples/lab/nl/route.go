package nl

import (
	"errors"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Route is a kernel route with its next hops named by interface.
type Route struct {
	Table   uint32
	Type    uint8 // unix.RTN_UNICAST ...
	Dst     netip.Prefix
	Metric  uint32
	Proto   uint8
	Scope   uint8
	PrefSrc netip.Addr
	Hops    []Hop
}

// Hop is one next hop. Gateway is the zero Addr for a route that just names a
// link; Link is empty for a route without one, for example a blackhole.
type Hop struct {
	Gateway netip.Addr
	Link    string
	OnLink  bool
}

// AddRoute adds a route or replaces the one with the same table, prefix and
// metric. It writes single next hops only.
func (c *Conn) AddRoute(r Route) error {
	return wrap(c.route(unix.RTM_NEWROUTE, netlink.Create|netlink.Replace, r), "route %s", r.Dst)
}

// DeleteRoute deletes a route by table, prefix, metric and next hop.
func (c *Conn) DeleteRoute(r Route) error {
	return wrap(c.route(unix.RTM_DELROUTE, 0, r), "route %s", r.Dst)
}

func (c *Conn) route(typ uint16, how netlink.HeaderFlags, r Route) error {
	m := &rtnetlink.RouteMessage{
		Family: family(r.Dst.Addr()), DstLength: uint8(r.Dst.Bits()), Protocol: r.Proto, Scope: r.Scope, Type: r.Type,
		Attributes: rtnetlink.RouteAttributes{Table: r.Table, Dst: r.Dst.Addr().AsSlice(), Priority: r.Metric, Src: r.PrefSrc.AsSlice()},
	}
	if len(r.Hops) > 0 {
		index, err := c.Index(r.Hops[0].Link)
		if err != nil {
			return err
		}
		m.Attributes.OutIface, m.Attributes.Gateway = uint32(index), r.Hops[0].Gateway.AsSlice()
		if r.Hops[0].OnLink {
			m.Flags = unix.RTNH_F_ONLINK
		}
	}
	return c.do(typ, how, m)
}

// Routes returns the routes of one table and family (unix.AF_INET or AF_INET6).
func (c *Conn) Routes(family uint8, table uint32) (out []Route, err error) {
	links, err := c.Links()
	if err != nil {
		return nil, err
	}
	all, err := dump(c, unix.RTM_GETROUTE, &rtnetlink.RouteMessage{Family: family, Attributes: rtnetlink.RouteAttributes{Table: table}})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // no such table yet
	}
	for _, m := range all {
		if r := routeOf(m, links); r.Table == table {
			out = append(out, r)
		}
	}
	return out, wrap(err, "routes")
}

// routeOf leaves the next hops of what is no unicast route away: the kernel names lo
// there.
func routeOf(m *rtnetlink.RouteMessage, links map[int]Link) Route {
	a := m.Attributes
	r := Route{Table: a.Table, Type: m.Type, Metric: a.Priority, Proto: m.Protocol, Scope: m.Scope, PrefSrc: addr(a.Src)}
	if r.Table == 0 {
		r.Table = uint32(m.Table)
	}
	dst := addr(a.Dst)
	switch {
	case dst.IsValid():
	case m.Family == unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		dst = netip.IPv4Unspecified()
	}
	r.Dst = netip.PrefixFrom(dst, int(m.DstLength))
	for _, n := range a.Multipath {
		r.Hops = append(r.Hops, Hop{Gateway: addr(n.Gateway), Link: links[int(n.Hop.IfIndex)].Name, OnLink: n.Hop.Flags&unix.RTNH_F_ONLINK != 0})
	}
	if link := links[int(a.OutIface)].Name; len(r.Hops) == 0 && link != "" && r.Type == unix.RTN_UNICAST {
		r.Hops = []Hop{{Gateway: addr(a.Gateway), Link: link, OnLink: m.Flags&unix.RTNH_F_ONLINK != 0}}
	}
	return r
}
