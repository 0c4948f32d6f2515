package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/ether"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// linkSetter changes interfaces over a netlink socket of its own.
type linkSetter struct {
	netns string
	conn  *rtnetlink.Conn
}

func openLinks(path string) (*linkSetter, error) {
	s := &linkSetter{netns: path}
	err := netns.Do(path, func() (err error) {
		s.conn, err = rtnetlink.Dial(nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	return s, nil
}

func (s *linkSetter) close() { s.conn.Close() }

// prepare gives an interface its MAC (if not zero) and brings it up. What is right
// already is not written. The kernel makes no link-local address of its own on it, and one
// that it has made is taken away: fe80::1 is all that the hypervisor has there.
func (s *linkSetter) prepare(l fib.Link, mac config.MAC) error {
	if err := netns.Do(s.netns, func() error { return write("/proc/sys/net/ipv6/conf/"+l.Interface+"/addr_gen_mode", "1") }); err != nil {
		return err
	}
	if own := ether.MAC(l.MAC).LinkLocal(); l.AdminUp {
		err := s.conn.Address.Delete(&rtnetlink.AddressMessage{Family: unix.AF_INET6, PrefixLength: 64, Index: uint32(l.IfIndex),
			Attributes: &rtnetlink.AddressAttributes{Address: own[:]}})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("the kernel's link-local address: %w", err)
		}
	}
	m := rtnetlink.LinkMessage{Index: uint32(l.IfIndex)}
	if !mac.IsZero() && [6]byte(mac) != l.MAC {
		m.Attributes = &rtnetlink.LinkAttributes{Address: net.HardwareAddr(mac[:])}
	}
	if !l.AdminUp {
		m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	}
	if m.Attributes == nil && m.Change == 0 {
		return nil
	}
	if err := s.conn.Link.Set(&m); err != nil && !errors.Is(err, unix.ENODEV) { // it is going: an event follows
		return err
	}
	return nil
}

// isUp asks the kernel whether an interface is up and, if master is not 0, a port of that bridge.
func (s *linkSetter) isUp(index, master int) bool {
	l, err := s.conn.Link.Get(uint32(index))
	if err != nil || l.Flags&unix.IFF_UP == 0 {
		return false
	}
	return master == 0 || l.Attributes != nil && l.Attributes.Master != nil && int(*l.Attributes.Master) == master
}

// name returns that of an interface, or its index if the kernel does not say.
func (s *linkSetter) name(index int) string {
	if l, err := s.conn.Link.Get(uint32(index)); err == nil && l.Attributes != nil {
		return l.Attributes.Name
	}
	return fmt.Sprint(index)
}

// join makes an interface a port of a bridge, which learns from it or does not, and brings it up.
func (s *linkSetter) join(index, bridge int, learn bool) error {
	master := uint32(bridge)
	if err := s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Attributes: &rtnetlink.LinkAttributes{Master: &master}}); err != nil {
		return err
	}
	if err := s.learn(index, learn); err != nil {
		return err
	}
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP})
}

// learn sets whether a bridge learns MACs from what comes from a port.
func (s *linkSetter) learn(index int, on bool) error {
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index),
		Attributes: &rtnetlink.LinkAttributes{Info: &rtnetlink.LinkInfo{Kind: "bridge", SlaveKind: "bridge", SlaveData: portFlags{unix.IFLA_BRPORT_LEARNING: on}}}})
}

// portFlags are settings of a bridge port that are on or off, by their attributes.
type portFlags map[uint16]bool

func (f portFlags) New() rtnetlink.LinkDriver              { return f }
func (f portFlags) Decode(*netlink.AttributeDecoder) error { return nil }
func (f portFlags) Kind() string                           { return "bridge" }
func (f portFlags) Slave()                                 {}
func (f portFlags) Encode(e *netlink.AttributeEncoder) error {
	for attribute, on := range f {
		e.Uint8(attribute, map[bool]uint8{true: 1}[on])
	}
	return nil
}

// leave takes an interface out of a bridge, if it is there.
func (s *linkSetter) leave(index, bridge int) error {
	l, err := s.conn.Link.Get(uint32(index))
	if err != nil || l.Attributes == nil || l.Attributes.Master == nil || int(*l.Attributes.Master) != bridge {
		return nil // it is gone, or another program's
	}
	none := uint32(0)
	if err := s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Attributes: &rtnetlink.LinkAttributes{Master: &none}}); !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// mostLearned bounds what members of an overlay can have its bridge, and its VXLAN device,
