package domain

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Neighbor is a guest's address whose MAC the inventory knows.
type Neighbor struct {
	Link string
	Addr netip.Addr
	MAC  config.MAC
}

// GuestNeighbors gives the addresses by which the kernel reaches the guest. They are
// permanent entries: nobody has to be asked, no guest can make us believe another MAC,
// and they do not count against the kernel's limit of 1,024 neighbours of all interfaces
// together (gc_thresh3), beyond which it stops to answer ARP requests, too, since it
// first notes who asks.
func GuestNeighbors(g config.Guest) (list []Neighbor) {
	if g.MAC.IsZero() || g.Find.On() {
		return nil // what is found may be behind another MAC
	}
	add := func(a netip.Addr) { list = append(list, Neighbor{g.Interface, a, g.MAC}) }
	for _, a := range g.IPv4 {
		add(a.Addr)
	}
	for _, p := range g.IPv6 {
		if p.IsSingleIP() {
			add(p.Addr())
		}
	}
	if hasIPv6(g) {
		add(LinkLocal(g.MAC))
	}
	return list
}
