package host

import (
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// Facts reads what guests are checked against besides the file: the host's addresses,
// default routes and MACs, in the guests' namespace.
func Facts(c *config.Config) (h config.Host, err error) {
	err = netns.Do(c.GuestNetNS().Path(), func() error {
		h, err = facts()
		return err
	})
	return h, err
}

func facts() (h config.Host, err error) {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return h, err
	}
	defer conn.Close()
	// Dumps are filtered by the kernel (Linux 4.20): table 90 may hold a million routes.
	_ = conn.SetOption(netlink.GetStrictCheck, true)
	interfaces, err := net.Interfaces()
	if err != nil {
		return h, err
	}
	names := map[uint32]string{}
	h.MACs = map[string]config.MAC{}
	for _, i := range interfaces {
		names[uint32(i.Index)] = i.Name
		var mac config.MAC
		if copy(mac[:], i.HardwareAddr) == len(mac) {
			h.MACs[i.Name] = mac
		}
	}
	addresses, err := conn.Address.List()
	if err != nil {
		return h, err
	}
	for _, m := range addresses {
		a, ok := addressOf(m)
		if p := netip.PrefixFrom(a, int(m.PrefixLength)); ok && m.Scope == unix.RT_SCOPE_UNIVERSE && p.IsValid() {
			h.Addresses = append(h.Addresses, config.HostAddress{Interface: names[m.Index], Prefix: p})
		}
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list, err := defaults(conn, family)
		if err != nil {
			return h, err
		}
		for _, index := range list {
			h.Default = append(h.Default, names[index])
		}
	}
	return h, nil
}

// addressOf returns our side of an address; on a point-to-point link the other one is
// IFA_ADDRESS.
func addressOf(m rtnetlink.AddressMessage) (netip.Addr, bool) {
	if m.Attributes == nil {
		return netip.Addr{}, false
	}
	ip := m.Attributes.Local
	if ip == nil {
		ip = m.Attributes.Address
	}
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// defaults returns the interfaces that default routes of table main lead over.
func defaults(conn *rtnetlink.Conn, family uint8) (list []uint32, err error) {
	messages, err := conn.Execute(&rtnetlink.RouteMessage{Family: family, Table: unix.RT_TABLE_MAIN}, unix.RTM_GETROUTE, netlink.Request|netlink.Dump)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		r, ok := m.(*rtnetlink.RouteMessage)
		if !ok || r.DstLength != 0 || r.Table != unix.RT_TABLE_MAIN || r.Type != unix.RTN_UNICAST {
			continue
		}
		if r.Attributes.OutIface != 0 {
			list = append(list, r.Attributes.OutIface)
		}
		for _, hop := range r.Attributes.Multipath {
			list = append(list, hop.Hop.IfIndex)
		}
	}
	return list, nil
}
