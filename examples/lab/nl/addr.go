package nl

import (
	"cmp"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// AddAddress gives a link an address; IPv6 without duplicate address detection.
// linkScope marks it as of no use beyond the link, noPrefixRoute keeps the
// kernel from adding a route for its network.
func (c *Conn) AddAddress(link string, a netip.Prefix, linkScope, noPrefixRoute bool) error {
	var flags uint32
	var scope uint8
	if a.Addr().Is6() {
		flags |= unix.IFA_F_NODAD
	}
	if noPrefixRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if linkScope {
		scope = unix.RT_SCOPE_LINK
	}
	return c.address(unix.RTM_NEWADDR, create, link, a, scope, flags)
}

// ProbeAddress gives a link an IPv6 address that is looked for first (RFC 4862,
// Section 5.4), if the link's accept_dad says so.
func (c *Conn) ProbeAddress(link string, a netip.Prefix) error {
	return c.address(unix.RTM_NEWADDR, create, link, a, unix.RT_SCOPE_UNIVERSE, unix.IFA_F_NOPREFIXROUTE)
}

// DeleteAddress takes an address away.
func (c *Conn) DeleteAddress(link string, a netip.Prefix) error {
	return c.address(unix.RTM_DELADDR, 0, link, a, 0, 0)
}

func (c *Conn) address(typ uint16, how netlink.HeaderFlags, link string, a netip.Prefix, scope uint8, flags uint32) error {
	index, err := c.Index(link)
	if err != nil {
		return err
	}
	ip := a.Addr().AsSlice()
	return wrap(c.do(typ, how, &rtnetlink.AddressMessage{
		Family: family(a.Addr()), PrefixLength: uint8(a.Bits()), Scope: scope, Index: uint32(index),
		Attributes: &rtnetlink.AddressAttributes{Address: ip, Local: ip, Flags: flags},
	}), "address %s on %s", a, link)
}

// Addresses returns the addresses of a link, tentative ones left out.
func (c *Conn) Addresses(link string) (out []netip.Prefix, err error) {
	all, err := c.addresses(link)
	for _, m := range all {
		if m.Attributes.Flags&unix.IFA_F_TENTATIVE == 0 {
			out = append(out, prefix(m))
		}
	}
	return out, err
}

// Tentative reports whether an IPv6 address is still being looked for, and whether
// another node was found to have it.
func (c *Conn) Tentative(link string, a netip.Addr) (tentative, duplicate bool, err error) {
	all, err := c.addresses(link)
	for _, m := range all {
		if prefix(m).Addr() == a {
			return m.Attributes.Flags&unix.IFA_F_TENTATIVE != 0, m.Attributes.Flags&unix.IFA_F_DADFAILED != 0, nil
		}
	}
	return false, false, err
}

func (c *Conn) addresses(link string) (out []*rtnetlink.AddressMessage, err error) {
	index, err := c.Index(link)
	if err != nil {
		return nil, err
	}
	all, err := dump(c, unix.RTM_GETADDR, &rtnetlink.AddressMessage{})
	for _, m := range all {
		if m.Index == uint32(index) && m.Attributes != nil {
			out = append(out, m)
		}
	}
	return out, wrap(err, "addresses of %s", link)
}

// prefix is the address of a link: of a point-to-point link its own end, not the
// other one.
func prefix(m *rtnetlink.AddressMessage) netip.Prefix {
	a := cmp.Or(addr(m.Attributes.Local), addr(m.Attributes.Address))
	return netip.PrefixFrom(a, int(m.PrefixLength))
}

// addr returns the zero Addr for nil.
func addr(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
