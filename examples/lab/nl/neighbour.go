package nl

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour is an entry of a link's ARP or neighbour table.
type Neighbour struct {
	Addr  netip.Addr
	MAC   net.HardwareAddr // nil if nobody knows
	State uint16           // unix.NUD_REACHABLE and so on
}

// SetNeighbour writes an entry, or changes the one that is there.
func (c *Conn) SetNeighbour(link string, n Neighbour) error {
	m := ndmsg{family: family(n.Addr), state: n.State}
	return wrap(c.neighbour(link, netlink.Create|netlink.Replace, m, n.Addr, n.MAC), "neighbour %s on %s", n.Addr, link)
}

// AddFlood appends a remote VTEP to the flood list of a VXLAN device.
func (c *Conn) AddFlood(link string, vtep netip.Addr) error {
	m := ndmsg{family: unix.AF_BRIDGE, state: unix.NUD_PERMANENT | unix.NUD_NOARP, flags: unix.NTF_SELF}
	return wrap(c.neighbour(link, netlink.Create|netlink.Append, m, vtep, make(net.HardwareAddr, 6)), "flood list of %s: %s", link, vtep)
}

// ndmsg is what the lab sets of the kernel's struct ndmsg. rtnetlink's NeighMessage
// always has a link-layer address, which the kernel refuses if it is empty, and an
// interface index as an attribute, which means something else in a forwarding table.
type ndmsg struct {
	family, flags uint8
	state         uint16
}

func (c *Conn) neighbour(link string, how netlink.HeaderFlags, m ndmsg, dst netip.Addr, mac net.HardwareAddr) error {
	index, err := c.Index(link)
	if err != nil {
		return err
	}
	b := make([]byte, unix.SizeofNdMsg)
	b[0], b[10] = m.family, m.flags
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint16(b[8:], m.state)
	return c.doRaw(unix.RTM_NEWNEIGH, how, b, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NDA_DST, dst.AsSlice())
		if mac != nil {
			ae.Bytes(unix.NDA_LLADDR, mac)
		}
	})
}

// Learned is an entry that a control plane has put into a forwarding table or a neighbour table, not the
// kernel (NTF_EXT_LEARNED).
type Learned struct {
	MAC  net.HardwareAddr
	VTEP netip.Addr // where a VXLAN device sends the MAC's frames; without it, where the MAC's address or its port is
	Addr netip.Addr // whose MAC it is, for neighbours
}

// Learned returns the entries of a VXLAN device and of its bridge.
func (c *Conn) Learned(device, bridge string) (out []Learned, err error) {
	port, err := c.Index(device)
	if err != nil {
		return nil, err
	}
	above, err := c.Index(bridge)
	if err != nil {
		return nil, err
	}
	for family, link := range map[uint16]int{unix.AF_BRIDGE: port, unix.AF_INET: above, unix.AF_INET6: above} {
		all, err := dump(c, unix.RTM_GETNEIGH, &rtnetlink.NeighMessage{Family: family})
		if err != nil {
			return nil, wrap(err, "entries of %s and %s", device, bridge)
		}
		for _, m := range all {
			if m.Index != uint32(link) || m.Family != family || m.Flags&unix.NTF_EXT_LEARNED == 0 || m.Attributes == nil {
				continue
			}
			l := Learned{MAC: m.Attributes.LLAddress}
			if a := addr(m.Attributes.Address); family == unix.AF_BRIDGE {
				l.VTEP = a
			} else {
				l.Addr = a
			}
			out = append(out, l)
		}
	}
	return out, nil
}

// Neighbour returns the entry of an address, the zero value if there is none.
func (c *Conn) Neighbour(link string, a netip.Addr) (Neighbour, error) {
	index, err := c.Index(link)
	if err != nil {
		return Neighbour{}, err
	}
	all, err := dump(c, unix.RTM_GETNEIGH, &rtnetlink.NeighMessage{Family: uint16(family(a))})
	for _, m := range all {
		if m.Index == uint32(index) && m.Attributes != nil && addr(m.Attributes.Address) == a {
			return Neighbour{Addr: a, MAC: m.Attributes.LLAddress, State: m.State}, nil
		}
	}
	return Neighbour{}, wrap(err, "neighbours of %s", link)
}
