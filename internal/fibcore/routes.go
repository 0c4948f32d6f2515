package fibcore

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// routes are all routes that are desired or ours in the kernel, by key, and those that differ
// in a queue.
type routes struct {
	env      *env
	nexthops *nexthops
	contents *contents

	tables   tables
	store    store
	failures map[uint32]*failure // by entry
	queue    []uint32            // dirty entries, first in first out
	head     int
	queued   uint64            // entries ever queued
	handled  uint64            // entries ever taken and committed
	by       map[uint32]origin // who has changed entries with markRepair
	brakes   brake.Table[rkey] // of repairs; they outlive the entry

	pass, first uint32  // over the dump under way, and the first of its passes; see entry.seen
	lastForeign rkey    // under which the dump had another program's route, where ours has no entry
	extras      []extra // to be deleted
	// extrasLeft says that there were extras that must stay until Sweep.
	extrasLeft bool

	// For the audit: how often the model has lost a route, how often IPv6 routes have changed, and
	// what the last dump of a table that went on meanwhile lacked.
	dropped, turbulence uint64
	doubted             map[tableFamily]map[rkey]bool
	awaited             map[rkey]bool // a difference, if the next dump has them otherwise than known, too

	followers      []*Follower       // who wants to know what becomes of routes
	changedEntries []uint32          // entries whose change of status they do not know yet
	rm, out        wire.RouteMessage // scratch
}

// setRoute makes r desired.
func (c *routes) setRoute(r *Route) error {
	key, tf, err := c.pack(r.RouteKey)
	if err != nil {
		return err
	}
	w, err := c.contents.wantOf(r, tf.family)
	if err != nil {
		return &Error{Op: "set", Key: r.RouteKey, Err: err}
	}
	i, e := c.store.get(&key)
	c.clear(i, e, markStale|markDeleted|markYielding)
	if e.mark&markFailed != 0 && e.want != w {
		c.clearFailure(i, e)
	}
	if e.want == nil && e.mark&markBehind != 0 && c.env.config.OnForeign == ForeignTake {
		// What stands before ours was not noted when nobody wanted the key.
		c.env.rereads.table(tf)
	}
	c.setWant(i, e, w)
	if !c.env.synced || w.form != e.have || e.mark&markFailed != 0 {
		c.touchRoute(i, e)
	}
	return nil
}

// deleteRoute takes SetRoute back.
func (c *routes) deleteRoute(k wire.RouteKey) error {
	key, _, err := c.pack(k)
	if err != nil {
		return err
	}
	i, e := c.store.find(&key)
	if e == nil {
		if c.env.synced {
			return nil
		}
		i, e = c.store.get(&key)
	}
	c.clear(i, e, markStale|markYielding)
	e.mark |= markDeleted
	c.clearFailure(i, e)
	c.setWant(i, e, nil)
	c.touchRoute(i, e)
	return nil
}

// setWant makes w the desired content of an entry; nil: nothing is desired.
func (c *routes) setWant(i uint32, e *entry, w *want) {
	if e.want == w {
		return
	}
	c.statusChanged(i, e)
	c.clear(i, e, markLost)
	if w != nil {
		w.enter(i)
		if w.refs == 1 && w.group != nil {
			w.group.wants++
		}
	}
	if old := e.want; old != nil {
		if old.leave(i); old.refs == 0 {
			c.contents.dropWant(old)
		}
	}
	e.want = w
}

func (c *routes) setHave(i uint32, e *entry, f *form) {
	if e.have == f {
		return
	}
	c.statusChanged(i, e)
	e.seen = c.pass
	e.mark &^= markSuspect | markMissed
	if f == nil {
		c.dropped++
	}
	if e.want != nil && e.have != nil && e.have == e.want.form {
		e.mark |= markLost // until it is written again
	}
	if f != nil && f != needsDump {
		f.refs++
		if f.group != nil {
			f.group.uses++
		}
	}
	if old := e.have; old != nil && old != needsDump {
		old.refs--
		if old.group != nil {
			c.nexthops.unuse(old.group)
		}
	}
	e.have = f
}

func (c *routes) touchRoute(i uint32, e *entry) {
	if e.mark&markDirty != 0 {
		return
	}
	e.mark |= markDirty
	c.queue = append(c.queue, i)
	c.queued++
}

// target is the form that e should have, nil for none; keep means that it may
// stay whatever it is.
func (c *routes) target(e *entry) (f *form, keep bool) {
	switch {
	case e.want != nil:
		// Not ready is no reason to take away what is there, unless the
		// kernel did that already.
		f = e.want.form
		return f, f == nil && !e.want.linksDown
	case e.mark&markDeleted != 0 || c.env.swept:
		return nil, false
	}
	return nil, true
}

// clean lets go of an entry that says nothing any more.
func (c *routes) clean(i uint32, e *entry) {
	if e.want == nil && e.have == nil && e.mark&(markDirty|markBusy) == 0 {
		c.clearFailure(i, e)
		delete(c.by, i)
		c.forget(e)
		c.store.release(i)
	}
}

// clearFailure forgets that the route failed.
func (c *routes) clearFailure(i uint32, e *entry) {
	if e.mark&markFailed != 0 {
		e.mark &^= markFailed
		delete(c.failures, i)
		c.statusChanged(i, e)
	}
}

