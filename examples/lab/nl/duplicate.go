package nl

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ProbeAddress gives a link an IPv6 address that is looked for first (RFC 4862),
// if the link's accept_dad says so.
func (c *Conn) ProbeAddress(link string, a netip.Prefix) error {
	return c.addAddress(link, a, false, unix.IFA_F_NOPREFIXROUTE)
}

// DeleteAddress takes an address away.
func (c *Conn) DeleteAddress(link string, a netip.Prefix) error {
	index, err := c.Index(link)
	if err != nil {
		return err
	}
	m := make([]byte, unix.SizeofIfAddrmsg)
	m[0], m[1] = family(a.Addr()), uint8(a.Bits())
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	err = c.do(unix.RTM_DELADDR, 0, m, func(ae *netlink.AttributeEncoder) { ae.Bytes(unix.IFA_LOCAL, a.Addr().AsSlice()) })
	return wrap(err, "address %s on %s", a, link)
}

// Tentative says whether an IPv6 address is still being looked for, and whether
// somebody else was found to have it.
func (c *Conn) Tentative(link string, a netip.Addr) (tentative, duplicate bool, err error) {
	index, err := c.Index(link)
	if err != nil {
		return false, false, err
	}
	msgs, err := c.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), nil)
	for _, m := range msgs {
		if len(m.Data) < unix.SizeofIfAddrmsg {
			continue
		}
		flags := m.Data[2]
		m.Data[2] = 0 // as if it were settled
		if p, on, ok := parseAddress(m.Data); ok && on == index && p.Addr() == a {
			return flags&unix.IFA_F_TENTATIVE != 0, flags&unix.IFA_F_DADFAILED != 0, nil
		}
	}
	return false, false, wrap(err, "address %s on %s", a, link)
}
