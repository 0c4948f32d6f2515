package nl

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
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

func (v Veth) message() *rtnetlink.LinkMessage {
	m := &rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Name: v.Name, Address: v.MAC, MTU: v.MTU}}
	if v.Up {
		m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	}
	return m
}

// AddVeth makes a pair: near in this namespace, far in the one at farPath.
func (c *Conn) AddVeth(near Veth, far Veth, farPath string) error {
	ns, err := os.Open(farPath)
	if err != nil {
		return err
	}
	defer ns.Close()
	far.Up = false
	peer := far.message()
	peer.Attributes.NetNS = rtnetlink.NetNSForFD(uint32(ns.Fd()))
	return wrap(c.add(near, &driver.Veth{PeerInfo: peer}), "veth %s to %s", near.Name, far.Name)
}

// AddBridge makes a bridge. One without ports serves as an interface that just
// carries addresses, where the kernel has no dummy driver.
func (c *Conn) AddBridge(name string, mtu uint32) error {
	return wrap(c.add(Veth{Name: name, MTU: mtu}, &rtnetlink.LinkData{Name: "bridge"}), "bridge %s", name)
}

// AddVXLAN makes a unicast VXLAN device on UDP port 4789 with TTL 255 that
// learns nothing: its forwarding table is written by others.
func (c *Conn) AddVXLAN(name string, vni uint32, local netip.Addr) error {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_VXLAN_ID, vni)
	ae.Bytes(unix.IFLA_VXLAN_LOCAL, local.AsSlice())
	ae.Uint8(unix.IFLA_VXLAN_TTL, 255)
	ae.Bytes(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, 4789))
	b, err := ae.Encode()
	if err == nil {
		err = c.add(Veth{Name: name}, &rtnetlink.LinkData{Name: "vxlan", Data: b})
	}
	return wrap(err, "vxlan %s", name)
}

// SetAgeing sets after how long without a frame a bridge forgets what it has learned.
func (c *Conn) SetAgeing(bridge string, after time.Duration) error {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_BR_AGEING_TIME, uint32(after/(10*time.Millisecond))) // USER_HZ
	b, err := ae.Encode()
	if err == nil {
		err = c.set(bridge, &rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Info: &rtnetlink.LinkInfo{Kind: "bridge", Data: &rtnetlink.LinkData{Name: "bridge", Data: b}}}})
	}
	return wrap(err, "ageing of %s", bridge)
}

func (c *Conn) add(v Veth, kind rtnetlink.LinkDriver) error {
	m := v.message()
	m.Attributes.Info = &rtnetlink.LinkInfo{Kind: kind.Kind(), Data: kind}
	return c.rt.Link.New(m)
}

// SetUp brings a link up or down.
func (c *Conn) SetUp(name string, up bool) error {
	m := &rtnetlink.LinkMessage{Change: unix.IFF_UP}
	if up {
		m.Flags = unix.IFF_UP
	}
	return c.set(name, m)
}

// SetMaster makes a link the port of a bridge.
func (c *Conn) SetMaster(name, bridge string) error {
	index, err := c.Index(bridge)
	if err != nil {
		return err
	}
	master := uint32(index)
	return c.set(name, &rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Master: &master}})
}

// SetMAC gives a link another Ethernet address.
func (c *Conn) SetMAC(name string, mac net.HardwareAddr) error {
	return c.set(name, &rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Address: mac}})
}

func (c *Conn) set(name string, m *rtnetlink.LinkMessage) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	m.Index = uint32(index)
	return wrap(c.rt.Link.Set(m), "link %s", name)
}

// DeleteLink removes a link, and the other end of a pair.
func (c *Conn) DeleteLink(name string) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	return wrap(c.rt.Link.Delete(uint32(index)), "link %s", name)
}

// Port states of a bridge.
const (
	PortDisabled   = 0 // nothing passes, yet the carrier stays: a silent cut
	PortForwarding = 3
)

// SetPortState sets the forwarding state of a bridge port. The message is of family
// AF_BRIDGE, which rtnetlink's LinkMessage cannot be.
func (c *Conn) SetPortState(name string, state uint8) error {
	index, err := c.Index(name)
	if err != nil {
		return err
	}
	b := make([]byte, unix.SizeofIfInfomsg)
	b[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return wrap(c.doRaw(unix.RTM_SETLINK, 0, b, func(ae *netlink.AttributeEncoder) {
		ae.Nested(unix.IFLA_PROTINFO, func(port *netlink.AttributeEncoder) error {
			port.Uint8(unix.IFLA_BRPORT_STATE, state)
			return nil
		})
	}), "bridge port %s", name)
}

// Index returns the index of a link.
func (c *Conn) Index(name string) (int, error) {
	l, err := c.Link(name)
	return l.Index, err
}

// Link returns one link by name.
func (c *Conn) Link(name string) (Link, error) {
	msgs, err := c.rt.Execute(&rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Name: name}}, unix.RTM_GETLINK, netlink.Request)
	if err != nil || len(msgs) != 1 {
		return Link{}, wrap(err, "link %s", name)
	}
	return linkOf(msgs[0].(*rtnetlink.LinkMessage)), nil
}

// Links returns all links by index.
func (c *Conn) Links() (map[int]Link, error) {
	msgs, err := c.rt.Link.List()
	out := make(map[int]Link, len(msgs))
	for _, m := range msgs {
		l := linkOf(&m)
		out[l.Index] = l
	}
	return out, wrap(err, "links")
}

func linkOf(m *rtnetlink.LinkMessage) Link {
	a := m.Attributes
	l := Link{Index: int(m.Index), Name: a.Name, MAC: a.Address, Up: m.Flags&unix.IFF_UP != 0, Running: m.Flags&unix.IFF_RUNNING != 0}
	if a.Stats64 != nil {
		l.Rx, l.Tx = a.Stats64.RXPackets, a.Stats64.TXPackets
	}
	if a.Info != nil && a.Info.SlaveKind == "bridge" { // a VRF's interfaces have other data
		l.Port = portState(a.Info.SlaveData)
	}
	return l
}

// portState reads the state of a bridge port, of which rtnetlink keeps the octets.
func portState(data rtnetlink.LinkDriver) uint8 {
	port, ok := data.(*rtnetlink.LinkData)
	if !ok {
		return PortDisabled
	}
	ad, err := netlink.NewAttributeDecoder(port.Data)
	for err == nil && ad.Next() {
		if ad.Type() == unix.IFLA_BRPORT_STATE {
			return ad.Uint8()
		}
	}
	return PortDisabled
}
