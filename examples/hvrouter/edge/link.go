package edge

import (
	"errors"
	"fmt"
	"net"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
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
// already is not written.
func (s *linkSetter) prepare(l fib.Link, mac config.MAC) error {
	m := rtnetlink.LinkMessage{Index: uint32(l.Index)}
	if !mac.IsZero() && [6]byte(mac) != l.MAC {
		m.Attributes = &rtnetlink.LinkAttributes{Address: net.HardwareAddr(mac[:])}
	}
	if !l.AdminUp {
		m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	}
	if m.Attributes == nil && m.Change == 0 {
		return nil
	}
	return s.conn.Link.Set(&m)
}

// join makes an interface a port of a bridge, and brings it up.
func (s *linkSetter) join(index, bridge int) error {
	master := uint32(bridge)
	return s.conn.Link.Set(&rtnetlink.LinkMessage{Index: uint32(index), Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{Master: &master}})
}

// bridge makes a bridge if there is none of that name, brings it up and gives its
// index.
func (s *linkSetter) bridge(name string, mtu uint32) (index int, err error) {
	err = s.conn.Link.New(&rtnetlink.LinkMessage{Flags: unix.IFF_UP, Change: unix.IFF_UP,
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
