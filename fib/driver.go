package fib

import (
	"context"
	"time"
)

// Driver runs a FIB in place of [FIB.Run], for simulators and tests: on its caller's goroutine
// and under its caller's clock. No goroutine and no timer is in it. With equal calls and an equal
// kernel, what is written is equal octet for octet.
//
// The caller calls Step until it returns false: after calls of the FIB's methods, when the kernel
// may have notified something, and at Deadline. The other methods of the FIB are called as usual,
// but for Flush and Run, which wait; with a context that has ended, Next of a watcher returns what
// there is, and the context's error if there is nothing. A Driver is for one goroutine.
type Driver struct {
	owner *owner
	read  bool // the kernel was read once
	ended bool
}

// Drive begins to run the FIB by its caller, with now as its clock, which never goes back. The
// kernel is that of the context, as package fibtest puts it there, or Linux. The errors are those
// of the beginning of [FIB.Run].
func (f *FIB) Drive(ctx context.Context, now func() time.Time) (*Driver, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	f.now = now
	h, err := f.open(ctx)
	if err != nil {
		f.end()
		return nil, err
	}
	return &Driver{owner: newOwner(f, h)}, nil
}

// Step does what can be done now, but at most one batch of routes, and reports whether there is
// more. After an error, which is one that Run would return, the FIB has ended.
func (d *Driver) Step() (more bool, err error) {
	if d.ended {
		return false, ErrClosed
	}
	o := d.owner
	select {
	case <-o.fib.wake:
	default:
	}
	if !d.read {
		d.read = true
		err = o.sync()
	}
	if err == nil {
		more, err = o.turn()
	}
	if err != nil {
		d.Stop()
	}
	return more && err == nil, err
}

// Pending reports whether Step has something to do before its deadline: a method of the FIB was
// called.
func (d *Driver) Pending() bool { return !d.ended && (!d.read || len(d.owner.fib.wake) > 0) }

// Deadline returns when Step has something to do by itself.
func (d *Driver) Deadline() time.Time {
	o := d.owner
	o.lock()
	defer o.unlock()
	return o.core.Deadline()
}

// Stop ends the FIB, as the end of Run's context does. Everything stays in the kernel.
func (d *Driver) Stop() {
	if d.ended {
		return
	}
	d.ended = true
	d.owner.close()
	d.owner.fib.end()
}