// pack checks a key and returns its compact form, and what all routes of its table and
// family share.
func (c *routes) pack(k wire.RouteKey) (rkey, tableFamily, error) {
	k.Table = cmp.Or(k.Table, rtnl.RT_TABLE_MAIN)
	addr := k.Prefix.Addr()
	switch {
	case !k.Prefix.IsValid() || addr.Is4In6() || addr.Zone() != "":
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "prefix"}
	case k.Prefix.Masked() != k.Prefix:
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "host bits are set"}
	case !c.env.owns(k.Table):
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrTable}
	case k.TOS != 0 && !addr.Is4():
		return rkey{}, tableFamily{}, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "IPv6 has no TOS"}
	}
	tf := tableFamily{k.Table, wire.FamilyOf(addr)}
	if tf.family == wire.FamilyIPv6 {
		k.Metric = cmp.Or(k.Metric, metricIPv6)
	}
	t, ok := c.tables.of(tf)
	if !ok {
		return rkey{}, tf, &Error{Op: "set", Key: k, Err: ErrInvalid, Text: "more than 65535 tables"}
	}
	key := rkey{metric: k.Metric, table: t, bits: uint8(k.Prefix.Bits()), tos: k.TOS}
	key.hi, key.lo = wire.PackAddr(addr)
	return key, tf, nil
}

// unpack is the reverse of pack.
func (c *routes) unpack(k *rkey) wire.RouteKey {
	tf := c.tables.list[k.table]
	return wire.RouteKey{Table: tf.table, Prefix: netip.PrefixFrom(wire.UnpackAddr(k.hi, k.lo, tf.family), int(k.bits)), TOS: k.tos, Metric: k.metric}
}

// resolveAll resolves the wants for which f is true, and queues the entries
// whose form has changed by it.
func (c *routes) resolveAll(f func(w *want) bool) {
	var changed []*want
	for _, w := range c.contents.intern.wants {
		if f(w) {
			c.contents.resolve(w)
		}
		if w.changed {
			changed = append(changed, w)
		}
	}
	c.queueChanged(changed)
}

// resolveMultipath resolves the wants of RTA_MULTIPATH with a next hop for which f is true.
func (c *routes) resolveMultipath(f func(l wire.NextHop) bool) {
	if c.contents.intern.multipath == 0 {
		return
	}
	c.resolveAll(func(w *want) bool { return w.multipath && slices.ContainsFunc(w.nextHops, f) })
}

// queueChanged queues the entries of changed wants.
func (c *routes) queueChanged(changed []*want) {
	c.entriesOf(changed, func(i uint32, e *entry) {
		if !e.want.changed {
			return
		}
		c.statusChanged(i, e)
		if e.want.form != e.have {
			c.touchRoute(i, e)
		}
	})
	for _, w := range changed {
		w.changed = false
	}
}

// entriesOf calls f for the entries of some wants, in their order. If a want does not know its
// entries, f is called for all entries with a want.
func (c *routes) entriesOf(wants []*want, f func(i uint32, e *entry)) {
	var list []uint32
	for _, w := range wants {
		if w.many {
			c.store.all(func(i uint32, e *entry) {
				if e.want != nil {
					f(i, e)
				}
			})
			return
		}
		list = append(list, w.entries...)
	}
	slices.Sort(list)
	for _, i := range list {
		f(i, c.store.at(i))
	}
}

// settleGroups resolves the wants of groups that have moved, all at once.
func (c *routes) settleGroups() {
	var changed []*want
	for _, g := range c.nexthops.replacements {
		for w := range g.users {
			if c.contents.resolve(w); w.changed {
				changed = append(changed, w)
			}
		}
		g.replaced = false
	}
	c.nexthops.replacements = c.nexthops.replacements[:0]
	c.queueChanged(changed)
}

// dropVanished takes the routes of all vanished groups out of the model, at once.
func (c *routes) dropVanished() {
	if !c.nexthops.vanished {
		return
	}
	c.nexthops.vanished = false
	c.store.all(func(i uint32, e *entry) {
		if e.have != nil && e.have.group != nil && !e.have.group.exists {
			c.setHave(i, e, nil)
			c.touchRoute(i, e)
		}
	})
}

// moveRoutes makes wants of those that use the old index, and gives them to the routes.
func (c *routes) moveRoutes(old, to int32) {
	moved := map[*want]*want{}
	for _, w := range c.contents.intern.wants {
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
		n := c.contents.intern.want(&w.Facts, slices.Compact(nextHops), w.buckets, w.multipath)
		if n.refs == 0 {
			c.contents.resolve(n)
			n.changed = false
		}
		moved[w] = n
	}
	if len(moved) == 0 {
		return
	}
	c.contents.last.w = nil
	c.store.all(func(i uint32, e *entry) {
		if n := moved[e.want]; e.want != nil && n != nil {
			c.clearFailure(i, e)
			c.setWant(i, e, n)
			c.touchRoute(i, e)
		}
	})
}

// statusChanged remembers that the status of e has changed, if anybody wants to know.
func (c *routes) statusChanged(i uint32, e *entry) {
	if len(c.followers) == 0 || e.mark&markChanged != 0 {
		return
	}
	e.mark |= markChanged
	c.changedEntries = append(c.changedEntries, i)
}

// clear takes marks off e, some of which its status shows.
func (c *routes) clear(i uint32, e *entry, m mark) {
	if e.mark&m&(markYielding|markLost|markBehind) != 0 {
		c.statusChanged(i, e)
	}
	e.mark &^= m
}
