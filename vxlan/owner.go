package vxlan

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// owner is the shell around the core: the goroutine of Run. It alone reads and writes the
// kernel. The core is guarded by FDB.mu, never held across a system call.
type owner struct {
	fdb     *FDB
	kernel  *kernel
	monitor socket    // of notifications
	once    sync.Once // for close
}

func newOwner(f *FDB) (*owner, error) {
	k, err := openKernel(f.config, f.open)
	if err != nil {
		return nil, err
	}
	m, err := f.open(f.config.NetNS, rtnl.RTNLGRP_NEIGH, rtnl.RTNLGRP_LINK)
	if err == nil {
		err = m.Ignore(k.conn.Port()) // of neighbours; those of forwarding entries do not say who has written
	}
	o := &owner{fdb: f, kernel: k, monitor: m}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// close closes the sockets, once: whoever waits for one returns.
func (o *owner) close() {
	o.once.Do(func() {
		o.kernel.conn.Close()
		if o.monitor != nil {
			o.monitor.Close()
		}
	})
}

// live is Run, with open sockets.
func (o *owner) live(ctx context.Context) error {
	defer context.AfterFunc(ctx, o.close)()
	broken := make(chan error, 1)
	var pump sync.WaitGroup
	pump.Go(func() { broken <- o.listen() })
	err := o.work(ctx, broken)
	o.close()
	pump.Wait()
	if ctx.Err() != nil {
		return nil // whatever the closing of the sockets did to who used them
	}
	return err
}

// work does what is asked for, and what is due, until ctx ends or the monitor socket fails.
func (o *owner) work(ctx context.Context, broken <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	o.startAudit()
	for ctx.Err() == nil {
		timer.Reset(o.delay(time.Now()))
		select {
		case <-ctx.Done():
		case err := <-broken:
			return err
		case c := <-o.fdb.calls:
			c.done <- ended(ctx, c.do(o))
		case <-o.fdb.wake:
		case <-timer.C:
			o.audit()
			o.repair()
		}
	}
	return nil
}

func (o *owner) startAudit() {
	o.fdb.mu.Lock()
	defer o.fdb.mu.Unlock()
	o.fdb.core.startAudit(time.Now())
}

// delay is how long the owner may sleep.
func (o *owner) delay(now time.Time) time.Duration {
	o.fdb.mu.Lock()
	defer o.fdb.mu.Unlock()
	next := o.fdb.core.deadline()
	if next.IsZero() {
		return time.Hour
	}
	return max(next.Sub(now), 0)
}

// repair compares the devices for which that is due. What comes of it is in the core.
func (o *owner) repair() {
	o.fdb.mu.Lock()
	due := o.fdb.core.advance(time.Now())
	o.fdb.mu.Unlock()
	for _, ifindex := range due {
		if !o.unchanged(ifindex) {
			_, _ = o.reconcile(ifindex, true)
		}
	}
}

// unchanged reports whether an interface is as it was, if a comparison is due only to see that.
func (o *owner) unchanged(ifindex int) bool {
	look := func() (d *device, ok bool) {
		d = o.fdb.core.devices[ifindex]
		return d, d != nil && d.look && d.read
	}
	o.fdb.mu.Lock()
	_, ok := look()
	o.fdb.mu.Unlock()
	if !ok {
		return false
	}
	l, err := o.kernel.lookupIndex(ifindex)
	o.fdb.mu.Lock()
	defer o.fdb.mu.Unlock()
	d, ok := look()
	if ok {
		d.look = false
	}
	return ok && err == nil && d.link.standsAs(l)
}

// listen tells the core what the kernel notifies, until the socket fails or is closed.
func (o *owner) listen() error {
	buffer := make([]byte, rtnl.DatagramSize)
	for {
		n, err := o.monitor.Receive(buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if err := o.monitor.Wait(); err != nil {
				return err
			}
		case errors.Is(err, unix.ENOBUFS): // some were lost
			o.notified(nil)
		case err != nil:
			return err
		default:
			o.notified(buffer[:n])
		}
	}
}

// notified takes a datagram of notifications; nil: some were lost.
func (o *owner) notified(datagram []byte) {
	f, now := o.fdb, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	due := false
	if datagram == nil {
		due = f.core.notificationsLost(now)
	}
	for m := range rtnl.Messages(datagram) {
		if m.Port == o.monitor.Port() {
			due = f.core.fenced(m.Seq, now) || due
		} else {
			due = f.core.notified(m, f.config.Protocol, now) || due
		}
	}
	if due {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

func (o *owner) forget(ifindex int) {
	o.fdb.mu.Lock()
	defer o.fdb.mu.Unlock()
	o.fdb.core.forget(ifindex)
}

// each does something with all devices, in order.
func (o *owner) each(do func(o *owner, ifindex int) (Result, error)) (total Result, err error) {
	o.fdb.mu.Lock()
	all := o.fdb.core.commit()
	o.fdb.mu.Unlock()
	var errs []error
	for _, ifindex := range all {
		r, err := do(o, ifindex)
		total.add(r)
		errs = append(errs, err)
	}
	return total, errors.Join(errs...)
}

// flush writes the changed entries of one device.
func (o *owner) flush(ifindex int) (Result, error) {
	o.fdb.mu.Lock()
	c := &o.fdb.core
	d := c.devices[ifindex]
	if d == nil {
		o.fdb.mu.Unlock()
		return Result{}, nil
	}
	if !d.read {
		o.fdb.mu.Unlock()
		return o.reconcile(ifindex, false)
	}
	writes := c.changedSince(d)
	o.fdb.mu.Unlock()
	if slices.ContainsFunc(writes, func(w write) bool { return w.op == opBlocked }) {
		// It may have gone, and the notification is still to be read: the kernel says.
		r, err := o.reconcile(ifindex, false)
		return Result{Added: r.Added, Replaced: r.Replaced, Deleted: r.Deleted}, err
	}
	return o.write(d, writes, false)
}

// reconcile compares one device with the kernel. With repair, entries whose repairs are delayed
// are left alone, and those that are repaired again and again are delayed.
func (o *owner) reconcile(ifindex int, repair bool) (Result, error) {
	f, begun := o.fdb, time.Now()
	f.mu.Lock()
	what := f.core.begin(ifindex)
	f.mu.Unlock()
	s, err := o.kernel.read(ifindex, what)
	if errors.Is(err, unix.ENODEV) {
		if to := o.follow(ifindex); to != 0 {
			return o.reconcile(to, repair)
		}
	}
	f.mu.Lock()
	d := f.core.devices[ifindex]
	if d == nil || err != nil {
		defer f.mu.Unlock()
		if d == nil { // forgotten meanwhile
			return Result{}, nil
		}
		e := wrap("dump", "", err)
		e.Entry.IfIndex = ifindex
		f.core.unreadable(d, e, time.Now())
		return Result{}, e
	}
	writes, r := f.core.compare(d, s, repair, begun)
	f.mu.Unlock()
	done, err := o.write(d, writes, repair)
	r.add(done)
	return r, err
}

// follow returns the index of the interface that has the name that ifindex had, 0 if there is none, and lets
// what is desired follow it.
func (o *owner) follow(ifindex int) (to int) {
	c := &o.fdb.core
	o.fdb.mu.Lock()
	d := c.devices[ifindex]
	if d == nil || d.link.index == 0 {
		o.fdb.mu.Unlock()
		return 0
	}
	name := d.link.Interface
	o.fdb.mu.Unlock()
	l, err := o.kernel.lookup(name)
	if err != nil || l == nil {
		return 0
	}
	o.fdb.mu.Lock()
	defer o.fdb.mu.Unlock()
	if d != c.devices[ifindex] || l.index == ifindex || !d.link.sameAs(l) || !c.follow(d, l, time.Now()) {
		return 0
	}
	return l.index
}

// write writes, and tells the core what has come of it.
func (o *owner) write(d *device, writes []write, repair bool) (Result, error) {
	var blocked, send []write
	for _, w := range writes {
		if w.op == opBlocked {
			blocked = append(blocked, w)
		} else {
			send = append(send, w)
		}
	}
	failed, broken := o.kernel.write(send)
	f, now := o.fdb, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, w := range blocked {
		e := &Error{Op: "add", Entry: w.Entry, Err: ErrForeign}
		f.core.refused(d, e, now)
		errs = append(errs, e)
	}
	var r Result
	for i, w := range send {
		switch e := failed[i]; {
		case e != nil && errors.Is(e, unix.ENODEV): // it is not about the entry
			broken = e
		case e != nil:
			f.core.refused(d, e, now)
			errs = append(errs, e)
		case broken == nil:
			f.core.written(d, w, repair, now)
			r.count(w.op)
		}
	}
	if broken != nil { // whether the others are done or not, the next comparison will show
		f.core.unreadable(d, broken, now)
		errs = append(errs, broken)
	}
	return r, errors.Join(errs...)
}
