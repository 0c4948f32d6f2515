package fibcore

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

const (
	// grace is how long an object that another program deleted stays out: time
	// for word that its gateway is dead to arrive, when it was another
	// process of ours that deleted it.
	grace = 50 * time.Millisecond
	// linger is how long a group that nobody uses is kept: flaps come in pairs.
	linger = time.Second
	// smallGroup is up to how many routes a group is replaced in place. That
	// costs the kernel a notification for each route under RTNL
	// (nexthop_compat_mode); a bigger group is rebuilt under a new id and its
	// routes are moved, between which others get their turn.
	smallGroup = 4096
)

// objectOp is one next-hop message to be written.
type objectOp struct {
	object  *object // with into nil: make it, or with del delete it
	group   *group  // with into: make or replace into.id with shape
	into    *kernelGroup
	id      uint32 // to delete, of nothing known
	shape   shape
	del     bool
	replace bool // the kernel has something under the id
	urgent  bool
}

// key names what op is about.
func (op *objectOp) key() NextHopID {
	switch {
	case op.into != nil:
		return NextHopID(op.into.id)
	case op.object != nil:
		return NextHopID(op.object.id)
	}
	return NextHopID(op.id)
}

func (op *objectOp) append(b []byte, seq uint32, proto uint8) []byte {
	// What is there must not be made a second time, and what is gone not made anew: the
	// groups and routes that had it do not.
	flags := uint16(rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL)
	if op.replace {
		flags = rtnl.NLM_F_REPLACE
	}
	switch id := uint32(op.key()); {
	case op.del:
		return wire.AppendDelNextHop(b, seq, id)
	case op.into != nil:
		return wire.AppendNextHop(b, flags, seq, &wire.NextHopMessage{ID: id, Protocol: proto, Members: op.shape.members, Buckets: op.shape.buckets, Idle: op.shape.idle, Unbalanced: op.shape.unbalanced})
	default:
		k := &op.object.key
		return wire.AppendNextHop(b, flags, seq, &wire.NextHopMessage{ID: id, Protocol: proto, Family: k.family, Gateway: k.gateway, IfIndex: k.link, OnLink: k.onlink})
	}
}

