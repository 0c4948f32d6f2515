package show

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// Found is an address that a guest was found to have.
type Found struct {
	Addr    netip.Addr
	IfIndex int
	MAC     [6]byte // zero: known from before a restart, and not seen yet
	Since   time.Time
	// Conflict is the last claim to the address by another one, nil if there was none.
	Conflict *Conflict
}

// Conflict is a claim to an address that another one has.
type Conflict struct {
	IfIndex int
	MAC     [6]byte
	Time    time.Time
}

// NeighbourTables is what there is to show of the neighbours of one namespace.
type NeighbourTables struct {
	Kernel []netns.Neighbour
	Found  []Found
	Guests []guest.Port // that are here, in the order of their names
	// Link names an interface.
	Link func(ifindex int) (string, bool)
}

// neighbourKey is one address on one interface.
type neighbourKey struct {
	ifindex int
	addr    netip.Addr
}

// Neighbours joins what the kernel has with what was found: one entry for an address on an
// interface.
func Neighbours(t NeighbourTables) (out []api.Neighbour) {
	entries := map[neighbourKey]*api.Neighbour{}
	at := func(ifindex int, addr netip.Addr) *api.Neighbour {
		k := neighbourKey{ifindex, addr}
		if entries[k] == nil {
			name, _ := t.Link(ifindex)
			entries[k] = &api.Neighbour{Interface: LinkName(name, ifindex), Address: addr}
		}
		return entries[k]
	}
	for _, n := range t.Kernel {
		e := at(n.IfIndex, n.Addr)
		e.MAC, e.Router, e.Kernel = n.MAC.String(), n.Router, n.State
	}
	for _, f := range t.Found {
		e := at(f.IfIndex, f.Addr)
		e.Found, e.Since = "presumed", f.Since
		if f.MAC != [6]byte{} {
			e.Found, e.MAC = "seen", config.MAC(f.MAC).String()
		}
		if c := f.Conflict; c != nil {
			name, _ := t.Link(c.IfIndex)
			e.Conflict = &api.Conflict{Interface: name, MAC: config.MAC(c.MAC).String(), Time: c.Time}
		}
	}
	for _, e := range entries {
		guestOf(e, t.Guests)
		out = append(out, *e)
	}
	return out
}

// guestOf notes which guest an address belongs to.
func guestOf(e *api.Neighbour, guests []guest.Port) {
	i := slices.IndexFunc(guests, func(p guest.Port) bool { return p.Interface == e.Interface })
	if i < 0 {
		return
	}
	p := guests[i]
	e.Guest = p.Name
	for _, a := range p.IPv4 {
		e.Announced = e.Announced || a.Addr == e.Address
	}
	for _, q := range append(slices.Clip(p.IPv6), p.Routed...) {
		e.Announced = e.Announced || q.Contains(e.Address)
	}
}

// SortNeighbours sorts by interface, then address.
func SortNeighbours(all []api.Neighbour) {
	slices.SortFunc(all, func(a, b api.Neighbour) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), a.Address.Compare(b.Address))
	})
}
