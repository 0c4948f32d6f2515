package fib

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// owner is the shell around the core: the goroutine of Run. It alone reads and
// writes the kernel. The core is guarded by FIB.mu, held in short stretches and
// never across a system call.
type owner struct {
	*FIB
	writer *rtnl.Writer
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
	o.audit = time.Now().Add(o.auditEvery())
	ready, resume := make(chan struct{}), make(chan struct{})
	o.pumps.Go(func() { o.listen(ctx, ready, resume) })
	touched := make(chan []sysctlWrite)
	if o.watch != nil {
		o.pumps.Go(func() { o.listenSysctls(ctx, touched) })
	}
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
	for o.monitor.Wait() == nil {
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
		return []func() error{o.listenNow, o.again, o.dryRun}
	}
	return []func() error{o.failover, o.listenNow, o.again, o.retryFailed, o.writeSysctls, o.writeAddresses,
		o.writeNeighbors, o.writeRules, o.writeObjects, o.writeProbes, o.writeRoutes}
}

// dryRun adopts groups, so that Diff knows them, and writes nothing.
func (o *owner) dryRun() error {
	o.lock()
	defer o.unlock()
	o.hope, o.dying = false, nil
	o.planGroups(time.Now())
	o.settleGroups()
	o.queue, o.head, o.handled = nil, 0, o.queued
	o.store.all(func(_ uint32, e *entry) { e.mark &^= markDirty })
	return nil
}

// finish reports on the turn and decides whether there is more to do at once.
func (o *owner) finish() (more bool) {
	now := time.Now()
	o.lock()
	defer o.unlock()
	if o.objects.changed {
		o.objects.changed = false
		o.event(Event{Kind: EventNextHops})
	}
	o.tell()
	doubtful, due, next := o.doubts.state(now)
	if doubtful && !due {
		o.objects.wake(next)
	}
	busy := o.fresh || o.hope || o.moved || len(o.extras) > 0 || o.deathsDue(now)
	quiet := o.config.DryRun || o.quiet(now)
	o.settle(!doubtful && !busy && quiet)
	return due || busy || !quiet || o.head < len(o.queue)
}

// deathsDue reports whether failover has something to do now.
func (c *core) deathsDue(now time.Time) bool {
	return slices.ContainsFunc(c.dying, func(b *object) bool { return !now.Before(b.next) })
}

// quiet reports whether nothing but what waits for time or events is left.
func (c *core) quiet(now time.Time) bool {
	if c.addresses.pending(now) && !c.doubts.addresses.holds() || c.neighbors.pending(now) && !c.neighborsHold() ||
		c.rules.dirty && !c.doubts.rules.holds() || c.sysctls.pending() || len(c.probes) > 0 {
		return false
	}
	if c.doubts.nextHops.holds() {
		return true
	}
	for _, g := range c.dirty {
		if g.wants > 0 && !c.waiting(g, now) {
			return false
		}
	}
	return true
}

// waiting reports whether g waits for its time, or for an object to be tried again.
func (c *core) waiting(g *group, now time.Time) bool {
	if now.Before(g.next) || g.foreign && !g.brake.Ready(now) {
		return true
	}
	for i := range g.nextHops {
		b := c.byKey[keyOf(&g.nextHops[i], g.family)]
		if b != nil && !c.live(b) && (now.Before(b.next) || b.foreign && !b.brake.Ready(now)) {
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

// retryFailed tries again what failed, if time has come or something has changed that
// may help, and collects garbage.
func (o *owner) retryFailed() error {
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
		o.sysctls.audit()
		o.suspectProxies()
	}
	o.trim()
	ops, again := o.collect(now)
	if !again.IsZero() {
		o.objects.wake(again)
	}
	o.unlock()
	_, err := o.write(ops)
	return err
}

// mostDatagrams bounds what one turn reads: others may change the kernel's tables faster
// than this process can follow, and the owner must have its turn.
const mostDatagrams = 20000

// listenNow takes in all notifications that have arrived: nothing is written
// on older knowledge than that.
func (o *owner) listenNow() error {
	for range mostDatagrams {
		n, err := o.monitor.Receive(o.buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && passing(err): // above all ENOBUFS
			o.lock()
			o.doubts.everything.raise()
			o.unlock()
		case err != nil:
			return err
		default:
			o.lock()
			for m := range rtnl.Messages(o.buffer[:n]) {
				o.stats.Notifications++
				o.observe(m, false)
			}
			o.unlock()
		}
	}
	return nil
}

// again reads anew what has become unclear.
func (o *owner) again() error {
	o.lock()
	d := &o.doubts
	everything := d.everything.due(time.Now())
	tables := make(map[tableFamily]*doubt, len(d.tables))
	for tf, one := range d.tables {
		if one.raised {
			tables[tf] = one
		} else {
			delete(d.tables, tf)
		}
	}
	o.unlock()
	if everything {
		return o.sync(false)
	}
	for _, part := range o.parts() {
		if err := o.reread(part.doubt, false, part.dump); err != nil {
			return err
		}
	}
	for tf, one := range tables {
		if err := o.reread(one, false, func() (bool, error) { return o.dumpTable(tf) }); err != nil {
			return err
		}
	}
	return o.readForNewLearners()
}

// part is a part of the kernel's state that can be read alone.
type part struct {
	doubt *doubt
	dump  func() (clean bool, err error)
}

// parts are all of them, in the order in which they are read.
func (o *owner) parts() []part {
	d := &o.doubts
	return []part{{&d.links, o.dumpLinks}, {&d.addresses, o.dumpAddresses}, {&d.rules, o.dumpRules}, {&d.neighbors, o.dumpNeighbors}, {&d.proxies, o.dumpProxies},
		{&d.nextHops, o.dumpNextHops}, {&d.routes, o.dumpOwnRoutes}, {&d.learners, o.readForAllLearners}}
}

// sync reads everything. Notifications from before the first reading say nothing that
// is not in it.
func (o *owner) sync(first bool) error {
	start := time.Now()
	if first {
		if err := o.discard(); err != nil {
			return err
		}
	} else if err := o.listenNow(); err != nil {
		return err
	}
	o.lock()
	o.doubts.everything.begin()
	o.unlock()
	for _, part := range o.parts() {
		if first && part.doubt == &o.doubts.learners {
			continue
		}
		if err := o.reread(part.doubt, true, part.dump); err != nil {
			return err
		}
	}
	o.lock()
	kind := EventSynced
	if !first {
		kind = EventResync
		o.stats.Resyncs++
	}
	o.synced = true
	o.resolveAll(func(*want) bool { return true })
	o.store.all(o.touchRoute)
	o.event(Event{Kind: kind})
	o.doubts.everything.done(start, time.Now(), true)
	o.unlock()
	if first {
		return o.readForNewLearners()
	}
	return nil
}

// discard drops the notifications that have arrived.
func (o *owner) discard() error {
	for {
		if _, err := o.monitor.Receive(o.buffer); errors.Is(err, unix.EAGAIN) {
			return nil
		} else if err != nil && !passing(err) {
			return err
		}
	}
}

// failover writes what GatewayDown asks for, before everything else. Three rounds make
// a clone, move groups to it, and delete: if that was not enough, or something was
// refused, notifications are read before the next attempt.
func (o *owner) failover() error {
	for range 3 {
		o.lock()
		var ops []objectOp
		if len(o.dying) > 0 && o.synced {
			ops = o.planUrgent(time.Now())
		}
		o.unlock()
		if len(ops) == 0 {
			return nil
		}
		ok, err := o.write(ops)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	o.lock()
	o.urgentFailed(time.Now())
	o.unlock()
	return nil
}