// planUrgent is the failover: one deletion for each dead object. A group that
// would be emptied gets a clone of the object first, if there is a group at all
// that gains from the deletion; otherwise the object stays. Of several that die at
// once, those planned before count as gone: a group of them keeps its last. What the
// kernel refused waits until it may be tried again.
func (c *nexthops) planUrgent(now time.Time) (ops []objectOp) {
	var waiting []*object
	leaving := map[uint32]bool{}
	slices.SortFunc(c.toDelete, func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	for _, b := range c.toDelete {
		h, there := c.hops[b.id]
		if !there || leaving[b.id] || c.byID[b.id] != b || !c.down[gatewayKey{b.key.link, b.key.gateway}] {
			continue
		}
		if h.objectKey != c.right(b).objectKey { // another program's, to another gateway: groups leave it, see members
			continue
		}
		if now.Before(b.next) {
			c.env.wake(b.next)
			waiting = append(waiting, b)
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
			ops = append(ops, c.protect(b, alone, now)...)
		}
	}
	c.toDelete = waiting
	return ops
}

// protect moves groups that have only b to b's clone. If there can be no clone now, the
// object waits with it.
func (c *nexthops) protect(b *object, alone []*kernelGroup, now time.Time) (ops []objectOp) {
	key := b.key
	key.clone = true
	clone := c.object(key)
	switch {
	case clone == nil:
		b.next = now.Add(lastRetry)
		return nil
	case !c.live(clone) && now.Before(clone.next):
		b.next = clone.next
		return nil
	case !c.live(clone):
		_, there := c.hops[clone.id]
		return []objectOp{{object: clone, replace: there, urgent: true}}
	}
	for _, k := range alone {
		i := slices.IndexFunc(k.members, func(m wire.Member) bool { return m.ID == b.id })
		to := k.shape
		to.members = []wire.Member{{ID: clone.id, Weight: k.members[i].Weight}}
		ops = append(ops, objectOp{group: k.owner, into: k, shape: to, replace: true, urgent: true})
	}
	return ops
}

// urgentFailed puts off what planUrgent wanted: what is known is wrong, and is read again
// before the next attempt.
func (c *nexthops) urgentFailed(now time.Time) {
	for _, b := range c.toDelete {
		if !now.Before(b.next) {
			b.step = backoff(b.step)
			b.next = now.Add(b.step)
			c.env.wake(b.next)
		}
	}
}

// planObjects lists objects that groups lack. When there are none, planGroups
// can go on.
func (c *nexthops) planObjects(now time.Time) (ops []objectOp) {
	slices.SortFunc(c.dirty, func(a, b *group) int { return cmp.Compare(a.serial, b.serial) })
	seen := map[*object]bool{}
	for _, g := range c.dirty {
		if c.groups[g.key] != g {
			continue // nobody wants it any more
		}
		_, missing, _ := c.members(g, c.links.linkUp, now)
		for _, b := range missing {
			if !seen[b] {
				seen[b] = true
				ops = append(ops, c.planObject(b))
			}
		}
	}
	return ops
}

// planObject makes b, or makes right what the kernel has under its id. If no group of
// ours has that id, another program has deleted the object and taken the id: it keeps it.
func (c *nexthops) planObject(b *object) objectOp {
	h, there := c.hops[b.id]
	if there && h.proto != c.env.config.Protocol {
		used := false
		for k := range c.using[b.id] {
			used = used || k.exists && k.proto == c.env.config.Protocol
		}
		if !used {
			c.newID(b)
			there = false
		}
	}
	return objectOp{object: b, replace: there}
}

// planGroups decides what becomes of the dirty groups, now that their objects
// exist or are known to be impossible.
func (c *nexthops) planGroups(now time.Time) (ops []objectOp) {
	work := c.dirty
	c.dirty = nil
	if len(work) == 0 {
		return nil
	}
	loose := c.looseGroups()
	for _, g := range work {
		g.dirty = false
		if c.groups[g.key] != g {
			continue
		}
		if op, ok := c.planGroup(g, loose, now); ok {
			ops = append(ops, op)
		}
	}
	return ops
}

func (c *nexthops) planGroup(g *group, loose map[string]*kernelGroup, now time.Time) (objectOp, bool) {
	want, missing, keep := c.members(g, c.links.linkUp, now)
	wait := g.next
	if g.foreign && !g.brake.Ready(now) {
		wait = g.brake.Next
	}
	switch {
	case len(missing) > 0 || now.Before(wait):
		c.touch(g) // not yet
		if len(missing) == 0 {
			c.env.wake(wait)
		}
		return objectOp{}, false
	case keep || len(want.members) == 0: // held back until something changes
		return objectOp{}, false
	case g.now != nil && g.now.exists && g.now.proto == c.env.config.Protocol && !g.now.alien && g.now.equal(&want):
		g.foreign = false
		return objectOp{}, false
	}
	if k := loose[want.key()]; k != nil && k.owner == nil {
		c.own(g, k)
		return objectOp{}, false
	}
	into := g.now
	// Resilient groups keep their number of buckets; see replace_nexthop_grp.
	if into == nil || into.alien || into.buckets != want.buckets || into.uses > smallGroup && !g.foreign {
		id := c.allocate()
		if id == 0 {
			return objectOp{}, false
		}
		into = c.groupRecord(id)
	}
	return objectOp{group: g, into: into, shape: want, replace: into.exists}, true
}

// own makes k the kernel's side of g; settleGroups resolves the wants again.
func (c *nexthops) own(g *group, k *kernelGroup) {
	if g.now != nil && g.now != k {
		c.disown(g.now)
		g.now.since = c.env.clock
		c.garbage = true
	}
	g.now, k.owner = k, g
	delete(c.unowned, k.id)
	c.moved(g)
}

// commitObject takes the kernel's answer to op into the model. ok is false if the kernel
// refused it.
func (c *nexthops) commitObject(op *objectOp, r reply, now time.Time) (ok bool) {
	c.env.stats.ObjectWrites++
	c.version++
	switch {
	case op.del:
		return c.commitDeletion(op, r)
	case op.into != nil:
		return c.commitGroup(op, r, now)
	case r.err != nil:
		c.objectFailed(op, r, now)
		return false
	}
	b := op.object
	c.hops[b.id] = c.right(b)
	b.err, b.text, b.step, b.next = nil, "", 0, time.Time{}
	c.hopChanged(b.id)
	c.repairDone(&b.foreign, &b.brake, b.by, op, now)
	if b.key.gateway.IsValid() {
		c.probe(wire.Neighbor{IfIndex: int(b.key.link), Addr: b.key.gateway})
	}
	return true
}

// repairDone reports that op has undone what another program did, if it has.
func (c *nexthops) repairDone(foreign *bool, b *brake.Brake, by origin, op *objectOp, now time.Time) {
	if !*foreign {
		return
	}
	*foreign = false
	c.env.repaired(op.key(), op.verb(), ReasonRepair, by, by.port != 0 && b.Repaired(now))
}

func (op *objectOp) verb() string {
	switch {
	case op.del:
		return "delete"
	case op.replace:
		return "replace"
	}
	return "add"
}

func (c *nexthops) objectFailed(op *objectOp, r reply, now time.Time) {
	b := op.object
	c.env.stats.Errors++
	taken := !op.replace && errors.Is(r.err, unix.EEXIST) // since the last notification that was read
	gone := op.replace && errors.Is(r.err, unix.ENOENT)
	lost := errors.Is(r.err, rtnl.ErrLost)
	if taken || gone || lost {
		c.env.rereads.nextHops.request()
	} else if b.err != r.err {
		c.env.event(Event{Kind: EventError, Op: op.verb(), Key: op.key(), Gateway: b.key.gateway, Link: c.links.byIndex[b.key.link],
			Err: &Error{Op: op.verb(), Key: op.key(), Err: r.err, Text: r.text}})
	}
	if taken {
		c.newID(b)
	}
	if b.step, b.next = backoff(b.step), now.Add(backoff(b.step)); lost {
		c.env.wake(b.next)
		return
	}
	b.err, b.text = r.err, r.text
	for _, g := range c.groups {
		if slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return keyOf(&l, g.family) == b.key }) {
			c.reportWanted(g)
		}
	}
	c.env.wake(b.next)
}

