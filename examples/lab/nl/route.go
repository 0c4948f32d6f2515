package nl

import (
	"encoding/binary"
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
	filter, err := (&rtnetlink.RouteMessage{Family: family, Attributes: rtnetlink.RouteAttributes{Table: table}}).MarshalBinary()
	if err != nil {
		return nil, err
	}
	all, err := c.raw.Execute(netlink.Message{Data: filter,
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request | netlink.Dump}})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // no such table yet
	}
	for _, m := range all {
		if r, err := parseRoute(m.Data, links); err == nil && r.Table == table {
			out = append(out, r)
		}
	}
	return out, wrap(err, "routes")
}

// parseRoute reads a route, and what rtnetlink leaves out of it: gateways of another
// family (RTA_VIA), in the order of the next hops.
func parseRoute(b []byte, links map[int]Link) (Route, error) {
	var m rtnetlink.RouteMessage
	if err := m.UnmarshalBinary(b); err != nil {
		return Route{}, err
	}
	r := routeOf(&m, links)
	if len(b) < unix.SizeofRtMsg {
		return r, nil
	}
	return r, vias(b[unix.SizeofRtMsg:], func(i int, via netip.Addr) {
		if i < len(r.Hops) {
			r.Hops[i].Gateway = via
		}
	})
}

// vias calls set for each RTA_VIA among attributes, with the number of its next hop.
// struct rtvia is an address family, two octets wide, and an address.
func vias(b []byte, set func(i int, via netip.Addr)) error {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_VIA:
			if v := ad.Bytes(); len(v) > 2 {
				set(0, addr(v[2:]))
			}
		case unix.RTA_MULTIPATH:
			for i, v := 0, ad.Bytes(); len(v) >= unix.SizeofRtNexthop; i++ {
				n := int(binary.NativeEndian.Uint16(v)) // struct rtnexthop begins with its length
				if n < unix.SizeofRtNexthop || n > len(v) {
					break
				}
				if err := vias(v[unix.SizeofRtNexthop:n], func(_ int, via netip.Addr) { set(i, via) }); err != nil {
					return err
				}
				v = v[min(len(v), (n+3)&^3):]
			}
		}
	}
	return ad.Err()
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
