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
	}
	f.lock()
	defer f.unlock()
	return errors.Join(f.failing(16)...)
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
