package fib

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Observing takes notifications and dump records into the model. A record of a
// dump (dump true) never counts as somebody's interference.

func (c *core) observe(m message, dump bool) {
	switch m.typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if c.rm.parse(m.body) == nil && c.rm.flags&routeCloned == 0 {
			c.observeRoute(&c.rm, m.typ == unix.RTM_DELROUTE, m.flags, dump)
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		var n nextHopMessage
		if n.parse(m.body) == nil {
			c.observeNextHop(&n, m.typ == unix.RTM_DELNEXTHOP, dump)
		}
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if m.typ == unix.RTM_NEWLINK || !bridgeMessage(m.body) {
			c.observeLink(m)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var a kernelAddress
		if a.parse(m.body) == nil {
			c.observeAddress(&a, m.typ == unix.RTM_DELADDR, dump)
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.observeRule(m)
	case unix.RTM_NEWNETCONF:
		if len(m.body) > 0 && m.body[0] == byte(IPv4) {
			c.sysctls.touchAll("ipv4")
		} else {
			c.sysctls.touchAll("ipv6")
		}
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		var n kernelNeighbor
		if n.parse(m.body) == nil {
			c.observeNeighbor(&n, m.typ == unix.RTM_DELNEIGH)
		}
	}
}

// bridgeMessage: a port that leaves its bridge is told as a deleted link of
// family bridge, though the interface is still there.
func bridgeMessage(body []byte) bool { return len(body) > 0 && body[0] == unix.AF_BRIDGE }

func (c *core) observeRoute(m *routeMessage, gone bool, flags uint16, dump bool) {
	if c.learn != nil && !dump {
		c.learn(m, gone, flags)
	}
	if !c.owns(m.table) {
		return
	}
	own := c.ours(m.proto)
	tf := tableFamily{m.table, m.family}
	t, ok := c.tables.index[tf]
	if !ok {
		if !own || gone {
			return
		}
		if t, ok = c.tables.of(tf); !ok {
			return
		}
	}
	key := rkey{hi: m.hi, lo: m.lo, metric: m.metric, table: t, bits: m.bits, tos: m.tos}
	i, e := c.store.find(&key)
	switch {
	case own && gone:
		if e != nil && e.have != nil {
			c.lostRoute(i, e)
		}
	case own:
		if e == nil {
			i, e = c.store.get(&key)
		}
		c.sawRoute(i, e, c.formSeen(m), dump)
	case e == nil:
	case gone:
		e.mark &^= markForeign
		if c.config.OnForeign != ForeignRefuse {
			e.mark &^= markYielding
		}
		c.touchRoute(i, e)
	default:
		e.mark |= markForeign
		if flags&unix.NLM_F_REPLACE != 0 && !dump && e.have != nil {
			// It took our route away. Ours comes back, whatever the policy
			// is: we were here first.
			e.mark &^= markForeign
			c.setHave(e, unsure)
			e.mark |= markRepair
		} else if m.family == IPv6 && !dump && e.have != nil && e.have.nhid == 0 {
			// In IPv6 an appended route becomes one more leg of ours.
			e.mark |= markRepair
			c.resync[tf] = true
		}
		c.touchRoute(i, e)
	}
}

func (c *core) formSeen(m *routeMessage) *form {
	legs := m.legs
	if m.nhid != 0 {
		legs = nil
	}
	return c.intern.form(&m.facts, m.nhid, legs, m.alien)
}

// lostRoute: somebody else removed our route.
func (c *core) lostRoute(i uint32, e *entry) {
	c.setHave(e, nil)
	if e.want != nil {
		e.mark |= markRepair
	}
	e.mark &^= markStale
	c.touchRoute(i, e)
}

func (c *core) sawRoute(i uint32, e *entry, f *form, dump bool) {
	if !dump && e.want != nil && e.have != f && e.want.form != f {
		e.mark |= markRepair
	}
	c.setHave(e, f)
	e.seen = c.epoch
	e.mark &^= markContested
	if e.want == nil {
		e.mark |= markStale
	}
	c.touchRoute(i, e)
}

func (c *core) observeNextHop(m *nextHopMessage, gone, dump bool) {
	if !c.objects.owns(m.id) {
		if gone {
			c.doubtForeign()
		}
		return
	}
	if m.members != nil {
		c.observeGroup(m, gone)
		return
	}
	b := c.byID[m.id]
	switch {
	case gone && b == nil:
		if k := c.objects.kernel[m.id]; k != nil && k.exists {
			c.emptied(k) // notifications of deletion have no members in some kernels
		}
	case gone:
		c.lostObject(b)
	case m.alien:
	default:
		c.sawObject(m, b)
	}
}

func (c *core) lostObject(b *object) {
	if !b.live {
		return
	}
	// If this was the emergency failover of another process, word that the
	// gateway is dead is on its way: do not put it back before that.
	b.next = c.now().Add(grace)
	c.wake(b.next)
	for _, k := range c.gone(b) {
		c.emptied(k)
	}
	c.event(Event{Kind: EventGatewayDown, Link: c.links[b.key.link], Gateway: b.key.gateway, Reason: "foreign"})
}

func (c *core) sawObject(m *nextHopMessage, b *object) {
	k := objectKey{family: m.family, gateway: m.gateway, link: m.link, onlink: m.onlink}
	if b != nil && (b.key == k || b.key.clone && b.key.gateway == k.gateway && b.key.link == k.link) {
		b.live = true
		return
	}
	if b != nil { // somebody made another of it: not what we think it is
		for _, g := range c.gone(b) {
			c.emptied(g)
		}
		delete(c.byKey, b.key)
		delete(c.byID, b.id)
	}
	if c.byKey[k] != nil {
		k.clone = true
		if c.byKey[k] != nil { // a third one: leave it alone, but never reuse its id
			c.byID[m.id] = &object{key: k, id: m.id, live: true}
			c.garbage = true
			return
		}
	}
	n := &object{key: k, id: m.id, live: true}
	c.byKey[k], c.byID[m.id] = n, n
	c.garbage, c.changed = true, true
	c.touchLegs(func(l *leg) bool { return l.link == m.link && l.gateway == m.gateway })
}

func (c *core) observeGroup(m *nextHopMessage, gone bool) {
	k := c.objects.kernel[m.id]
	if gone {
		if k != nil && k.exists {
			c.emptied(k)
		}
		return
	}
	if k != nil && !k.exists {
		c.bury() // the id is used again: not for the routes that had it
	}
	k = c.groupRecord(m.id)
	sortMembers(m.members)
	k.exists, k.members, k.buckets, k.alien = true, m.members, m.buckets, m.alien
	c.garbage, c.changed = true, true
	if k.owner != nil {
		c.touch(k.owner)
	}
}

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
		c.sysctls.touch(l.Name)
	}
	flushed := native.Uint32(m.body[8:])&(unix.IFF_RUNNING|unix.IFF_LOWER_UP) == 0
	if known && (old.AdminUp && !l.AdminUp || old.Carrier && !l.Carrier && flushed) {
		c.linkLost(index, !l.AdminUp)
	}
	if !known || old.AdminUp != l.AdminUp || old.Carrier != l.Carrier {
		c.linkChanged(index)
	}
}

