package fib

import (
	"cmp"
	"slices"
	"time"
)

// objectOp is one next-hop message to be written.
type objectOp struct {
	object  *object // with group nil: make it, or with del delete it
	group   *group  // with into: make or replace into.id with members
	into    *kernelGroup
	members []member
	buckets uint16
	del     bool
	urgent  bool
}

// planUrgent is the failover: one deletion for each dead object. A group that
// would be emptied gets a clone of the object first, if there is a group at all
// that gains from the deletion; otherwise the object stays. Of several that die at
// once, those planned before count as gone: a group of them keeps its last.
func (c *core) planUrgent() (ops []objectOp) {
	var waiting []*object
	leaving := map[uint32]bool{}
	for _, b := range c.dying {
		if !b.live || !c.down[gatewayKey{b.key.link, b.key.gateway}] {
			continue
		}
		others, alone := c.rest(b, leaving)
		switch {
		case len(alone) == 0:
			leaving[b.id] = true
			ops = append(ops, objectOp{object: b, del: true, urgent: true})
		case others == 0:
			// Nothing to gain: what has only this gateway keeps it.
		default:
			waiting = append(waiting, b)
			ops = append(ops, c.protect(b, alone)...)
		}
	}
	c.dying = waiting
	return ops
}

// protect moves groups that have only b to b's clone.
func (c *core) protect(b *object, alone []*kernelGroup) (ops []objectOp) {
	key := b.key
	key.clone = true
	clone := c.object(key)
	switch {
	case clone == nil || clone.err != nil:
		return nil
	case !clone.live:
		return []objectOp{{object: clone}}
	}
	for _, k := range alone {
		i := slices.IndexFunc(k.members, func(m member) bool { return m.id == b.id })
		ops = append(ops, objectOp{group: k.owner, into: k, members: []member{{clone.id, k.members[i].weight}}, buckets: k.buckets})
	}
	return ops
}

// planObjects lists objects that groups lack. When there are none, planGroups
// can go on.
func (c *core) planObjects(now time.Time) (ops []objectOp) {
	slices.SortFunc(c.dirty, func(a, b *group) int { return cmp.Compare(a.serial, b.serial) })
	seen := map[*object]bool{}
	for _, g := range c.dirty {
		_, missing, _ := c.members(g, c.linkUp, now)
		for _, b := range missing {
			if !seen[b] {
				seen[b] = true
				ops = append(ops, objectOp{object: b})
			}
		}
	}
	return ops
}

// planGroups decides what becomes of the dirty groups, now that their objects
// exist or are known to be impossible.
func (c *core) planGroups(now time.Time) (ops []objectOp) {
	work := c.dirty
	c.dirty = nil
	if len(work) == 0 {
		return nil
	}
	loose := c.looseGroups()
	for _, g := range work {
		g.dirty = false
		if g.wants == 0 && c.groups[g.key] != g {
			continue
		}
		if op, ok := c.planGroup(g, loose, now); ok {
			ops = append(ops, op)
		}
	}
	return ops
}

func (c *core) planGroup(g *group, loose map[string]*kernelGroup, now time.Time) (objectOp, bool) {
	want, missing, keep := c.members(g, c.linkUp, now)
	if len(missing) > 0 || now.Before(g.next) {
		c.touch(g) // not yet
		if len(missing) == 0 {
			c.wake(g.next)
		}
		return objectOp{}, false
	}
	if keep {
		return objectOp{}, false
	}
	if len(want) == 0 {
		return objectOp{}, false // held back until something changes
	}
	if g.now != nil && slices.Equal(g.now.members, want) {
		return objectOp{}, false
	}
	if k := loose[membersKey(want, g.buckets)]; k != nil && k.owner == nil {
		c.own(g, k)
		return objectOp{}, false
	}
	into := g.now
	if into == nil || into.uses > smallGroup {
		id := c.allocate()
		if id == 0 {
			return objectOp{}, false
		}
		into = c.groupRecord(id)
	}
	return objectOp{group: g, into: into, members: want, buckets: g.buckets}, true
}

// own makes k the kernel's side of g; settleGroups tells the wants.
func (c *core) own(g *group, k *kernelGroup) {
	if g.now != nil && g.now != k {
		g.now.owner = nil
		g.now.since = c.now()
		c.garbage = true
	}
	g.now, k.owner = k, g
	g.moved, c.moved, c.changed = true, true, true
}

// settleGroups resolves the wants of groups that have moved, all at once.
func (c *core) settleGroups() {
	if !c.moved {
		return
	}
	c.moved = false
	c.resolveAll(func(w *want) bool { return w.group != nil && w.group.moved })
	for _, g := range c.groups {
		g.moved = false
	}
}

// commitObject takes the kernel's answer to op into the model.
func (c *core) commitObject(op *objectOp, r reply, now time.Time) {
	c.stats.ObjectWrites++
	switch {
	case op.group != nil || op.into != nil:
		c.commitGroup(op, r, now)
	case op.del:
		c.commitDeletion(op, r)
	case r.err != nil:
		c.objectFailed(op.object, r, now)
	default:
		b := op.object
		b.live, b.err, b.text, b.step, b.next = true, nil, "", 0, time.Time{}
		c.changed = true
		if b.key.gateway.IsValid() {
			c.probe(Neighbor{Link: int(b.key.link), Addr: b.key.gateway})
		}
	}
}

