package nl

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Link is what the lab wants to know of an interface.
type Link struct {
	Index int
	Name  string
	MAC   net.HardwareAddr
	Up    bool // administratively
	// Running says that the link is operational: the kernel notices that a while
	// after there is carrier.
	Running bool
	Port    uint8  // state as a bridge port, PortForwarding if frames pass
	Rx, Tx  uint64 // packets
}

// Veth describes one end of a pair. MAC and MTU zero leave them to the kernel. Up brings
// it up; the far end can only be once there is a near one.
type Veth struct {
	Name string
	MAC  net.HardwareAddr
	MTU  uint32
	Up   bool
}

func (v Veth) flags() uint32 {
	if v.Up {
		return unix.IFF_UP
	}
	return 0
}

// AddVeth makes a pair: near in this namespace, far in the one at farPath.
func (c *Conn) AddVeth(near Veth, far Veth, farPath string) error {
	ns, err := os.Open(farPath)
	if err != nil {
		return err
	}
	defer ns.Close()
	err = c.do(unix.RTM_NEWLINK, create, ifinfomsg(0, 0, near.flags(), near.flags()), func(ae *netlink.AttributeEncoder) {
		near.encode(ae)
		linkInfo(ae, "veth", func(data *netlink.AttributeEncoder) {
			const vethInfoPeer = 1
			data.Do(vethInfoPeer, func() ([]byte, error) {
				peer := netlink.NewAttributeEncoder()
				far.encode(peer)
				peer.Uint32(unix.IFLA_NET_NS_FD, uint32(ns.Fd()))
				attrs, err := peer.Encode()
				return append(ifinfomsg(0, 0, 0, 0), attrs...), err
			})
		})
	})
	return wrap(err, "veth %s to %s", near.Name, far.Name)
}

func (v Veth) encode(ae *netlink.AttributeEncoder) {
	ae.String(unix.IFLA_IFNAME, v.Name)
	if v.MAC != nil {
		ae.Bytes(unix.IFLA_ADDRESS, v.MAC)
	}
	if v.MTU != 0 {
		ae.Uint32(unix.IFLA_MTU, v.MTU)
	}
}

// AddBridge makes a bridge. One without ports serves as an interface that just
// carries addresses, where the kernel has no dummy driver.
func (c *Conn) AddBridge(name string, mtu uint32) error {
	err := c.do(unix.RTM_NEWLINK, create, ifinfomsg(0, 0, 0, 0), func(ae *netlink.AttributeEncoder) {
		Veth{Name: name, MTU: mtu}.encode(ae)
		linkInfo(ae, "bridge", nil)
	})
	return wrap(err, "bridge %s", name)
}

// AddVXLAN makes a unicast VXLAN device on UDP port 4789 with TTL 255 that
// learns nothing: its forwarding table is written by somebody.
func (c *Conn) AddVXLAN(name string, vni uint32, local netip.Addr) error {
	err := c.do(unix.RTM_NEWLINK, create, ifinfomsg(0, 0, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		linkInfo(ae, "vxlan", func(data *netlink.AttributeEncoder) {
			data.Uint32(unix.IFLA_VXLAN_ID, vni)
			data.Bytes(unix.IFLA_VXLAN_LOCAL, local.AsSlice())
			data.Uint8(unix.IFLA_VXLAN_TTL, 255)
			data.Bytes(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, 4789))
		})
	})
	return wrap(err, "vxlan %s", name)
}

// AddFlood appends a remote VTEP to the flood list of a VXLAN device.
func (c *Conn) AddFlood(name string, vtep netip.Addr) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	ndm := make([]byte, unix.SizeofNdMsg)
	ndm[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(ndm[4:], uint32(index))
	binary.NativeEndian.PutUint16(ndm[8:], unix.NUD_PERMANENT|unix.NUD_NOARP)
	ndm[10] = unix.NTF_SELF
	err = c.do(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_APPEND, ndm, func(ae *netlink.AttributeEncoder) {
		ae.Bytes(unix.NDA_LLADDR, make([]byte, 6))
		ae.Bytes(unix.NDA_DST, vtep.AsSlice())
	})
	return wrap(err, "flood list of %s: %s", name, vtep)
}

// SetUp brings a link up or down.
func (c *Conn) SetUp(name string, up bool) error {
	var flags uint32
	if up {
		flags = unix.IFF_UP
	}
	return c.set(name, flags, unix.IFF_UP, nil)
}