func (c *nexthops) commitDeletion(op *objectOp, r reply) (ok bool) {
	if r.err != nil && !absent(r.err) {
		c.env.stats.Errors++
		c.env.rereads.nextHops.request()
		return false
	}
	if op.into != nil {
		c.emptied(op.into)
		return true
	}
	for _, k := range c.gone(uint32(op.key())) {
		c.emptied(k)
	}
	if b := op.object; op.urgent {
		b.step, b.next = 0, time.Time{}
		c.env.event(Event{Kind: EventGatewayDown, Link: c.links.byIndex[b.key.link], Gateway: b.key.gateway, Reason: ReasonGateway})
	}
	return true
}

func (c *nexthops) commitGroup(op *objectOp, r reply, now time.Time) (ok bool) {
	k, g := op.into, op.group
	if r.err != nil {
		c.groupFailed(op, r, now)
		return false
	}
	c.reshape(k, op.shape)
	k.exists, k.proto, k.alien = true, c.env.config.Protocol, false
	c.reportGroup(k)
	c.garbage = true // members that left may be needed no more
	if g != nil && c.groups[g.key] == g {
		g.err, g.step, g.next = nil, 0, time.Time{}
		if !op.urgent {
			c.repairDone(&g.foreign, &g.brake, g.by, op, now)
		}
		c.own(g, k)
	}
	return true
}

func (c *nexthops) groupFailed(op *objectOp, r reply, now time.Time) {
	k, g := op.into, op.group
	c.env.stats.Errors++
	c.env.rereads.nextHops.request() // what do we not know?
	if k.uses == 0 && !k.exists {
		c.forget(k.id)
	}
	if g == nil {
		return
	}
	known := errors.Is(r.err, unix.EEXIST) || errors.Is(r.err, unix.ENOENT) || errors.Is(r.err, rtnl.ErrLost) // what reading again will explain
	if g.err != r.err && !known {
		c.env.event(Event{Kind: EventError, Op: op.verb(), Key: op.key(), Err: &Error{Op: op.verb(), Key: op.key(), Err: r.err, Text: r.text}})
	}
	g.err, g.text, g.step = r.err, r.text, backoff(g.step)
	c.reportWanted(g)
	g.next = now.Add(g.step)
	c.touch(g)
	c.env.wake(g.next)
}

