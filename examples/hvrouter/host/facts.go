package host

import (
	"encoding/binary"
	"net/netip"
	"strings"

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
	d, err := openDumps()
	if err != nil {
		return h, err
	}
	defer d.close()
	names := map[uint32]string{}
	h.MACs = map[string]config.MAC{}
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS: without, statistics are most of what the kernel says
	link := make([]byte, unix.SizeofIfInfomsg, unix.SizeofIfInfomsg+8)
	link = binary.NativeEndian.AppendUint16(link, 8)
	link = binary.NativeEndian.AppendUint16(link, unix.IFLA_EXT_MASK)
	link = binary.NativeEndian.AppendUint32(link, skipStats)
	err = d.each(unix.RTM_GETLINK, link, func(b []byte) {
		if index, name, mac := linkOf(b); name != "" {
			names[index] = name
			if !mac.IsZero() {
				h.MACs[name] = mac
			}
		}
	})
	if err != nil {
		return h, err
	}
	err = d.each(unix.RTM_GETADDR, make([]byte, unix.SizeofIfAddrmsg), func(b []byte) {
		if index, p := addressOf(b); p.IsValid() {
			h.Addresses = append(h.Addresses, config.HostAddress{Interface: names[index], Prefix: p})
		}
	})
	if err != nil {
		return h, err
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		request := make([]byte, unix.SizeofRtMsg)
		request[0], request[4] = family, unix.RT_TABLE_MAIN
		err = d.each(unix.RTM_GETROUTE, request, func(b []byte) {
			for _, index := range defaultOf(b) {
				h.Default = append(h.Default, names[index])
			}
		})
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// linkOf reads a struct ifinfomsg and its attributes; the MAC is zero if the interface
// has none of 6 octets.
func linkOf(b []byte) (index uint32, name string, mac config.MAC) {
	if len(b) < unix.SizeofIfInfomsg {
		return 0, "", mac
	}
	for typ, v := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch {
		case typ == unix.IFLA_IFNAME:
			name = strings.TrimRight(string(v), "\x00")
		case typ == unix.IFLA_ADDRESS && len(v) == len(mac):
			copy(mac[:], v)
		}
	}
	return binary.NativeEndian.Uint32(b[4:]), name, mac
}

// addressOf reads a struct ifaddrmsg and its attributes: our side of an address of global
// scope, and no prefix for another one. On a point-to-point link IFA_ADDRESS is the other
// side, and ours is IFA_LOCAL, which IPv6 has there only.
func addressOf(b []byte) (index uint32, p netip.Prefix) {
	if len(b) < unix.SizeofIfAddrmsg || b[3] != unix.RT_SCOPE_UNIVERSE {
		return 0, p
	}
	var ours, either netip.Addr
	for typ, v := range attributes(b[unix.SizeofIfAddrmsg:]) {
		switch typ {
		case unix.IFA_LOCAL:
			ours, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			either, _ = netip.AddrFromSlice(v)
		}
	}
	if !ours.IsValid() {
		ours = either
	}
	return binary.NativeEndian.Uint32(b[4:]), netip.PrefixFrom(ours, int(b[1]))
}

// defaultOf reads a struct rtmsg and its attributes: the interfaces that a default route
// of table main leads over.
func defaultOf(b []byte) (list []uint32) {
	const table, typ = 4, 7 // of struct rtmsg; octet 1 is the prefix length
	if len(b) < unix.SizeofRtMsg || b[1] != 0 || b[table] != unix.RT_TABLE_MAIN || b[typ] != unix.RTN_UNICAST {
		return nil
	}
	for typ, v := range attributes(b[unix.SizeofRtMsg:]) {
		switch {
		case typ == unix.RTA_OIF && len(v) == 4:
			list = append(list, binary.NativeEndian.Uint32(v))
		case typ == unix.RTA_MULTIPATH:
			for len(v) >= unix.SizeofRtNexthop {
				list = append(list, binary.NativeEndian.Uint32(v[4:])) // rtnh_ifindex
				size := int(binary.NativeEndian.Uint16(v))
				if size < unix.SizeofRtNexthop || size > len(v) {
					break
				}
				v = v[min((size+3)&^3, len(v)):]
			}
		}
	}
	return list
}