// learn. Who has more stations, or makes them up, has the rest of the overlay flooded.
const mostLearned = 4096

// overlayBridge makes an interface the bridge of an overlay: up, with a bound on what it
// learns (Linux 6.7; older ones ignore it), and deaf to ARP whatever becomes of the
// firewall: arp_rcv drops what comes in on an interface with IFF_NOARP. It does not snoop:
// a member that claims to be the querier of IGMP or MLD (RFC 4541, Section 2.1.1) would decide which
// multicast the others get, neighbour discovery included, and made-up groups fill a table.
//
// With evpn the flag is off: the bridge answers ARP in the place of others only without it
// (br_do_proxy_suppress_arp). Its sysctl arp_ignore, which is 8, has it answer for none of our own addresses. IPv6 is on,
// without which it has no neighbours, and there is no address.
//
// The MAC of a bridge is the lowest of its ports' until it is given one, and the kernel deletes all its neighbours when that
// changes (neigh_changeaddr): with evpn it is given one, so that a guest that comes or goes deletes none.
func (s *linkSetter) overlayBridge(index int, o *config.Overlay) error {
	const change = unix.IFF_UP | unix.IFF_NOARP
	flags, attributes := uint32(change), rtnetlink.LinkAttributes{Info: &rtnetlink.LinkInfo{Kind: "bridge", Data: overlayBridge(mostLearned)}}
	if o.EVPN != nil {
		flags = unix.IFF_UP
		l, err := s.conn.Link.Get(uint32(index))
		if err != nil {
			return err
		}
		if mac := bridgeMAC(o); l.Attributes == nil || !bytes.Equal(l.Attributes.Address, mac) {
			attributes.Address = mac
		}
		if err := netns.Do(s.netns, func() error { return write("/proc/sys/net/ipv6/conf/"+o.Bridge+"/addr_gen_mode", "1") }); err != nil {
			return err
		}
	}
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Flags: flags, Change: change, Attributes: &attributes})
}

// bridgeMAC is the MAC of an overlay's bridge, a locally administered one: the same after each restart, and another one on
// each VTEP and for each VNI.
func bridgeMAC(o *config.Overlay) net.HardwareAddr {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(o.Local.Addr.AsSlice(), o.VNI))
	mac := net.HardwareAddr(h.Sum(nil)[:6])
	mac[0] = mac[0]&^1 | 2
	return mac
}

// overlayBridge is what a bridge of an overlay has set: it learns so many MACs, and does
// not snoop.
type overlayBridge uint32

func (l overlayBridge) New() rtnetlink.LinkDriver              { return l }
func (l overlayBridge) Decode(*netlink.AttributeDecoder) error { return nil }
func (l overlayBridge) Kind() string                           { return "bridge" }
func (l overlayBridge) Encode(e *netlink.AttributeEncoder) error {
	e.Uint32(unix.IFLA_BR_FDB_MAX_LEARNED, uint32(l))
	e.Uint8(unix.IFLA_BR_MCAST_SNOOPING, 0)
	return nil
}

// overlayPort sets what the VXLAN device is as a port of its bridge: with evpn the bridge does not learn
// from what comes from it, and answers for the neighbours that it knows behind it.
func (s *linkSetter) overlayPort(index int, evpn bool) error {
	// The kind is that of the bridge: it is not looked at, but for whether its data are missing, as vxlan's would be
	// (vxlan_validate).
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index),
		Attributes: &rtnetlink.LinkAttributes{Info: &rtnetlink.LinkInfo{Kind: "bridge", SlaveKind: "bridge", SlaveData: portFlags{unix.IFLA_BRPORT_LEARNING: !evpn, unix.IFLA_BRPORT_NEIGH_SUPPRESS: evpn}}}})
}

// bridge makes a bridge, which is down, if there is none of that name, and gives its
// index.
func (s *linkSetter) bridge(name string, mtu uint32) (index int, err error) {
	err = s.conn.Link.New(&rtnetlink.LinkMessage{
		Attributes: &rtnetlink.LinkAttributes{Name: name, MTU: mtu, Info: &rtnetlink.LinkInfo{Kind: "bridge"}}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return 0, fmt.Errorf("bridge %s: %w", name, err)
	}
	err = netns.Do(s.netns, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = i.Index
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("bridge %s: %w", name, err)
	}
	return index, nil
}
