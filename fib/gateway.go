package fib

import (
	"cmp"
	"slices"
	"time"
)

// setGateway records that a gateway died or came back.
func (c *core) setGateway(k gatewayKey, down bool) {
	if c.down[k] == down {
		return
	}
	same := func(l *nextHop) bool { return l.link == k.link && l.gateway == k.gateway }
	if !down {
		delete(c.down, k)
	} else {
		c.down[k] = true
	}
	for _, b := range c.byID {
		if b.key.link != k.link || b.key.gateway != k.gateway {
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
		return w.classic && slices.ContainsFunc(w.nextHops, func(l nextHop) bool { return same(&l) })
	})
}

func (c *core) nextHops() []NextHopObject {
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
					if m.id != b.id {
						others = append(others, m.id)
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

func (c *core) gateways() []Gateway {
	seen := map[gatewayKey]bool{}
	var list []Gateway
	add := func(nextHops []nextHop) {
		for _, l := range nextHops {
			k := gatewayKey{l.link, l.gateway}
			if len(nextHops) > 1 && l.gateway.IsValid() && !seen[k] {
				seen[k] = true
				list = append(list, Gateway{int(l.link), l.gateway, c.down[k]})
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
