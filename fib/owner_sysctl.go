package fib

import (
	"context"
	"time"

	"github.com/hyperfib/hyperfib/internal/netns"
)

func (o *owner) listenSysctls(ctx context.Context, touched chan<- []sysctlWrite) {
	buf := make([]byte, 1<<16)
	for {
		writes, err := o.watch.read(buf)
		if err != nil {
			return
		}
		select {
		case touched <- writes:
		case <-ctx.Done():
			return
		}
	}
}

func (o *owner) sysctlWritten(writes []sysctlWrite) {
	o.lock()
	defer o.unlock()
	for _, w := range writes {
		o.sysctls.touchPath(o.watch.path(w))
	}
}

func (o *owner) auditEvery() time.Duration {
	if o.config.Audit < 0 {
		return 24 * time.Hour
	}
	return o.config.Audit
}

func (o *owner) writeSysctls() error {
	o.lock()
	todo, forgotten := o.sysctls.take(), o.forgotten
	o.forgotten = nil
	o.unlock()
	for _, dir := range forgotten {
		o.watch.remove(dir)
	}
	if len(todo) == 0 {
		return nil // also of tests without a namespace
	}
	type result struct {
		written bool
		err     error
	}
	results := make([]result, len(todo))
	err := netns.Do(o.config.NetNS, func() error {
		o.watch.add(todo) // first: what others write after our look is not missed
		for i, s := range todo {
			results[i].written, results[i].err = applySysctl(s, o.config.DryRun)
		}
		return nil
	})
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, s := range todo {
		r := results[i]
		if err != nil {
			r.err = err // no file descriptor is left, for example
		}
		report, repaired, contended := o.sysctls.commit(s, r.written, r.err, now, o.objects.wake)
		if r.written {
			o.stats.OtherWrites++
		}
		o.report(report)
		if repaired {
			o.repaired(s, "set", "repair", origin{}, contended)
		}
	}
	return nil
}

// report turns a failed write into an event.
func (c *core) report(err *Error) {
	if err != nil {
		c.stats.Errors++
		c.event(Event{Kind: EventError, Op: err.Op, Key: err.Key, Err: err})
	}
}

// repaired turns a write that undid what somebody else did into events.
func (c *core) repaired(key any, op, reason string, by origin, contended bool) {
	c.stats.Repairs++
	c.event(Event{Kind: EventRepair, Op: op, Key: key, Reason: reason, Protocol: by.proto, Port: by.port})
	if contended {
		c.event(Event{Kind: EventContended, Op: op, Key: key, Protocol: by.proto, Port: by.port})
	}
}
