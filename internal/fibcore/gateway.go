package fibcore

import (
	"cmp"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// setGateway records that a gateway died or came back.
func (c *Core) setGateway(k gatewayKey, down bool) {
	if c.down[k] == down {
		return
	}
	same := func(l *wire.NextHop) bool { return l.IfIndex == k.IfIndex && l.Gateway == k.Gateway }
	if !down {
		delete(c.down, k)
	} else {
		c.down[k] = true
	}
	for _, b := range c.byID {
		if b.key.link != k.IfIndex || b.key.gateway != k.Gateway {
			continue
		}
		if down {
			b.foreign = false // who deleted it knew before us
			if _, there := c.hops[b.id]; there && !b.key.clone {
				c.dying = append(c.dying, b)
			}
			continue
		}
		b.next, b.step = time.Time{}, 0
	}
	slices.SortFunc(c.dying, func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	c.touchNextHops(same)
	c.resolveAll(func(w *want) bool {
		return w.classic && slices.ContainsFunc(w.nextHops, func(l wire.NextHop) bool { return same(&l) })
	})
}

// NextHops lists the next-hop objects of ours that are in the kernel now.
func (c *Core) NextHops() []NextHopObject {
	var list []NextHopObject
	for _, b := range c.byID {
		if !c.live(b) {
			continue
		}
		o := NextHopObject{ID: b.id, Gateway: b.key.gateway, IfIndex: int(b.key.link), Groups: map[uint32][]uint32{}}
		for _, k := range c.objects.kernel {
			if k.exists && k.has(b.id) {
				others := []uint32{}
				for _, m := range k.members {
					if m.ID != b.id {
						others = append(others, m.ID)
					}
				}
				o.Groups[k.id] = others
			}
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b NextHopObject) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Gateways lists the gateways of all desired routes with several next hops, sorted.
func (c *Core) Gateways() []Gateway {
	seen := map[gatewayKey]bool{}
	var list []Gateway
	add := func(nextHops []wire.NextHop) {
		for _, l := range nextHops {
			k := gatewayKey{l.IfIndex, l.Gateway}
			if len(nextHops) > 1 && l.Gateway.IsValid() && !seen[k] {
				seen[k] = true
				list = append(list, Gateway{int(l.IfIndex), l.Gateway, c.down[k]})
			}
		}
	}
	for _, w := range c.intern.wants {
		add(w.nextHops)
	}
	slices.SortFunc(list, func(a, b Gateway) int {
		return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.Gateway.Compare(b.Gateway))
	})
	return list
}

// Needs reports whether a next-hop object or group with this id in the kernel is of use for
// a desired route.
func (c *Core) Needs(id uint32) bool {
	h, single := c.hops[id]
	for _, g := range c.groups {
		if g.now != nil && g.now.id == id {
			return true
		}
		if single && slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return l.Gateway == h.gateway && l.IfIndex == h.link }) {
			return true
		}
	}
	return false
}
