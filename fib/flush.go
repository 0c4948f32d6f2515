package fib

import (
	"context"
	"errors"
)

// flusher is a waiting Flush. The queue of dirty routes is first in first out:
// once nothing is unclear, everything that was set before is in the queue up to
// target.
type flusher struct {
	target uint64
	armed  bool
	done   chan struct{}
}

// settle lets go of flushers. calm says that nothing but routes in the queue is
// left to do.
func (f *FIB) settle(calm bool) {
	rest := f.flushers[:0]
	for _, w := range f.flushers {
		switch {
		case !calm:
			w.armed = false
		case !w.armed:
			w.armed, w.target = true, f.queued
		}
		if w.armed && f.handled >= w.target {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(f.flushers[len(rest):])
	f.flushers = rest
}

// Flush waits until everything that was desired before the call is in the
// kernel, or known to be impossible for now. It returns ctx's error, ErrClosed,
// or the errors (joined, 16 at most) of objects that are failing.
func (f *FIB) Flush(ctx context.Context) error {
	if err := f.settled(ctx); err != nil {
		return err
	}
	f.lock()
	defer f.unlock()
	return errors.Join(f.failing(16)...)
}

// settled waits as [FIB.Flush] does.
func (f *FIB) settled(ctx context.Context) error {
	w := &flusher{done: make(chan struct{})}
	f.lock()
	f.flushers = append(f.flushers, w)
	f.unlock()
	f.poke()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closed:
		return ErrClosed
	case <-w.done:
		return nil
	}
}

// Adopted waits until Run has read the kernel, and reports whether it holds unicast routes
// that an earlier run has left: routes of ours that are not desired, persistent ones not
// counted. A BGP speaker tells its peers by this whether forwarding was preserved over its
// restart (RFC 4724, Section 3, the F bit). It is to be asked before the first SetRoute and
// before [FIB.Sweep]. It returns ctx's error, or ErrClosed.
func (f *FIB) Adopted(ctx context.Context) (bool, error) {
	if err := f.settled(ctx); err != nil {
		return false, err
	}
	for s := range f.Routes() {
		if s.State == StateStale && s.Type == RouteUnicast && !s.Persistent {
			return true, nil
		}
	}
	return false, nil
}

// failing lists up to limit current errors.
func (c *core) failing(limit int) (errs []error) {
	add := func(err *Error) {
		if err != nil && len(errs) < limit {
			errs = append(errs, err)
		}
	}
	for _, f := range c.failures {
		add(f.err)
	}
	for _, f := range c.rules.failed {
		add(f.err)
	}
	for _, f := range c.addresses.failed {
		add(f.err)
	}
	for _, f := range c.neighbors.failed {
		add(f.err)
	}
	for _, f := range c.sysctls.failed {
		add(f.err)
	}
	for _, b := range c.byID {
		if b.err != nil && !c.live(b) {
			add(&Error{Op: "add", Key: NextHopID(b.id), Err: b.err, Text: b.text})
		}
	}
	return errs
}
