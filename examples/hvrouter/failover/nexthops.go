package failover

import (
	"maps"
	"net/netip"
	"sync"

	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// NextHops is what is known of the liveness of a speaker's next hops. It is safe for concurrent
// use; the zero value is ready, and has no dead ones.
//
// A next hop that its probe says is dead is not announced, and not used where a prefix has
// another. One whose probe was never up is dead, too, unless the daemon continues where an
// earlier run stopped: then it counts as alive until the probe had time to come up.
type NextHops struct {
	mu   sync.Mutex
	dead map[peering.NextHop]bool // by BFD
	down map[string]bool          // links without carrier
}

// Set notes that next hops died or live again, and reports whether that is new.
func (n *NextHops) Set(list []peering.NextHop, dead bool) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, hop := range list {
		changed = set(&n.dead, hop, dead) || changed
	}
	return changed
}

// Carrier notes that a link has lost its carrier or has it again, and reports whether that is
// new.
func (n *NextHops) Carrier(link string, down bool) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return set(&n.down, link, down)
}

// set adds k to the set, or removes it, and reports whether that changed the set.
func set[K comparable](m *map[K]bool, k K, on bool) (changed bool) {
	changed = (*m)[k] != on
	switch {
	case !on:
		delete(*m, k)
	case *m == nil:
		*m = map[K]bool{k: true}
	default:
		(*m)[k] = true
	}
	return changed
}

// Dead returns the next hops and the links that are dead now.
func (n *NextHops) Dead() Dead {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Dead{maps.Clone(n.dead), maps.Clone(n.down)}
}

// Dead are next hops and links that are dead. It does not change; the zero value has none.
type Dead struct {
	hops  map[peering.NextHop]bool
	links map[string]bool
}

// None reports whether nothing is dead.
func (d Dead) None() bool { return len(d.hops) == 0 && len(d.links) == 0 }

// Has reports whether a next hop is dead.
func (d Dead) Has(hop peering.NextHop) bool { return d.links[hop.Link] || d.hops[hop] }

// Alive returns what is to be announced of list: each next hop in the families in which it is
// alive.
func (d Dead) Alive(list []peering.Announced) (alive []peering.Announced) {
	for _, a := range list {
		for i := range a.NextHops {
			if d.Has(peering.NextHop{Domain: a.Domain, Link: a.Link, IPv6: i == 1}) {
				a.NextHops[i].Addr = netip.Addr{}
			}
		}
		alive = append(alive, a)
	}
	return alive
}
