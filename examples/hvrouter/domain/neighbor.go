package domain

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Neighbor is a guest's address whose MAC the inventory knows. It is a permanent entry
// of the kernel: nobody has to be asked, and no guest can make us believe another MAC.
// And it does not count against the kernel's limit of 1,024 neighbours of all interfaces
// and namespaces together (gc_thresh3; neigh_alloc: exempt_from_gc), beyond which it stops
// to answer ARP requests, too, since it first notes who asks. The firewall lets the kernel
// hear ARP and neighbour discovery from these addresses alone (RFC 6583, Section 7.1).
type Neighbor struct {
	Link string
	Addr netip.Addr
	MAC  config.MAC
}

// Permanent reports whether a guest's addresses are permanent neighbours. What it may find
// besides them may be behind another MAC.
func Permanent(g config.Guest) bool { return !g.MAC.IsZero() && !g.Discovery.On() }

// neighbors lists them; heard are addresses that the guest was heard from besides its own.
func neighbors(g config.Guest, heard []netip.Addr) (list []Neighbor) {
	if Permanent(g) {
		for _, a := range append(GuestNeighbours(g), heard...) {
			list = append(list, Neighbor{g.Interface, a, g.MAC})
		}
	}
	return list
}
