package edge

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
)

// placeGuests has the bridge of an overlay with EVPN know where the guests are that are here: a static entry for the
// MAC of each, at its port, that no frame moves ("sticky"). The bridge does not learn from these ports: what a guest sends
// with the MAC of another one would have that one's frames come to it, whether the other is here or behind a VTEP,
// and a guest that is silent for the ageing time would be flooded to everybody.
//
// A guest whose MAC another VTEP has is not among them, so that what EVPN says has its place there.
func (e *Edge) placeGuests(o *standing, d *overlay.Desired, index func(string) (int, bool)) {
	if d == nil || !d.Settled {
		return // what an earlier run has put there stays
	}
	var errs []error
	if o.placed == nil { // what an earlier run has left
		placed, err := e.links.placed(o.bridge, o.quiet)
		if err != nil {
			e.refused(o.config.Name, err)
			return
		}
		o.placed = placed
	}
	for mac, port := range o.placed {
		if now, ok := index(d.Ports[mac]); ok && now == port {
			continue
		}
		if err := e.links.unplace(mac, port); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(o.placed, mac)
	}
	for mac, name := range d.Ports {
		port, ok := index(name)
		if _, there := o.placed[mac]; there || !ok || !slices.Contains(o.members, port) {
			continue
		}
		switch err := e.links.place(mac, port); {
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL): // it is going, or no port any more: an event follows
		case err != nil:
			errs = append(errs, err)
		default:
			o.placed[mac] = port
		}
	}
	e.refused(o.config.Name, errors.Join(errs...))
}

// forgetGuests has a bridge learn again, and takes back what it was told of guests.
func (e *Edge) forgetGuests(o standing) {
	var errs []error
	for mac, port := range o.placed {
		errs = append(errs, e.links.unplace(mac, port))
	}
	for _, port := range o.quiet {
		if err := e.links.learn(port, true); !gone(err) {
			errs = append(errs, err)
		}
	}
	e.refused(o.config.Name, errors.Join(errs...))
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

// placed returns what place has put behind ports of a bridge.
func (s *linkSetter) placed(bridge int, ports []int) (map[overlay.MAC]int, error) {
	out := map[overlay.MAC]int{}
	if len(ports) == 0 {
		return out, nil
	}
	list, err := s.conn.Execute(&rtnetlink.NeighMessage{Family: unix.AF_BRIDGE}, unix.RTM_GETNEIGH, netlink.Request|netlink.Dump)
	if err != nil {
		return nil, fmt.Errorf("forwarding entries of bridge %d: %w", bridge, err)
	}
	for _, m := range list {
		n, ok := m.(*rtnetlink.NeighMessage)
		if !ok || n.Flags&ntfSticky == 0 || n.State&unix.NUD_NOARP == 0 || n.Attributes == nil || len(n.Attributes.LLAddress) != 6 || !slices.Contains(ports, int(n.Index)) {
			continue
		}
		out[overlay.MAC(n.Attributes.LLAddress)] = int(n.Index)
	}
	return out, nil
}
