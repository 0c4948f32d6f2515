package fib

import (
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
		c.observeNetconf(m.body)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		var n kernelNeighbor
		if n.parse(m.body) == nil {
			c.observeNeighbor(&n, m.typ == unix.RTM_DELNEIGH)
		}
	}
}

// bridgeMessage: a port that leaves its bridge is told as a deleted link of
// family bridge, though the interface is still there.
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
			c.clear(i, e, markYielding)
		}
		c.touchRoute(i, e)
	default:
		e.mark |= markForeign
		if flags&unix.NLM_F_REPLACE != 0 && !dump && e.have != nil {
			// It took our route away. Ours comes back, whatever the policy
			// is: we were here first.
			e.mark &^= markForeign
			c.setHave(i, e, unsure)
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
	c.setHave(i, e, nil)
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
	c.setHave(i, e, f)
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
	case gone && b.alien:
		delete(c.byID, b.id)
	case gone:
		c.lostObject(b)
	case m.alien || m.proto != c.config.Protocol:
		if b == nil {
			c.byID[m.id] = &object{id: m.id, live: true, alien: true}
		}
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
	k.exists, k.members, k.buckets = true, m.members, m.buckets
	k.news, c.news = true, true
	k.alien = m.alien || m.proto != c.config.Protocol
	c.garbage, c.changed = true, true
	if k.owner != nil {
		c.touch(k.owner)
	}
}

// linkLost does to the model what the kernel does, without a word, when a link
// loses its carrier, and with down when it goes down or disappears.
// linkChanged resolves anew what uses the link, and tries again what failed.
// retrySoon makes the shell call retry(all) in this turn.
// comparable makes of an address in the kernel the value that is desired if
// nothing that matters differs.
// addressLost does what the kernel does without a word: with the last IPv4
// address of a link its IPv4 routes go; with any address, the routes that prefer
// it as source (IPv6: they lose the preference).
// doubtForeign is called when the kernel may have removed others' routes
// without a word. Whether one is still under a key of ours is found out by
// trying; learners read anew.
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
