package fib

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// routeOp is one route message to be written.
type routeOp struct {
	entry uint32
	verb  verb
	form  *form // the new content, or for a deletion what identifies the route
}

// planRoutes takes up to limit operations from the queue.
func (c *core) planRoutes(ops []routeOp, limit int) []routeOp {
	c.bury()
	for c.head < len(c.queue) && len(ops) < limit {
		i := c.queue[c.head]
		c.head++
		if op, ok := c.planRoute(i); ok {
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

func (c *core) planRoute(i uint32) (routeOp, bool) {
	e := c.store.at(i)
	e.mark &^= markDirty
	want, keep := c.target(e)
	if keep || e.mark&markContested != 0 {
		c.clean(i, e)
		return routeOp{}, false
	}
	foreign := e.mark&markForeign != 0 || e.mark&markYielding != 0 && c.config.OnForeign == ForeignRefuse
	v := decide(want, e.have, foreign, c.config.OnForeign)
	switch v {
	case verbNone:
		c.settled(i, e)
		return routeOp{}, false
	case verbYield:
		c.yield(i, e)
		return routeOp{}, false
	case verbDelete:
		want = e.have
		if want == unsure {
			want = c.guess(e)
		}
	}
	e.mark |= markBusy
	want.refs++ // keeps it until commit
	return routeOp{i, v, want}, true
}

// guess is a form good enough to find the route for deletion.
func (c *core) guess(e *entry) *form {
	f := facts{family: c.tables.list[e.key.table].family, proto: c.config.Protocol}
	if e.want != nil {
		f.proto, f.typ = e.want.proto, e.want.typ
	}
	return c.intern.form(&f, 0, nil, true)
}

// settled is called when the kernel has what is desired.
func (c *core) settled(i uint32, e *entry) {
	c.clear(i, e, markRepair|markYielding|markDoomed|markLost)
	c.forgive(i, e)
	c.clean(i, e)
}

func (c *core) yield(i uint32, e *entry) {
	if e.mark&markYielding != 0 {
		return
	}
	e.mark |= markYielding
	c.note(i, e)
	err := &Error{Op: "add", Key: c.unpack(&e.key), Err: ErrForeign}
	c.stats.Errors++
	c.event(Event{Kind: EventError, Op: "add", Key: err.Key, Err: err})
}

// appendOp appends the message of op.
func (c *core) appendOp(b []byte, op *routeOp, seq uint32) []byte {
	e := c.store.at(op.entry)
	tf := c.tables.list[e.key.table]
	switch op.verb {
	case verbDelete:
		return appendRoute(b, unix.RTM_DELROUTE, unix.NLM_F_REQUEST, seq, &e.key, tf, op.form)
	case verbAdd:
		return appendRoute(b, unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL, seq, &e.key, tf, op.form)
	}
	return appendRoute(b, unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, seq, &e.key, tf, op.form)
}

// commitRoute takes the kernel's answer to op into the model. unknown means
// that the answer was lost.
func (c *core) commitRoute(op *routeOp, r reply, unknown bool, now time.Time) {
	e := c.store.at(op.entry)
	c.handled++
	op.form.refs--
	e.mark &^= markBusy
	switch op.verb {
	case verbAdd:
		c.stats.Adds++
	case verbReplace:
		c.stats.Replaces++
	case verbDelete:
		c.stats.Deletes++
	}
	switch {
	case unknown:
		c.resync[c.tables.list[e.key.table]] = true
		c.written(op, e)
	case r.err == nil || op.verb == verbDelete && absent(r.err):
		c.written(op, e)
	case op.verb == verbAdd && errors.Is(r.err, unix.EEXIST):
		e.mark |= markContested
		c.resync[c.tables.list[e.key.table]] = true
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

func (c *core) written(op *routeOp, e *entry) {
	reason := "desired"
	if e.mark&markRepair != 0 {
		reason = "repair"
		c.stats.Repairs++
		c.event(Event{Kind: EventRepair, Op: op.verb.String(), Key: c.unpack(&e.key), Reason: reason})
	} else if e.want == nil && e.mark&markDoomed == 0 {
		reason = "swept"
	}
	if op.verb == verbReplace && e.mark&markForeign != 0 && c.config.OnForeign == ForeignTake {
		reason = "take"
		e.mark &^= markForeign
		c.redo.learners = true
		c.event(Event{Kind: EventRepair, Op: op.verb.String(), Key: c.unpack(&e.key), Reason: reason})
	}
	if c.writes {
		c.event(Event{Kind: EventWrite, Op: op.verb.String(), Key: c.unpack(&e.key), Reason: reason})
	}
	c.clear(op.entry, e, markRepair|markYielding|markLost)
	if op.verb == verbDelete {
		c.setHave(op.entry, e, nil)
		e.mark &^= markDoomed
	} else {
		c.setHave(op.entry, e, op.form)
	}
	c.forgive(op.entry, e)
}

func (c *core) routeFailed(op *routeOp, e *entry, r reply, now time.Time) {
	c.stats.Errors++
	if op.verb == verbReplace && e.have != unsure && len(op.form.legs) > 1 && c.tables.list[e.key.table].family == IPv6 {
		// IPv6 multipath is replaced leg by leg: what is there now?
		c.setHave(op.entry, e, unsure)
	}
	if op.form.nhid != 0 && (errors.Is(r.err, unix.EINVAL) || errors.Is(r.err, unix.ENOENT)) {
		c.redo.nextHops = true // the group may have gone
	}
	f := c.failures[op.entry]
	if f == nil {
		f = &failure{}
		c.failures[op.entry] = f
	}
	if f.err == nil || f.err.Err != r.err {
		f.err = &Error{Op: op.verb.String(), Key: c.unpack(&e.key), Err: r.err, Text: r.text}
		c.event(Event{Kind: EventError, Op: f.err.Op, Key: f.err.Key, Err: f.err})
	}
	e.mark |= markFailed
	c.note(op.entry, e)
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	c.wake(f.next)
}

// retry queues what failed and is due, or with all everything that failed:
// something has changed that may make it possible.
func (c *core) retry(now time.Time, all bool) {
	for i, f := range c.failures {
		switch {
		case all:
			f.step = 0
			fallthrough
		case !now.Before(f.next):
			c.touchRoute(i, c.store.at(i))
		default:
			c.wake(f.next)
		}
	}
	for _, b := range c.byID {
		if b.live {
			continue
		}
		if all && b.err != nil {
			b.next, b.step = time.Time{}, 0
		}
		if !now.Before(b.next) {
			link, gateway := b.key.link, b.key.gateway
			c.touchLegs(func(l *leg) bool { return l.link == link && l.gateway == gateway })
		} else {
			c.wake(b.next)
		}
	}
	for _, g := range c.groups {
		if g.err != nil && (all || !now.Before(g.next)) {
			g.next = time.Time{}
			c.touch(g)
		}
	}
	c.addresses.retry(now, all, c.wake)
	c.neighbors.retry(now, all, c.wake)
	c.rules.retry(now, all, c.wake)
	c.sysctls.retry(now, all, c.wake)
}

// absent reports whether the error of a deletion says that there was nothing.
func absent(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}
