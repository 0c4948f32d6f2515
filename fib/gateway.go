package fib

import (
	"cmp"
	"slices"
)

// setGateway records that a gateway died or came back.
func (c *core) setGateway(k gatewayKey, down bool) {
	if c.down[k] == down {
		return
	}
	same := func(link int32, l *leg) bool { return link == k.link && l.gateway == k.gateway }
	if !down {
		delete(c.down, k)
	} else {
		c.down[k] = true
		for _, b := range c.byID {
			if b.live && b.key.link == k.link && b.key.gateway == k.gateway && !b.key.clone {
				c.dying = append(c.dying, b)
			}
		}
		slices.SortFunc(c.dying, func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	}
	for _, b := range c.byID {
		if b.key.link == k.link && b.key.gateway == k.gateway && !down {
			b.next, b.step = b.next.Add(-b.step), 0
			if b.err == nil {
				b.next = b.next.Add(-grace)
			}
		}
	}
	c.touchLegs(func(l *leg) bool { return same(l.link, l) })
	c.resolveAll(func(w *want) bool {
		return w.classic && slices.ContainsFunc(w.legs, func(l leg) bool { return same(l.link, &l) })
	})
}

func (c *core) nextHops() []NextHopObject {
	var list []NextHopObject
	for _, b := range c.byID {
		if !b.live || b.alien {
			continue
		}
		o := NextHopObject{ID: b.id, Gateway: b.key.gateway, Link: int(b.key.link), Groups: map[uint32][]uint32{}}
		for _, k := range c.objects.kernel {
			if k.exists && slices.ContainsFunc(k.members, func(m member) bool { return m.id == b.id }) {
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
	add := func(legs []leg) {
		for _, l := range legs {
			k := gatewayKey{l.link, l.gateway}
			if len(legs) > 1 && l.gateway.IsValid() && !seen[k] {
				seen[k] = true
				list = append(list, Gateway{int(l.link), l.gateway, c.down[k]})
			}
		}
	}
	for _, w := range c.intern.wants {
		add(w.legs)
	}
	slices.SortFunc(list, func(a, b Gateway) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), a.Gateway.Compare(b.Gateway))
	})
	return list
}
