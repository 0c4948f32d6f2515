package domain

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Neighbor is a guest's address whose MAC the inventory knows. It is a permanent entry
// of the kernel: nobody has to be asked, and no guest can make us believe another MAC.
// And it does not count against the kernel's limit of 1,024 neighbours of all interfaces
// together (gc_thresh3), beyond which it stops to answer ARP requests, too, since it
// first notes who asks.
type Neighbor struct {
	Link string
	Addr netip.Addr
	MAC  config.MAC
}

// Permanent tells whether a guest's addresses are permanent neighbours. What it may find
// besides them may be behind another MAC.
func Permanent(g config.Guest) bool { return !g.Find.On() }

func neighbors(g config.Guest) (list []Neighbor) {
	if Permanent(g) {
		for _, a := range GuestNeighbours(g) {
			list = append(list, Neighbor{g.Interface, a, g.MAC})
		}
	}
	return list
}