// SetMaster makes a link the port of a bridge.
func (c *Conn) SetMaster(name, bridge string) error {
	index, err := c.Index(bridge)
	if err != nil {
		return err
	}
	return c.set(name, 0, 0, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.IFLA_MASTER, uint32(index))
	})
}

// Port states of a bridge.
const (
	PortDisabled   = 0 // nothing passes, yet the carrier stays: a silent cut
	PortForwarding = 3
)

// SetPortState sets the forwarding state of a bridge port.
func (c *Conn) SetPortState(name string, state uint8) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	const brportState = 1
	err = c.do(unix.RTM_SETLINK, 0, ifinfomsg(unix.AF_BRIDGE, index, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.NLA_F_NESTED|unix.IFLA_PROTINFO, func(port *netlink.AttributeEncoder) error {
			port.Uint8(brportState, state)
			return nil
		})
	})
	return wrap(err, "bridge port %s", name)
}

func (c *Conn) set(name string, flags, change uint32, attrs func(*netlink.AttributeEncoder)) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	return wrap(c.do(unix.RTM_NEWLINK, 0, ifinfomsg(0, index, flags, change), attrs), "link %s", name)
}

// Index returns the index of a link.
func (c *Conn) Index(name string) (int, error) {
	l, err := c.Link(name)
	return l.Index, err
}

// Link returns one link by name.
func (c *Conn) Link(name string) (Link, error) {
	msgs, err := c.request(unix.RTM_GETLINK, 0, ifinfomsg(0, 0, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
	})
	if err != nil || len(msgs) != 1 {
		return Link{}, wrap(err, "link %s", name)
	}
	return parseLink(msgs[0].Data)
}

// Links returns all links by index.
func (c *Conn) Links() (map[int]Link, error) {
	msgs, err := c.dump(unix.RTM_GETLINK, ifinfomsg(0, 0, 0, 0), nil)
	if err != nil {
		return nil, wrap(err, "links")
	}
	out := make(map[int]Link, len(msgs))
	for _, m := range msgs {
		l, err := parseLink(m.Data)
		if err != nil {
			return nil, err
		}
		out[l.Index] = l
	}
	return out, nil
}

func parseLink(b []byte) (Link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return Link{}, fmt.Errorf("link: %w", errShort)
	}
	l := Link{
		Index:   int(int32(binary.NativeEndian.Uint32(b[4:]))),
		Up:      binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0,
		Running: binary.NativeEndian.Uint32(b[8:])&unix.IFF_RUNNING != 0,
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return l, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_ADDRESS:
			l.MAC = append(net.HardwareAddr(nil), ad.Bytes()...)
		case unix.IFLA_LINKINFO:
			ad.Nested(l.portInfo)
		case unix.IFLA_STATS64:
			if s := ad.Bytes(); len(s) >= 16 {
				l.Rx, l.Tx = binary.NativeEndian.Uint64(s), binary.NativeEndian.Uint64(s[8:])
			}
		}
	}
	return l, ad.Err()
}

// portInfo reads the state of a bridge port.
func (l *Link) portInfo(info *netlink.AttributeDecoder) error {
	bridge := false
	for info.Next() {
		if info.Type() == unix.IFLA_INFO_SLAVE_KIND {
			bridge = info.String() == "bridge" // a VRF's interfaces have other data
		}
		if info.Type() != unix.IFLA_INFO_SLAVE_DATA || !bridge {
			continue
		}
		info.Nested(func(port *netlink.AttributeDecoder) error {
			for port.Next() {
				if port.Type() == unix.IFLA_BRPORT_STATE {
					l.Port = port.Uint8()
				}
			}
			return nil
		})
	}
	return nil
}

func linkInfo(ae *netlink.AttributeEncoder, kind string, data func(*netlink.AttributeEncoder)) {
	ae.Nested(unix.IFLA_LINKINFO, func(info *netlink.AttributeEncoder) error {
		info.String(unix.IFLA_INFO_KIND, kind)
		if data != nil {
			info.Nested(unix.IFLA_INFO_DATA, func(nae *netlink.AttributeEncoder) error {
				data(nae)
				return nil
			})
		}
		return nil
	})
}

// DeleteLink removes a link, and the other end of a pair.
func (c *Conn) DeleteLink(name string) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	return wrap(c.do(unix.RTM_DELLINK, 0, ifinfomsg(0, index, 0, 0), nil), "link %s", name)
}
