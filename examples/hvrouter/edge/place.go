package edge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// guestPorts returns the ports of the guests that are here, for the bridge of an overlay with EVPN to have a static entry of the
// MAC of each there, that no frame moves ("sticky"). The bridge does not learn from these ports: what a guest sends
// with the MAC of another one would have that one's frames come to it, whether the other is here or behind a VTEP,
// and a guest that is silent for the ageing time would be flooded to everybody.
//
// A guest whose MAC another VTEP has is not among them, so that what EVPN says has its place there. The result is nil if it
// is not known yet.
func guestPorts(o *standing, d *overlay.Desired, index func(string) (int, bool)) map[overlay.MAC]int {
	if d == nil || !d.Settled {
		return nil
	}
	guests := map[overlay.MAC]int{}
	for mac, name := range d.Ports {
		if port, ok := index(name); ok && slices.Contains(o.members, port) {
			guests[mac] = port
		}
	}
	return guests
}

// gone reports whether err says that there is no such interface, or that it is no port.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

const ntfSticky = 1 << 6 // NTF_STICKY: the entry does not move to where a frame with its MAC comes from

// place puts a MAC behind a port of a bridge, in the place of what the bridge knows of it.
func (s *linkSetter) place(mac overlay.MAC, port int) error {
	m := rtnetlink.NeighMessage{Family: unix.AF_BRIDGE, Index: uint32(port), State: unix.NUD_NOARP, Flags: unix.NTF_MASTER | ntfSticky,
		Attributes: &rtnetlink.NeighAttributes{LLAddress: net.HardwareAddr(mac[:])}}
	_, err := s.conn.Execute(&m, unix.RTM_NEWNEIGH, netlink.Request|netlink.Acknowledge|netlink.Create|netlink.Replace)
	if err != nil {
		return fmt.Errorf("%v at port %d: %w", mac, port, err)
	}
	return nil
}

// unplace takes that back; what is at another port stays. It is no error if it is gone.
func (s *linkSetter) unplace(mac overlay.MAC, port int) error {
	m := rtnetlink.NeighMessage{Family: unix.AF_BRIDGE, Index: uint32(port), Flags: unix.NTF_MASTER,
		Attributes: &rtnetlink.NeighAttributes{LLAddress: net.HardwareAddr(mac[:])}}
	_, err := s.conn.Execute(&m, unix.RTM_DELNEIGH, netlink.Request|netlink.Acknowledge)
	if err != nil && !errors.Is(err, unix.ENOENT) && !gone(err) {
		return fmt.Errorf("%v at port %d: %w", mac, port, err)
	}
	return nil
}

// placed returns what place has put behind ports of a bridge. With strict checking a dump is of the port that is in its header
// (net/core/rtnetlink.c, valid_fdb_dump_strict): one of everything costs seconds where the bridge has 100,000 MACs.
func (s *linkSetter) placed(ports []int) (map[overlay.MAC]int, error) {
	out := map[overlay.MAC]int{}
	for _, port := range ports {
		list, err := s.conn.Execute(&rtnetlink.NeighMessage{Family: unix.AF_BRIDGE, Index: uint32(port)}, unix.RTM_GETNEIGH, netlink.Request|netlink.Dump)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("forwarding entries of port %d: %w", port, err)
		}
		for _, m := range list {
			n, ok := m.(*rtnetlink.NeighMessage)
			if !ok || n.Flags&ntfSticky == 0 || n.State&unix.NUD_NOARP == 0 || n.Attributes == nil || len(n.Attributes.LLAddress) != 6 || int(n.Index) != port {
				continue
			}
			out[overlay.MAC(n.Attributes.LLAddress)] = port
		}
	}
	return out, nil
}

// placing is where a bridge has a MAC.
type placing struct {
	port         int
	fixed, stays bool // static, and sticky
}

// places reports whether that is as place has it.
func (p placing) places(port int) bool { return p.port == port && p.fixed && p.stays }

// entry asks a bridge where it has a MAC; there is whether it has.
func (s *linkSetter) entry(bridge int, mac overlay.MAC) (p placing, there bool, err error) {
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.NDA_LLADDR, mac[:])
	e.Uint32(unix.NDA_MASTER, uint32(bridge))
	attributes, err := e.Encode()
	if err != nil {
		return p, false, err
	}
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = unix.AF_BRIDGE
	answer, err := s.raw.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_GETNEIGH, Flags: netlink.Request}, Data: append(b, attributes...)})
	switch {
	case errors.Is(err, unix.ENOENT):
		return p, false, nil
	case err != nil:
		return p, false, fmt.Errorf("%v: %w", mac, err)
	case len(answer) == 0 || len(answer[0].Data) < unix.SizeofNdMsg:
		return p, false, errShort
	}
	return parsePlacing(answer[0].Data), true, nil
}

// parsePlacing reads struct ndmsg.
func parsePlacing(b []byte) placing {
	return placing{port: int(int32(binary.NativeEndian.Uint32(b[4:]))), fixed: binary.NativeEndian.Uint16(b[8:])&unix.NUD_NOARP != 0, stays: b[10]&ntfSticky != 0}
}

// macOf returns the MAC that a notification of a bridge's entry is about.
func macOf(b []byte) (mac overlay.MAC, ok bool) {
	if len(b) < unix.SizeofNdMsg || b[0] != unix.AF_BRIDGE {
		return mac, false
	}
	d, err := netlink.NewAttributeDecoder(b[unix.SizeofNdMsg:])
	if err != nil {
		return mac, false
	}
	for d.Next() {
		if v := d.Bytes(); d.Type() == unix.NDA_LLADDR && len(v) == len(mac) {
			return overlay.MAC(v), true
		}
	}
	return mac, false
}

// linkOf returns the index of the interface that a notification is about.
func linkOf(b []byte) (index int, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(b[4:]))), true
}

// fenceQuestion is the payload of RTM_GETLINK for the interface that there always is.
func fenceQuestion() []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], 1)
	return b
}
