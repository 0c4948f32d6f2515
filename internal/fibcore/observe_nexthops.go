package fibcore

import "github.com/hyperfib/hyperfib/internal/fibcore/wire"

// Next-hop objects and groups as the kernel tells of them. What it has under an id of
// our range is compared by content: another program may have replaced it. After others have
// changed something in our range all is read again, since a notification may be older
// than our last write to the same id.

func (c *nexthops) observeNextHop(m *wire.NextHopMessage, gone, dump bool, by origin) {
	if !gone {
		by.proto = m.Protocol
	}
	if !dump {
		c.version++
		c.env.rereads.nextHops.request()
	}
	_, single := c.hops[m.ID]
	k := c.kernel[m.ID]
	switch grouped := k != nil && k.exists; {
	case gone && single:
		c.lostHop(m.ID, by)
	case gone && grouped:
		c.lostGroup(k, by)
	case gone:
	case m.Members != nil:
		if single { // deleted, and a group made in its place
			c.lostHop(m.ID, by)
		}
		c.sawGroup(m, by)
	default:
		if grouped {
			c.lostGroup(k, by)
		}
		c.sawHop(m, dump, by)
	}
}

// missingNextHops takes out of the model what a dump did not have.
func (c *nexthops) missingNextHops(seen map[uint32]bool) {
	for id := range c.hops {
		if !seen[id] {
			c.lostHop(id, origin{})
		}
	}
	for id, k := range c.kernel {
		if k.exists && !seen[id] {
			c.lostGroup(k, origin{})
		}
	}
}

// lostHop: somebody deleted an object.
func (c *nexthops) lostHop(id uint32, by origin) {
	b := c.byID[id]
	if b != nil {
		// If this was the emergency failover of another process, word that the
		// gateway is dead is on its way: do not put it back before that.
		b.next = c.env.clock.Add(grace)
		c.env.wake(b.next)
		b.foreign, b.by = true, by
	}
	for _, k := range c.gone(id) {
		c.emptied(k)
	}
	if b != nil {
		c.env.event(Event{Kind: EventGatewayDown, Link: c.links.byIndex[b.key.link], Gateway: b.key.gateway, Reason: ReasonForeign, Protocol: by.proto, Port: by.port})
	}
}

func (c *nexthops) sawHop(m *wire.NextHopMessage, dump bool, by origin) {
	h := hop{objectKey{family: m.Family, gateway: m.Gateway, link: m.IfIndex, onlink: m.OnLink}, m.Protocol, m.Unknown}
	was, existed := c.hops[m.ID]
	if existed && was == h {
		return
	}
	c.hops[m.ID] = h
	c.stray(m.ID, by)
	c.hopChanged(m.ID)
	c.garbage = true
	for k := range c.using[m.ID] {
		c.reportGroup(k)
	}
	b := c.byID[m.ID]
	switch {
	case b == nil:
		c.adopt(m.ID, h)
	case h == c.right(b):
		b.foreign, b.err, b.text = false, nil, ""
		c.touchGateway(b)
	case existed && (!dump || h.proto == c.env.config.Protocol): // another program has made another of it
		b.foreign, b.by = true, by
		c.touchGateway(b)
	default: // the id was free, or may have been without a notification, and another program has taken it
		c.newID(b)
		c.touchGateway(b)
		c.adopt(m.ID, h)
	}
}

// adopt makes use of an object in the kernel that nothing here has an id for, if it
// is ours. A third one with the same content is of no use: collect deletes it.
func (c *nexthops) adopt(id uint32, h hop) {
	if h.alien || h.proto != c.env.config.Protocol {
		return
	}
	k := h.objectKey
	if c.byKey[k] != nil {
		if k.clone = true; c.byKey[k] != nil {
			return
		}
	}
	b := &object{key: k, id: id}
	c.byKey[k], c.byID[id] = b, b
	c.idChanged(id)
	c.touchGateway(b)
}

// lostGroup: somebody deleted a group. Its routes went with it, in IPv4 without a word.
func (c *nexthops) lostGroup(k *kernelGroup, by origin) {
	if g := k.owner; g != nil {
		g.foreign, g.by = true, by
	}
	c.emptied(k)
}

func (c *nexthops) sawGroup(m *wire.NextHopMessage, by origin) {
	k := c.kernel[m.ID]
	existed := k != nil && k.exists
	k = c.groupRecord(m.ID)
	sortMembers(m.Members)
	now := shape{m.Members, m.Buckets, m.Idle, m.Unbalanced}
	if existed && k.equal(&now) && k.proto == m.Protocol && k.alien == m.Unknown {
		return // as when the kernel tells that a group has lost a member
	}
	c.reshape(k, now)
	k.exists, k.proto, k.alien = true, m.Protocol, m.Unknown
	c.reportGroup(k)
	c.garbage = true
	c.stray(m.ID, by)
	if g := k.owner; g != nil {
		g.foreign, g.by = true, by
		c.touch(g)
	}
}

// stray delays the deletion of an object or group that another program makes in our range
// again and again, with our protocol number, and nothing needs. Those with another stay.
func (c *nexthops) stray(id uint32, by origin) {
	if by.port != 0 && by.proto == c.env.config.Protocol && c.strays.Of(id).Repaired(c.env.clock) {
		c.env.event(Event{Kind: EventContended, Op: "delete", Key: NextHopID(id), Protocol: by.proto, Port: by.port})
	}
}
