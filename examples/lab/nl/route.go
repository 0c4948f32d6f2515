package nl

import (
	"encoding/binary"
	"errors"
	"net/netip"

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
	return wrap(c.route(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r), "route %s", r.Dst)
}

// DeleteRoute deletes a route by table, prefix, metric and next hop.
func (c *Conn) DeleteRoute(r Route) error {
	return wrap(c.route(unix.RTM_DELROUTE, 0, r), "route %s", r.Dst)
}

func (c *Conn) route(typ, flags uint16, r Route) error {
	m := make([]byte, unix.SizeofRtMsg)
	m[0], m[1] = family(r.Dst.Addr()), uint8(r.Dst.Bits())
	m[5], m[6], m[7] = r.Proto, r.Scope, r.Type
	var index int
	if len(r.Hops) > 0 {
		var err error
		if index, err = c.Index(r.Hops[0].Link); err != nil {
			return err
		}
		if r.Hops[0].OnLink {
			binary.NativeEndian.PutUint32(m[8:], unix.RTNH_F_ONLINK)
		}
	}
	return c.do(typ, flags, m, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.RTA_TABLE, r.Table)
		ae.Bytes(unix.RTA_DST, r.Dst.Addr().AsSlice())
		if r.Metric != 0 {
			ae.Uint32(unix.RTA_PRIORITY, r.Metric)
		}
		if r.PrefSrc.IsValid() {
			ae.Bytes(unix.RTA_PREFSRC, r.PrefSrc.AsSlice())
		}
		if index != 0 {
			ae.Uint32(unix.RTA_OIF, uint32(index))
			if g := r.Hops[0].Gateway; g.IsValid() {
				ae.Bytes(unix.RTA_GATEWAY, g.AsSlice())
			}
		}
	})
}

// Routes returns the routes of one table and family (unix.AF_INET or AF_INET6).
func (c *Conn) Routes(family uint8, table uint32) ([]Route, error) {
	links, err := c.Links()
	if err != nil {
		return nil, err
	}
	m := make([]byte, unix.SizeofRtMsg)
	m[0] = family
	msgs, err := c.dump(unix.RTM_GETROUTE, m, func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.RTA_TABLE, table) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // no such table yet
	}
	if err != nil {
		return nil, wrap(err, "routes")
	}
	var out []Route
	for _, m := range msgs {
		r, err := parseRoute(m.Data, links)
		if err != nil {
			return nil, err
		}
		if r.Table == table {
			out = append(out, r)
		}
	}
	return out, nil
}

func parseRoute(b []byte, links map[int]Link) (Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return Route{}, wrap(errShort, "route")
	}
	r := Route{Table: uint32(b[4]), Proto: b[5], Scope: b[6], Type: b[7]}
	bits := int(b[1])
	dst := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	hop := Hop{OnLink: binary.NativeEndian.Uint32(b[8:])&unix.RTNH_F_ONLINK != 0}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtMsg:])
	if err != nil {
		return r, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.RTA_TABLE:
			r.Table = ad.Uint32()
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_PRIORITY:
			r.Metric = ad.Uint32()
		case unix.RTA_PREFSRC:
			r.PrefSrc, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_GATEWAY:
			hop.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
		case unix.RTA_OIF:
			hop.Link = links[int(ad.Uint32())].Name
		case unix.RTA_MULTIPATH:
			r.Hops = parseHops(ad.Bytes(), links)
		}
	}
	r.Dst = netip.PrefixFrom(dst, bits)
	if len(r.Hops) == 0 && hop.Link != "" && r.Type == unix.RTN_UNICAST {
		r.Hops = []Hop{hop}
	}
	return r, ad.Err()
}

func parseHops(b []byte, links map[int]Link) []Hop {
	var out []Hop
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return out
		}
		hop := Hop{Link: links[int(binary.NativeEndian.Uint32(b[4:]))].Name, OnLink: b[2]&unix.RTNH_F_ONLINK != 0}
		if ad, err := netlink.NewAttributeDecoder(b[unix.SizeofRtNexthop:n]); err == nil {
			for ad.Next() {
				if ad.Type() == unix.RTA_GATEWAY {
					hop.Gateway, _ = netip.AddrFromSlice(ad.Bytes())
				}
			}
		}
		out = append(out, hop)
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}
