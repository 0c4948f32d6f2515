package netns

import (
	"net"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/internal/netns"
)

// openVRFs makes the VRFs and puts the uplinks that are there into them, before
// anything is read: an interface that enters a VRF loses its routes for a moment. What
// belongs to its VRF already is not touched.
func openVRFs(p config.Namespace) (*vrf.Conn, error) {
	conn, err := vrf.Open(p.NetNS.Path())
	if err != nil {
		return nil, err
	}
	err = netns.Do(p.NetNS.Path(), func() error {
		for _, d := range p.Config.Domains {
			index, err := conn.Ensure(d.VRF, d.Table.ID)
			if err != nil {
				return err
			}
			for _, name := range inVRF(p.Config, d) {
				if err := enslaveAtStart(conn, name, index); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// inVRF lists the interfaces of a domain besides those of guests.
func inVRF(c *config.Config, d config.Domain) []string {
	names := domain.Interfaces(d)
	if d.Loopback && c.Loopback.Interface != "" {
		names = append(names, c.Loopback.Interface)
	}
	return names
}

// enslaveAtStart puts an interface into a VRF unless it is there already, or does not exist.
func enslaveAtStart(conn *vrf.Conn, name string, index int) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	if master, err := conn.Master(link.Index); err != nil || master == index {
		return err
	}
	keepAddresses(name)
	return conn.Enslave(link.Index, index)
}

// keepAddresses lets an interface keep its IPv6 addresses while it is down for a
// moment. Without IPv6 it has none.
func keepAddresses(name string) {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/keep_addr_on_down", []byte("1"), 0o644)
}

// enslave puts the interfaces of domains and guests into their VRFs, those that came, came
// back, or were taken out of them.
func enslave(conn VRFs, c *config.Config, l *Links, guests []config.Guest, report func(what string, err error)) {
	for _, d := range c.Domains {
		names := inVRF(c, d)
		if d.Guests {
			for _, g := range guests {
				names = append(names, g.Interface)
			}
		}
		index := l.Index(d.VRF)
		if index == 0 {
			var err error
			if index, err = conn.Ensure(d.VRF, d.Table.ID); err != nil {
				report("VRF", err)
				continue
			}
		}
		for _, name := range names {
			if link, ok := l.ByName(name); ok && link.Master != index {
				report("VRF", conn.Enslave(link.IfIndex, index))
			}
		}
	}
}
