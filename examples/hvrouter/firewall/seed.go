package firewall

import (
	"net"
	"slices"

	"github.com/google/nftables"
	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// seed is who a set of neighbours has when its table is written as a whole: those that the kernel has. Otherwise all
// neighbours would be new ones after a restart of the daemon, and be limited.
type seed struct {
	family     uint8
	interfaces []string
}

// elements returns at most so many elements of neighbours on the interfaces; called in the namespace. What cannot be read
// is not there: the firewall does not wait for it.
func (s *seed) elements(most uint32) (list []nftables.SetElement) {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return nil
	}
	defer conn.Close()
	var stale []nftables.SetElement
	for _, name := range s.interfaces {
		link, err := net.InterfaceByName(name)
		if err != nil {
			continue
		}
		ask := &rtnetlink.NeighMessage{Family: uint16(s.family), Attributes: &rtnetlink.NeighAttributes{IfIndex: uint32(link.Index)}}
		answers, _ := conn.Execute(ask, unix.RTM_GETNEIGH, netlink.Request|netlink.Dump)
		for _, m := range answers {
			n, ok := m.(*rtnetlink.NeighMessage)
			if !ok || n.Index != uint32(link.Index) || n.Family != uint16(s.family) || n.Attributes == nil {
				continue
			}
			a := n.Attributes.Address
			if s.family == unix.AF_INET {
				a = a.To4()
			}
			e := nftables.SetElement{Key: slices.Concat(ifname(name), a)}
			switch {
			case len(a) == 0:
			case n.State&(unix.NUD_REACHABLE|unix.NUD_DELAY|unix.NUD_PROBE) != 0:
				list = append(list, e)
			case n.State&unix.NUD_STALE != 0:
				stale = append(stale, e)
			}
		}
	}
	list = append(list, stale...) // the others first, should there not be room for all
	return list[:min(len(list), int(most))]
}
