package fib

import (
	"context"
	"errors"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// flusher is a waiting Flush. The queue of dirty routes is first in first out:
// once nothing is unclear, everything that was set before is in the queue up to
// target.
type flusher struct {
	target uint64
	armed  bool
	done   chan struct{}
}

// settle lets go of flushers, under the lock.
func (f *FIB) settle(p fibcore.Progress) {
	rest := f.flushers[:0]
	for _, w := range f.flushers {
		switch {
		case !p.Calm:
			w.armed = false
		case !w.armed:
			w.armed, w.target = true, p.Queued
		}
		if w.armed && p.Handled >= w.target {
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
	var errs []error
	for _, err := range f.core.Failing(16) {
		errs = append(errs, errorOf(err))
	}
	return errors.Join(errs...)
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
