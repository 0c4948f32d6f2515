package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	raw   *netlink.Conn // for what conn does not know
}

func openLinks(path string) (*linkSetter, error) {
	s := &linkSetter{netns: path}
	err := netns.Do(path, func() (err error) {
		if s.conn, err = rtnetlink.Dial(nil); err != nil {
			return err
		}
		if err = s.conn.SetOption(netlink.GetStrictCheck, true); err == nil { // see placed
			s.raw, err = netlink.Dial(unix.NETLINK_ROUTE, nil)
		}
		if err != nil {
			s.conn.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	return s, nil
}

func (s *linkSetter) close() {
	s.conn.Close()
	s.raw.Close()
}

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
	if err := s.set(index, learning(learn)); err != nil {
		return err
	}
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP})
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

// up brings the bridge of an overlay up. With EVPN it has IPv6, without which it has no neighbours, and no address.
func (s *linkSetter) up(index int, o *config.Overlay) error {
	if o.EVPN != nil {
		if err := netns.Do(s.netns, func() error { return write("/proc/sys/net/ipv6/conf/"+o.Bridge+"/addr_gen_mode", "1") }); err != nil {
			return err
		}
	}
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP})
}

// read asks the kernel how an interface is.
func (s *linkSetter) read(index int) (iface, error) {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	answer, err := s.raw.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request}, Data: b})
	if err != nil {
		return iface{}, err
	}
	if len(answer) == 0 {
		return iface{}, errShort
	}
	return parseInterface(answer[0].Data)
}

// set gives an interface settings.
func (s *linkSetter) set(index int, to settings) error {
	b, err := encodeSettings(index, to)
	if err != nil {
		return err
	}
	_, err = s.raw.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_NEWLINK, Flags: netlink.Request | netlink.Acknowledge}, Data: b})
	return err
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
