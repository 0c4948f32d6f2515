package nl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var errShort = errors.New("truncated message")

// AddAddress gives a link an address; IPv6 without duplicate address detection.
// linkScope marks it as of no use beyond the link, noPrefixRoute keeps the
// kernel from adding a route for its network.
func (c *Conn) AddAddress(link string, a netip.Prefix, linkScope, noPrefixRoute bool) error {
	var flags uint32
	if a.Addr().Is6() {
		flags |= unix.IFA_F_NODAD
	}
	if noPrefixRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	return c.addAddress(link, a, linkScope, flags)
}

func (c *Conn) addAddress(link string, a netip.Prefix, linkScope bool, flags uint32) error {
	index, err := c.Index(link)
	if err != nil {
		return err
	}
	m := make([]byte, unix.SizeofIfAddrmsg)
	m[0], m[1] = family(a.Addr()), uint8(a.Bits())
	if linkScope {
		m[3] = unix.RT_SCOPE_LINK
	}
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	err = c.do(unix.RTM_NEWADDR, create, m, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.IFA_ADDRESS, a.Addr().AsSlice())
		ae.Bytes(unix.IFA_LOCAL, a.Addr().AsSlice())
		ae.Uint32(unix.IFA_FLAGS, flags)
	})
	return wrap(err, "address %s on %s", a, link)
}

// Addresses returns the addresses of a link, tentative ones left out.
func (c *Conn) Addresses(link string) ([]netip.Prefix, error) {
	index, err := c.Index(link)
	if err != nil {
		return nil, err
	}
	msgs, err := c.dump(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), nil)
	if err != nil {
		return nil, wrap(err, "addresses of %s", link)
	}
	var out []netip.Prefix
	for _, m := range msgs {
		if p, on, ok := parseAddress(m.Data); ok && on == index {
			out = append(out, p)
		}
	}
	return out, nil
}

func parseAddress(b []byte) (p netip.Prefix, link int, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg || b[2]&unix.IFA_F_TENTATIVE != 0 {
		return p, 0, false
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return p, 0, false
	}
	for ad.Next() {
		if t := ad.Type(); t == unix.IFA_LOCAL || t == unix.IFA_ADDRESS && !p.IsValid() {
			a, _ := netip.AddrFromSlice(ad.Bytes())
			p = netip.PrefixFrom(a, int(b[1]))
		}
	}
	return p, int(binary.NativeEndian.Uint32(b[4:])), p.IsValid()
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
