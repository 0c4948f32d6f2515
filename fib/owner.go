package fib

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// owner is the shell around the core: the goroutine of Run. It alone reads and
// writes the kernel. The core is guarded by FIB.mu, held in short stretches and
// never across a system call.
type owner struct {
	*FIB
	writer *writer
	buffer []byte // of reads
	ops    []routeOp
	audit  time.Time
	steps  []func() error
	pumps  sync.WaitGroup
}

func (f *FIB) lock()   { f.mu.Lock() }
func (f *FIB) unlock() { f.mu.Unlock() }

// run is the life of the owner.
func (o *owner) run(ctx context.Context) error {
	o.steps = o.order()
	o.audit = time.Now().Add(o.auditEvery())
	ready, resume := make(chan struct{}), make(chan struct{})
	o.pumps.Go(func() { o.listen(ctx, ready, resume) })
	touched := make(chan []sysctlWrite)
	o.pumps.Go(func() { o.listenSysctls(ctx, touched) })
	if err := o.sync(true); err != nil {
		return err
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	reading := false // the monitor pump waits for resume
	for {
		if err := ctx.Err(); err != nil {
			return nil
		}
		more, err := o.turn()
		if err != nil {
			return err
		}
		if more {
			continue
		}
		if reading {
			reading = false
			select {
			case resume <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
		timer.Reset(o.delay(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		case <-ready:
			reading = true
		case writes := <-touched:
			o.sysctlWritten(writes)
		case <-timer.C:
		}
	}
}

// listen tells the owner when the monitor socket has something to read, and
// waits until it has read everything.
func (o *owner) listen(ctx context.Context, ready chan<- struct{}, resume <-chan struct{}) {
	for o.monitor.readable() == nil {
		select {
		case ready <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case <-resume:
		case <-ctx.Done():
			return
		}
	}
}

// turn does everything that can be done now, but at most one batch of routes.
// more says that another turn should follow at once.
func (o *owner) turn() (more bool, err error) {
	for _, step := range o.steps {
		if err := step(); err != nil {
			return false, err
		}
	}
	return o.finish(), nil
}

// order is what a turn consists of: what is urgent, then knowledge, then
// objects in the order of their dependence.
func (o *owner) order() []func() error {
	if o.config.DryRun {
		return []func() error{o.listenNow, o.again, o.pretend}
	}
	return []func() error{o.failover, o.listenNow, o.again, o.hopes, o.writeSysctls, o.writeAddresses,
		o.writeNeighbors, o.writeRules, o.writeObjects, o.writeProbes, o.writeRoutes}
}

// pretend adopts groups, so that Diff knows them, and writes nothing.
func (o *owner) pretend() error {
	o.lock()
	defer o.unlock()
	o.hope, o.dying = false, nil
	o.planGroups(time.Now())
	o.settleGroups()
	o.queue, o.head, o.handled = nil, 0, o.queued
	o.store.all(func(_ uint32, e *entry) { e.mark &^= markDirty })
	return nil
}

// finish reports on the turn and decides whether there is more to do.
func (o *owner) finish() (more bool) {
	o.lock()
	defer o.unlock()
	if o.objects.changed {
		o.objects.changed = false
		o.event(Event{Kind: EventNextHops})
	}
	o.tell()
	unclear := o.fresh || len(o.resync) > 0 || o.redo != redoNothing || o.hope || o.moved || len(o.dying) > 0
	quiet := o.config.DryRun || !o.rules.dirty && o.quiet()
	o.settle(!unclear && quiet)
	return unclear || !quiet || o.head < len(o.queue)
}

// quiet reports whether nothing but what waits for time or events is left.
func (c *core) quiet() bool {
	if c.addresses.pending() || c.neighbors.pending() || c.sysctls.pending() || len(c.probes) > 0 {
		return false
	}
	for _, g := range c.dirty {
		if g.next.IsZero() && g.wants > 0 && !c.waiting(g) {
			return false
		}
	}
	return true
}

// waiting reports whether g waits for an object to be tried again.
func (c *core) waiting(g *group) bool {
	for i := range g.legs {
		if b := c.byKey[keyOf(&g.legs[i], g.family)]; b != nil && !b.live && !b.next.IsZero() {
			return true
		}
	}
	return false
}

// delay is how long the owner may sleep.
func (o *owner) delay(now time.Time) time.Duration {
	o.lock()
	defer o.unlock()
	until := o.audit
	if !o.tick.IsZero() && o.tick.Before(until) {
		until = o.tick
	}
	return max(until.Sub(now), 0)
}

// hopes tries again what failed, if time has come or something has changed that
// may help, and collects garbage.
func (o *owner) hopes() error {
	now := time.Now()
	o.lock()
	all := o.hope
	o.hope = false
	if all || !o.tick.IsZero() && !now.Before(o.tick) {
		o.tick = time.Time{}
		o.retry(now, all)
	}
	if !now.Before(o.audit) {
		o.audit = now.Add(o.auditEvery())
		o.sysctls.touchAll()
	}
	o.trim()
	ops, again := o.collect(now)
	if !again.IsZero() {
		o.objects.wake(again)
	}
	o.unlock()
	return o.write(ops)
}

// listenNow takes in all notifications that have arrived: nothing is written
// on older knowledge than that.
func (o *owner) listenNow() error {
	for {
		n, err := o.monitor.receive(o.buffer)
		if o.fault != nil && err == nil {
			err = o.fault()
		}
		switch {
		case errors.Is(err, errAgain):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			o.lock()
			o.redo.everything = true
			o.unlock()
		case errors.Is(err, unix.EMSGSIZE):
		case err != nil:
			return err
		default:
			o.lock()
			for m := range messages(o.buffer[:n]) {
				o.stats.Notifications++
				o.observe(m, false)
			}
			o.unlock()
		}
	}
}

// again reads anew what has become unclear.
func (o *owner) again() error {
	o.lock()
	redo, tables := o.redo, o.resync
	o.redo, o.resync = redoNothing, map[tableFamily]bool{}
	o.unlock()
	if redo.everything {
		return o.sync(false)
	}
	if redo.nextHops {
		if err := o.dumpNextHops(); err != nil {
			return err
		}
	}
	if redo.rules {
		if err := o.dumpRules(); err != nil {
			return err
		}
	}
	if redo.addresses {
		if err := o.dumpAddresses(); err != nil {
			return err
		}
	}
	if redo.neighbors {
		if err := o.dumpNeighbors(); err != nil {
			return err
		}
	}
	for tf := range tables {
		if err := o.dumpTable(tf); err != nil {
			return err
		}
	}
	return o.teachAll(redo.learners)
}

var redoNothing redo

// sync reads everything.
func (o *owner) sync(first bool) error {
	if !first {
		if err := o.listenNow(); err != nil {
			return err
		}
		o.lock()
		o.stats.Resyncs++
		o.redo = redoNothing
		o.unlock()
	}
	for _, dump := range []func() error{o.dumpLinks, o.dumpAddresses, o.dumpRules, o.dumpNeighbors, o.dumpNextHops, o.dumpOwnRoutes} {
		if err := dump(); err != nil {
			return err
		}
	}
	o.lock()
	o.synced = true
	o.resolveAll(func(*want) bool { return true })
	o.store.all(o.touchRoute)
	kind := EventResync
	if first {
		kind = EventSynced
	}
	o.event(Event{Kind: kind})
	o.unlock()
	return o.teachAll(true)
}

// failover writes what GatewayDown asks for, before everything else.
func (o *owner) failover() error {
	for {
		o.lock()
		var ops []objectOp
		if len(o.dying) > 0 && o.synced {
			ops = o.planUrgent()
		}
		o.unlock()
		if len(ops) == 0 {
			return nil
		}
		if err := o.write(ops); err != nil {
			return err
		}
	}
}

// writeObjects makes objects, then groups of them.
// write sends next-hop messages.
// writeRoutes sends one batch of routes.
// writeSysctls compares and writes sysctls on a thread in the namespace.
// report turns the outcome of a low-rate write into events.