func (c *core) objectFailed(b *object, r reply, now time.Time) {
	c.stats.Errors++
	if b.err != r.err {
		c.event(Event{Kind: EventError, Op: "add", Key: NextHopID(b.id), Gateway: b.key.gateway, Link: c.links[b.key.link],
			Err: &Error{Op: "add", Key: NextHopID(b.id), Err: r.err, Text: r.text}})
	}
	b.err, b.text = r.err, r.text
	for _, g := range c.groups {
		if slices.ContainsFunc(g.legs, func(l leg) bool { return keyOf(&l, g.family) == b.key }) {
			g.news, c.news = true, true
		}
	}
	b.step = backoff(b.step)
	b.next = now.Add(b.step)
	c.wake(b.next)
}

func backoff(step time.Duration) time.Duration {
	if step == 0 {
		return firstRetry
	}
	return min(2*step, lastRetry)
}

func (c *core) commitDeletion(op *objectOp, r reply) {
	b := op.object
	if op.into == nil && b != nil {
		if r.err != nil && !absent(r.err) {
			c.redo.nextHops = true
			return
		}
		for _, k := range c.gone(b) {
			c.emptied(k)
		}
		if op.urgent {
			c.event(Event{Kind: EventGatewayDown, Link: c.links[b.key.link], Gateway: b.key.gateway, Reason: "gateway"})
		}
	}
}

func (c *core) commitGroup(op *objectOp, r reply, now time.Time) {
	k, g := op.into, op.group
	if op.del {
		if r.err != nil && !absent(r.err) {
			c.redo.nextHops = true
			return
		}
		c.emptied(k)
		return
	}
	if r.err != nil {
		c.stats.Errors++
		c.redo.nextHops = true // what do we not know?
		if k.uses == 0 && !k.exists {
			delete(c.kernel, k.id)
		}
		if g != nil {
			if g.err != r.err {
				c.event(Event{Kind: EventError, Op: "add", Key: NextHopID(k.id), Err: &Error{Op: "add", Key: NextHopID(k.id), Err: r.err, Text: r.text}})
			}
			g.err, g.text, g.step = r.err, r.text, backoff(g.step)
			g.news, c.news = true, true
			g.next = now.Add(g.step)
			c.touch(g)
			c.wake(g.next)
		}
		return
	}
	k.exists, k.members, k.buckets = true, op.members, op.buckets
	k.news, c.news = true, true
	c.changed, c.garbage = true, true // members that left may be needed no more
	if g != nil && c.groups[g.key] == g {
		g.err, g.step, g.next = nil, 0, time.Time{}
		c.own(g, k)
	}
}

// emptied is called when a kernel group is gone: its routes went with it,
// without a word in IPv4. They are taken out of the model by bury.
func (c *core) emptied(k *kernelGroup) {
	g := k.owner
	c.vanish(k)
	if k.uses > 0 {
		c.buried = false
	} else {
		c.forgetForms(k.id)
	}
	if g == nil {
		return
	}
	// A failover leaves something in every group. This is not one, so nothing
	// has to be waited for.
	for i := range g.legs {
		if b := c.byKey[keyOf(&g.legs[i], g.family)]; b != nil && !b.live && b.err == nil {
			b.next = time.Time{}
			c.touchLegs(func(l *leg) bool { return l.link == b.key.link && l.gateway == b.key.gateway })
		}
	}
	g.moved, c.moved = true, true
}

// bury takes the routes of all vanished groups out of the model, at once.
func (c *core) bury() {
	if c.buried {
		return
	}
	c.buried = true
	c.store.all(func(i uint32, e *entry) {
		if e.have != nil && e.have.group != nil && !e.have.group.exists {
			c.setHave(i, e, nil)
			c.touchRoute(i, e)
		}
	})
}

// collect lists leftovers: groups without routes, then objects without groups.
// It returns when to come again.
func (c *core) collect(now time.Time) (ops []objectOp, again time.Time) {
	if !c.swept || !c.garbage {
		return nil, time.Time{}
	}
	c.garbage = false
	for _, k := range c.kernel {
		switch {
		case k.owner != nil || k.uses > 0 || !k.exists || k.alien:
		case now.Sub(k.since) < linger:
			c.garbage = true
			again = k.since.Add(linger)
		default:
			ops = append(ops, objectOp{into: k, del: true})
		}
	}
	if len(ops) > 0 {
		c.garbage = true
		slices.SortFunc(ops, func(a, b objectOp) int { return cmp.Compare(a.into.id, b.into.id) })
		return ops, again
	}
	member := map[uint32]bool{}
	for _, k := range c.kernel {
		for _, m := range k.members {
			member[m.id] = true
		}
	}
	needed := map[objectKey]bool{}
	for _, g := range c.groups {
		for i := range g.legs {
			needed[keyOf(&g.legs[i], g.family)] = true
		}
	}
	for _, b := range c.byID {
		switch {
		case member[b.id] || needed[b.key] || b.alien:
		case b.live:
			ops = append(ops, objectOp{object: b, del: true})
			c.garbage = true
		default:
			delete(c.byID, b.id)
			delete(c.byKey, b.key)
		}
	}
	slices.SortFunc(ops, func(a, b objectOp) int { return cmp.Compare(a.object.id, b.object.id) })
	return ops, again
}