// linkLost does to the model what the kernel does, without a word, when a link
// loses its carrier, and with down when it goes down or disappears.
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
					c.setHave(e, nil)
				} else {
					c.setHave(e, unsure)
				}
				c.touchRoute(i, e)
			}
		})
		c.doubtForeign()
	}
	c.redo.nextHops = true
	c.linkChanged(link)
}

// linkChanged resolves anew what uses the link, and tries again what failed.
func (c *core) linkChanged(link int32) {
	c.touchLegs(func(l *leg) bool { return l.link == link })
	c.resolveAll(func(w *want) bool { return w.uses(link) })
	c.retrySoon()
}

// retrySoon makes the shell call retry(all) in this turn.
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

// comparable makes of an address in the kernel the value that is desired if
// nothing that matters differs.
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

// addressLost does what the kernel does without a word: with the last IPv4
// address of a link its IPv4 routes go; with any address, the routes that prefer
// it as source (IPv6: they lose the preference).
func (c *core) addressLost(link int32, addr netip.Addr, last bool) {
	c.store.all(func(i uint32, e *entry) {
		f := e.have
		switch {
		case f == nil:
			return
		case f.prefSrc == addr && f.family == IPv6:
			c.setHave(e, unsure)
		case f.prefSrc == addr, last && f.family == IPv4 && f.allOn(link):
			c.setHave(e, nil)
		case last && f.family == IPv4 && f.uses(link):
			c.setHave(e, unsure)
		default:
			return
		}
		c.touchRoute(i, e)
	})
	c.doubtForeign()
}

// doubtForeign is called when the kernel may have removed others' routes
// without a word. Whether one is still under a key of ours is found out by
// trying; learners read anew.
func (c *core) doubtForeign() {
	c.redo.learners = true
	c.store.all(func(i uint32, e *entry) {
		if e.mark&markForeign != 0 {
			e.mark &^= markForeign
			c.touchRoute(i, e)
		}
	})
}

func (c *core) observeRule(m message) {
	var r kernelRule
	if r.parse(m.body) != nil || r.Family != IPv4 && r.Family != IPv6 {
		return
	}
	if m.typ == unix.RTM_NEWRULE {
		c.rules.saw(r)
	} else {
		c.rules.lost(r)
	}
}

func (c *core) observeNeighbor(n *kernelNeighbor, gone bool) {
	if !n.Addr.IsValid() {
		return
	}
	key := neighborKey{n.Link, n.Addr, n.Proxy}
	if gone || !n.permanent && !n.Proxy {
		if _, ok := c.neighbors.have[key]; ok || c.neighbors.want[key] != (Neighbor{}) {
			c.neighbors.lost(key)
		}
		return
	}
	c.neighbors.saw(key, n.Neighbor, n.proto == c.config.Protocol)
}
