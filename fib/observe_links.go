package fib

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Links and addresses, and what the kernel removes with them without a word.

func bridgeMessage(body []byte) bool { return len(body) > 0 && body[0] == unix.AF_BRIDGE }

func (c *core) observeLink(m message) {
	l, err := parseLink(m.body)
	if err != nil {
		return
	}
	index := int32(l.Index)
	old, known := c.links[index]
	if m.typ == unix.RTM_DELLINK {
		delete(c.links, index)
		delete(c.addrs4, index)
		c.event(Event{Kind: EventLinkGone, Link: old, Gone: true})
		c.linkLost(index, true)
		return
	}
	if bridgeMessage(m.body) {
		return
	}
	if known && old == l {
		return
	}
	c.links[index] = l
	c.event(Event{Kind: EventLink, Link: l})
	if !known || old.Name != l.Name {
		c.sysctls.touchLink(l.Name)
	}
	flushed := native.Uint32(m.body[8:])&(unix.IFF_RUNNING|unix.IFF_LOWER_UP) == 0
	if known && (old.AdminUp && !l.AdminUp || old.Carrier && !l.Carrier && flushed) {
		c.linkLost(index, !l.AdminUp)
	}
	if !known || old.AdminUp != l.AdminUp || old.Carrier != l.Carrier {
		c.linkChanged(index)
	}
}

func (c *core) linkLost(link int32, down bool) {
	for _, b := range c.byID {
		if b.key.link == link && b.live {
			for _, k := range c.gone(b) {
				c.emptied(k)
			}
		}
	}
	if down {
		c.store.all(func(i uint32, e *entry) {
			if e.have != nil && e.have.uses(link) {
				if e.have.allOn(link) {
					c.setHave(i, e, nil)
				} else {
					c.setHave(i, e, unsure)
				}
				c.touchRoute(i, e)
			}
		})
		c.doubtForeign()
	}
	c.redo.nextHops = true
	c.linkChanged(link)
}

func (c *core) linkChanged(link int32) {
	c.touchLegs(func(l *leg) bool { return l.link == link })
	c.resolveAll(func(w *want) bool { return w.uses(link) })
	c.retrySoon()
}

func (c *core) retrySoon() { c.hope = true }

func (c *core) observeAddress(a *kernelAddress, gone, dump bool) {
	link := int32(a.Link)
	key := addressKey{a.Link, a.Prefix}
	_, known := c.addresses.have[key]
	if gone {
		c.addresses.lost(key)
	} else {
		c.addresses.saw(key, c.comparable(a.Address), a.proto == c.config.Protocol)
	}
	if known == !gone {
		return
	}
	c.event(Event{Kind: EventAddress, Link: c.links[link], Addr: a.Prefix, Gone: gone})
	v4 := a.Prefix.Addr().Is4()
	if v4 && !gone {
		c.addrs4[link]++
	} else if v4 {
		c.addrs4[link]--
	}
	if gone {
		c.addressLost(link, a.Prefix.Addr(), v4 && c.addrs4[link] <= 0)
	}
	c.retrySoon()
}

func (c *core) comparable(a Address) Address {
	want, ok := c.addresses.want[addressKey{a.Link, a.Prefix}]
	if !ok {
		return a
	}
	a.NoDAD = want.NoDAD
	if !a.Prefix.Addr().Is4() {
		a.Scope = want.Scope // the kernel's own choice
	}
	return a
}

func (c *core) addressLost(link int32, addr netip.Addr, last bool) {
	c.store.all(func(i uint32, e *entry) {
		f := e.have
		switch {
		case f == nil:
			return
		case f.prefSrc == addr && f.family == IPv6:
			c.setHave(i, e, unsure)
		case f.prefSrc == addr, last && f.family == IPv4 && f.allOn(link):
			c.setHave(i, e, nil)
		case last && f.family == IPv4 && f.uses(link):
			c.setHave(i, e, unsure)
		default:
			return
		}
		c.touchRoute(i, e)
	})
	c.doubtForeign()
}

func (c *core) doubtForeign() {
	c.redo.learners = true
	c.store.all(func(i uint32, e *entry) {
		if e.mark&markForeign != 0 {
			e.mark &^= markForeign
			c.touchRoute(i, e)
		}
	})
}
