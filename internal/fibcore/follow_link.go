package fibcore

import (
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// An interface that is deleted and made again has another index. What is desired on it
// follows its name: a next hop, an address, a neighbour and a dead gateway that were
// desired on the old one are desired on the new one from then on, and the old index is
// understood where it is still used.

// mostGone bounds the names that are remembered, and the old indexes that are understood:
// beyond that those go first on which nothing is desired.
const mostGone = 4096

// rememberName keeps the name of an interface that is gone: something may be desired on it,
// now or later, by a program that has not heard.
func (c *Core) rememberName(l wire.Link) {
	if len(c.links.gone) >= mostGone {
		for name, index := range c.links.gone {
			if !c.desiredOn(int(index)) {
				delete(c.links.gone, name)
			}
		}
	}
	c.links.gone[l.Interface] = int32(l.IfIndex)
}

func (c *Core) desiredOn(link int) bool {
	for _, w := range c.contents.intern.wants {
		if w.refs > 0 && w.uses(int32(link)) {
			return true
		}
	}
	for k := range c.addresses.want {
		if k.IfIndex == link {
			return true
		}
	}
	for k := range c.neighbors.want {
		if k.IfIndex == link {
			return true
		}
	}
	for k := range c.nexthops.down {
		if int(k.IfIndex) == link {
			return true
		}
	}
	return false
}

// linkReturned has what was desired on an interface follow it to its new index.
func (c *Core) linkReturned(l wire.Link) {
	old, ok := c.links.gone[l.Interface]
	if !ok {
		return
	}
	delete(c.links.gone, l.Interface)
	to := int32(l.IfIndex)
	if old == to {
		return
	}
	if len(c.links.aliases) >= mostGone {
		for from, to := range c.links.aliases {
			if _, there := c.links.byIndex[to]; !there {
				delete(c.links.aliases, from)
			}
		}
	}
	c.links.aliases[old] = to
	delete(c.links.aliases, to)
	for k := range c.nexthops.down {
		if k.IfIndex == old {
			delete(c.nexthops.down, k)
			c.nexthops.down[gatewayKey{to, k.Gateway}] = true
		}
	}
	c.routes.moveRoutes(old, to)
	rekey(&c.addresses, func(k wire.AddressKey, a wire.Address) (wire.AddressKey, wire.Address, bool) {
		moved := k.IfIndex == int(old)
		if moved {
			k.IfIndex, a.IfIndex = int(to), int(to)
		}
		return k, a, moved
	})
	rekey(&c.neighbors, func(k wire.NeighborKey, n wire.Neighbor) (wire.NeighborKey, wire.Neighbor, bool) {
		moved := k.IfIndex == int(old)
		if moved {
			k.IfIndex, n.IfIndex = int(to), int(to)
		}
		return k, n, moved
	})
}

// rekey changes the keys of what is desired.
func rekey[K, V comparable](t *desired[K, V], f func(K, V) (K, V, bool)) {
	type pair struct {
		k K
		v V
	}
	var add []pair
	for k, v := range t.want {
		if k2, v2, moved := f(k, v); moved {
			t.remove(k)
			delete(t.deleted, k) // it went with the interface
			add = append(add, pair{k2, v2})
		}
	}
	for _, p := range add {
		t.set(p.k, p.v)
	}
}