// emptied is called when a kernel group is gone: its routes went with it,
// without a notification in IPv4. dropVanished takes them out of the model.
func (c *nexthops) emptied(k *kernelGroup) {
	g := k.owner
	c.vanish(k)
	if k.uses > 0 {
		c.vanished = true
	} else {
		c.idFree(k.id)
	}
	if g == nil {
		return
	}
	// A failover leaves something in every group. This is not one, so nothing
	// has to be waited for.
	for i := range g.nextHops {
		if b := c.byKey[keyOf(&g.nextHops[i], g.family)]; b != nil && !c.live(b) && b.err == nil {
			b.next = time.Time{}
			c.touchGateway(b)
		}
	}
	c.moved(g)
}

// collect lists leftovers: groups without routes, then objects without groups.
// It returns when to come again.
func (c *nexthops) collect(now time.Time) (ops []objectOp, again time.Time) {
	if !c.env.swept || !c.garbage || c.env.rereads.nextHops.blocks() {
		return nil, time.Time{}
	}
	c.garbage = false
	for _, k := range c.unowned {
		switch {
		case k.uses > 0 || !k.exists || k.alien || k.proto != c.env.config.Protocol:
		case now.Sub(k.since) < linger:
			c.garbage = true
			if at := k.since.Add(linger); again.IsZero() || at.Before(again) {
				again = at
			}
		default:
			ops = append(ops, objectOp{into: k, del: true})
		}
	}
	if len(ops) == 0 {
		ops = c.collectObjects()
	}
	ops = slices.DeleteFunc(ops, func(op objectOp) bool {
		b := c.strays[uint32(op.key())]
		if b.Ready(now) {
			return false
		}
		c.garbage = true
		if again.IsZero() || b.Next.Before(again) {
			again = b.Next
		}
		return true
	})
	if len(ops) > 0 { // what these groups alone had is left over next
		c.garbage = true
		if at := now.Add(firstRetry); again.IsZero() || at.Before(again) {
			again = at
		}
	}
	slices.SortFunc(ops, func(a, b objectOp) int { return cmp.Compare(a.key(), b.key()) })
	return ops, again
}

// collectObjects lists the objects that no group has or wants, and forgets their ids.
func (c *nexthops) collectObjects() (ops []objectOp) {
	for id := range c.idle {
		h, there := c.hops[id]
		b := c.byID[id]
		needed := len(c.using[id]) > 0 || b != nil && c.wanted(b) && (!there || c.live(b))
		if !needed && b != nil && !(there && c.live(b)) && !c.wanted(b) {
			delete(c.byID, b.id)
			delete(c.byKey, b.key)
			c.idChanged(id)
			b = nil
		}
		if needed || !there || h.proto != c.env.config.Protocol || h.alien {
			delete(c.idle, id) // until it is noted again
			continue
		}
		ops = append(ops, objectOp{object: b, id: id, del: true})
	}
	slices.SortFunc(ops, func(a, b objectOp) int { return cmp.Compare(a.id, b.id) })
	return ops
}

// wanted reports whether a group is to have b.
func (c *nexthops) wanted(b *object) bool {
	for g := range c.wanting[gatewayKey{b.key.link, b.key.gateway}] {
		if slices.ContainsFunc(g.nextHops, func(l wire.NextHop) bool { return keyOf(&l, g.family) == b.key }) {
			return true
		}
	}
	return false
}

func (c *nexthops) retryObjects(now time.Time, all bool) {
	for id := range c.lacking {
		b := c.byID[id]
		if all && b.err != nil {
			b.next, b.step = time.Time{}, 0
		}
		if next := later(b.next, b.brake.Next); now.Before(next) {
			c.env.wake(next)
		} else {
			c.touchGateway(b)
		}
	}
	c.strays.Trim(now)
	for _, g := range c.groups {
		switch {
		case g.err != nil && (all || !now.Before(g.next)):
			g.next = time.Time{}
			c.touch(g)
		case now.Before(g.brake.Next):
			c.env.wake(g.brake.Next)
		}
	}
}
