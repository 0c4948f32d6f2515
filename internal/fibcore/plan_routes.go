package fibcore

import (
	"errors"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// routeOp is one route message to be written.
type routeOp struct {
	entry uint32
	verb  verb
	form  *form // the new content, or for a deletion what identifies the route
	extra bool  // a deletion of one that stands beside another
}

// planRoutes takes up to limit operations from the queue.
func (c *routes) planRoutes(ops []routeOp, limit int, now time.Time) []routeOp {
	c.dropVanished()
	ops = c.planExtras(ops, limit, now)
	for c.head < len(c.queue) && len(ops) < limit {
		i := c.queue[c.head]
		c.head++
		if op, ok := c.planRoute(i, now); ok {
			ops = append(ops, op)
		} else {
			c.handled++
		}
	}
	if c.head == len(c.queue) {
		c.head = 0
		if cap(c.queue) > 1<<16 {
			c.queue = nil
		} else {
			c.queue = c.queue[:0]
		}
	}
	return ops
}

func (c *routes) planRoute(i uint32, now time.Time) (routeOp, bool) {
	e := c.store.at(i)
	e.mark &^= markDirty
	want, keep := c.target(e)
	if keep || e.mark&markContested != 0 {
		c.clean(i, e)
		return routeOp{}, false
	}
	policy := c.env.config.OnForeign
	foreign := e.mark&markForeign != 0 || e.mark&markYielding != 0 && policy == ForeignRefuse
	if e.mark&markStolen != 0 {
		policy = ForeignTake
	}
	v := decide(want, e.have, foreign, policy)
	if v == verbReplace && e.mark&markBehind != 0 && policy != ForeignTake {
		v = verbDelete // a replacement would hit the one that stands before ours
	}
	switch v {
	case verbNone:
		c.settled(i, e)
		return routeOp{}, false
	case verbYield:
		c.yield(i, e)
		return routeOp{}, false
	}
	// Also the replacement of a foreign route, and one that is late: who is in contention
	// for the key does not get it a moment earlier by asking again. What the user deletes is
	// deleted at once.
	if b := c.brakes[e.key]; !b.Ready(now) && (v != verbDelete || e.mark&markRepair != 0) {
		c.statusChanged(i, e)
		c.env.wake(b.Next)
		return routeOp{}, false
	}
	if f := c.failures[i]; f != nil && now.Before(f.next) {
		c.env.wake(f.next)
		return routeOp{}, false
	}
	if e.have == needsDump && (v == verbDelete || e.mark&markAround != 0) { // what is there to delete, or to replace?
		e.mark |= markContested
		c.env.rereads.table(c.tables.list[e.key.table])
		return routeOp{}, false
	}
	if v == verbDelete {
		want = e.have
	}
	e.mark |= markBusy
	want.refs++ // keeps it until commit
	return routeOp{i, v, want, v == verbDelete && e.mark&markBehind != 0}, true
}

// settled is called when the kernel has what is desired.
func (c *routes) settled(i uint32, e *entry) {
	c.clear(i, e, markRepair|markYielding|markDeleted|markLost|markStolen)
	c.clearFailure(i, e)
	c.clean(i, e)
}

func (c *routes) yield(i uint32, e *entry) {
	if e.mark&markYielding != 0 {
		return
	}
	e.mark |= markYielding
	c.statusChanged(i, e)
	err := &Error{Op: "add", Key: c.unpack(&e.key), Err: ErrForeign}
	c.env.stats.Errors++
	c.env.event(Event{Kind: EventError, Op: "add", Key: err.Key, Err: err})
}

// appendOp appends the message of op.
func (c *routes) appendOp(b []byte, op *routeOp, seq uint32) []byte {
	k := &c.store.at(op.entry).key
	tf := c.tables.list[k.table]
	m := &c.out
	*m = wire.RouteMessage{Facts: op.form.Facts, Table: tf.table, Hi: k.hi, Lo: k.lo, Bits: k.bits, TOS: k.tos, Metric: k.metric, NextHopID: op.form.nhid, NextHops: op.form.nextHops}
	m.Family = tf.family
	switch op.verb {
	case verbDelete:
		return wire.AppendRoute(b, rtnl.RTM_DELROUTE, rtnl.NLM_F_REQUEST, seq, m, op.extra)
	case verbAdd:
		return wire.AppendRoute(b, rtnl.RTM_NEWROUTE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_EXCL, seq, m, true)
	}
	return wire.AppendRoute(b, rtnl.RTM_NEWROUTE, rtnl.NLM_F_REQUEST|rtnl.NLM_F_CREATE|rtnl.NLM_F_REPLACE, seq, m, true)
}

// commitRoute takes the kernel's answer to op into the model.
func (c *routes) commitRoute(op *routeOp, r reply, now time.Time) {
	e := c.store.at(op.entry)
	if op.extra {
		c.commitExtra(op, e, now)
		return
	}
	c.handled++
	op.form.refs--
	e.mark &^= markBusy | markSuspect
	if c.tables.list[e.key.table].family == wire.FamilyIPv6 {
		c.turbulence++
	}
	switch op.verb {
	case verbAdd:
		c.env.stats.Adds++
	case verbReplace:
		c.env.stats.Replaces++
	case verbDelete:
		c.env.stats.Deletes++
	}
	switch {
	case r.err == nil || op.verb == verbDelete && absent(r.err):
		tf := c.tables.list[e.key.table]
		switch {
		case op.verb != verbDelete:
		case r.err != nil:
			// Ours is another one, if a notification was older than our last write: the
			// deletion names what was to go.
			c.env.rereads.table(tf)
		case e.key.metric == 0 && tf.family == wire.FamilyIPv4 && c.store.others(e.key):
			// To IPv4's RTM_DELROUTE, metric 0 is any (net/ipv4/fib_semantics.c,
			// fib_nh_match): if ours had gone already, another went in its place.
			c.env.rereads.table(tf)
		}
		c.written(op, e, now)
	case errors.Is(r.err, unix.EEXIST): // of a replacement: the same stands behind another
		e.mark |= markContested | markRefused
		c.env.rereads.table(c.tables.list[e.key.table])
	default:
		c.routeFailed(op, e, r, now)
	}
	if e.mark&(markDirty|markContested|markFailed) == 0 {
		if want, keep := c.target(e); !keep && want != e.have {
			c.touchRoute(op.entry, e) // changed its mind meanwhile
		} else {
			c.clean(op.entry, e)
		}
	}
}

// commitExtra: what has come of it is read.
func (c *routes) commitExtra(op *routeOp, e *entry, now time.Time) {
	op.form.refs--
	e.mark &^= markBusy
	c.env.stats.Deletes++
	by := c.by[op.entry]
	c.env.repaired(c.unpack(&e.key), "delete", ReasonRepair, by, by.port != 0 && c.brakes.Of(e.key).Repaired(now))
	delete(c.by, op.entry)
	e.mark &^= markRepair
	e.mark |= markContested
	c.env.rereads.table(c.tables.list[e.key.table])
}

func (c *routes) written(op *routeOp, e *entry, now time.Time) {
	reason, i := ReasonDesired, op.entry
	switch {
	case op.verb == verbReplace && e.mark&markForeign != 0 && e.mark&markStolen == 0 && c.env.config.OnForeign == ForeignTake:
		reason = ReasonTake
	case e.mark&markRepair != 0:
		reason = ReasonRepair
	case e.want == nil && e.mark&markDeleted == 0:
		reason = ReasonSwept
	}
	if reason == ReasonRepair || reason == ReasonTake {
		if op.verb == verbReplace {
			// What was another program's there has gone without a notification: RTM_NEWROUTE
			// with NLM_F_REPLACE is all that the kernel sends, and to us not even that.
			c.env.rereads.learners.request()
		}
		by := c.by[i]
		c.env.repaired(c.unpack(&e.key), op.verb.String(), reason, by, by.port != 0 && c.brakes.Of(e.key).Repaired(now))
	}
	delete(c.by, i)
	if c.env.writes {
		c.env.event(Event{Kind: EventWrite, Op: op.verb.String(), Key: c.unpack(&e.key), Reason: reason})
	}
	c.clear(op.entry, e, markRepair|markYielding|markLost|markStolen|markForeign)
	if op.verb == verbDelete {
		c.setHave(op.entry, e, nil)
		e.mark &^= markDeleted
	} else {
		c.setHave(op.entry, e, op.form)
	}
	c.clearFailure(op.entry, e)
}

func (c *routes) routeFailed(op *routeOp, e *entry, r reply, now time.Time) {
	if errors.Is(r.err, rtnl.ErrLost) {
		c.env.rereads.table(c.tables.list[e.key.table])
	} else {
		c.env.stats.Errors++
	}
	if op.verb == verbReplace && e.have != needsDump && len(op.form.nextHops) > 1 && c.tables.list[e.key.table].family == wire.FamilyIPv6 {
		// IPv6 multipath is replaced next hop by next hop: what is there now?
		c.setHave(op.entry, e, needsDump)
	}
	if op.form.nhid != 0 && (errors.Is(r.err, unix.EINVAL) || errors.Is(r.err, unix.ENOENT)) {
		c.env.rereads.nextHops.request() // the group may have gone
	}
	f := c.failures[op.entry]
	if f == nil {
		f = &failure{}
		c.failures[op.entry] = f
	}
	if f.err == nil || f.err.Err != r.err {
		f.err = &Error{Op: op.verb.String(), Key: c.unpack(&e.key), Err: r.err, Text: r.text}
		if !errors.Is(r.err, rtnl.ErrLost) {
			c.env.event(Event{Kind: EventError, Op: f.err.Op, Key: f.err.Key, Err: f.err})
		}
	}
	e.mark |= markFailed
	c.statusChanged(op.entry, e)
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	c.env.wake(f.next)
}

// retryRoutes queues what failed and is due, or with all everything that failed:
// something has changed that may make it possible.
func (c *routes) retryRoutes(now time.Time, all bool) {
	var due []uint32 // in an order that is always the same
	for i, f := range c.failures {
		switch {
		case all:
			f.step, f.next = 0, time.Time{}
			fallthrough
		case !now.Before(f.next):
			due = append(due, i)
		default:
			c.env.wake(f.next)
		}
	}
	for key, b := range c.brakes {
		i, e := c.store.find(&key)
		switch {
		case now.Before(b.Next):
			c.env.wake(b.Next)
		case e == nil || b.Next.IsZero():
		case e.mark&markBeside != 0:
			e.mark &^= markBeside
			c.env.rereads.table(c.tables.list[key.table])
			fallthrough // ours may have gone meanwhile: its repair was delayed by the same brake
		default:
			due = append(due, i)
		}
	}
	slices.Sort(due)
	for _, i := range due {
		c.touchRoute(i, c.store.at(i))
	}
	c.brakes.Trim(now)
}
