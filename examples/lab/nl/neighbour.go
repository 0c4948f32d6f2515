package nl

import (
	"encoding/binary"
	"net"
	"net/netip"

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
	index, err := c.Index(link)
	if err != nil {
		return err
	}
	m := ndmsg(family(n.Addr), index)
	binary.NativeEndian.PutUint16(m[8:], n.State)
	err = c.do(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, m, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NDA_DST, n.Addr.AsSlice())
		if n.MAC != nil {
			ae.Bytes(unix.NDA_LLADDR, n.MAC)
		}
	})
	return wrap(err, "neighbour %s on %s", n.Addr, link)
}

// Neighbour returns the entry of an address, the zero value if there is none.
func (c *Conn) Neighbour(link string, a netip.Addr) (Neighbour, error) {
	index, err := c.Index(link)
	if err != nil {
		return Neighbour{}, err
	}
	msgs, err := c.dump(unix.RTM_GETNEIGH, ndmsg(family(a), 0), nil)
	if err != nil {
		return Neighbour{}, wrap(err, "neighbours of %s", link)
	}
	for _, m := range msgs {
		if n, on, ok := parseNeighbour(m.Data); ok && on == index && n.Addr == a {
			return n, nil
		}
	}
	return Neighbour{}, nil
}

func ndmsg(family uint8, index int) []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return b
}

func parseNeighbour(b []byte) (n Neighbour, link int, ok bool) {
	if len(b) < unix.SizeofNdMsg {
		return n, 0, false
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofNdMsg:])
	if err != nil {
		return n, 0, false
	}
	n.State = binary.NativeEndian.Uint16(b[8:])
	for ad.Next() {
		switch ad.Type() {
		case unix.NDA_DST:
			n.Addr, ok = netip.AddrFromSlice(ad.Bytes())
		case unix.NDA_LLADDR:
			n.MAC = append(net.HardwareAddr(nil), ad.Bytes()...)
		}
	}
	return n, int(binary.NativeEndian.Uint32(b[4:])), ok
}
