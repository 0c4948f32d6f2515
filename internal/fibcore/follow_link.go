package fibcore

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// An interface that is deleted and made again has another index. What is desired on it
// follows its name: a next hop, an address, a neighbour and a dead gateway that were
// desired on the old one are desired on the new one from then on, and the old index is
// understood where it is still used.

// mostBygone bounds the names that are remembered, and the old indexes that are understood:
// beyond that those go first on which nothing is desired.
const mostBygone = 4096

// linkIndex is the index of the interface that the caller means by i.
func (c *Core) linkIndex(i int) int {
	if len(c.aliases) == 0 {
		return i
	}
	for range len(c.aliases) {
		if _, there := c.links[int32(i)]; there {
			break
		}
		to, ok := c.aliases[int32(i)]
		if !ok {
			break
		}
		i = int(to)
	}
	return i
}

// remember keeps the name of an interface that is gone: something may be desired on it,
// now or later, by somebody who has not heard.
func (c *Core) remember(l wire.Link) {
	if len(c.bygone) >= mostBygone {
		for name, index := range c.bygone {
			if !c.desiredOn(int(index)) {
				delete(c.bygone, name)
			}
		}
	}
	c.bygone[l.Interface] = int32(l.IfIndex)
}

func (c *Core) desiredOn(link int) bool {
	for _, w := range c.intern.wants {
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
	for k := range c.down {
		if int(k.IfIndex) == link {
			return true
		}
	}
	return false
}

// recall has what was desired on an interface follow it to its new index.
func (c *Core) recall(l wire.Link) {
	old, ok := c.bygone[l.Interface]
	if !ok {
		return
	}
	delete(c.bygone, l.Interface)
	to := int32(l.IfIndex)
	if old == to {
		return
	}
	if len(c.aliases) >= mostBygone {
		for from, to := range c.aliases {
			if _, there := c.links[to]; !there {
				delete(c.aliases, from)
			}
		}
	}
	c.aliases[old] = to
	delete(c.aliases, to)
	for k := range c.down {
		if k.IfIndex == old {
			delete(c.down, k)
			c.down[gatewayKey{to, k.Gateway}] = true
		}
	}
	c.moveRoutes(old, to)
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

// moveRoutes makes wants of those that use the old index, and gives them to the routes.
func (c *Core) moveRoutes(old, to int32) {
	moved := map[*want]*want{}
	for _, w := range c.intern.wants {
		if w.refs > 0 && w.uses(old) {
			moved[w] = nil
		}
	}
	for w := range moved {
		nextHops := slices.Clone(w.nextHops)
		for i := range nextHops {
			if nextHops[i].IfIndex == old {
				nextHops[i].IfIndex = to
			}
		}
		slices.SortFunc(nextHops, wire.CompareNextHops)
		n := c.intern.want(&w.Facts, slices.Compact(nextHops), w.buckets, w.classic)
		if n.refs == 0 {
			c.resolve(n)
			n.changed = false
		}
		moved[w] = n
	}
	if len(moved) == 0 {
		return
	}
	c.lastWnt.w = nil
	c.store.all(func(i uint32, e *entry) {
		if n := moved[e.want]; e.want != nil && n != nil {
			c.clearFailure(i, e)
			c.setWant(i, e, n)
			c.touchRoute(i, e)
		}
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
