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
	if err != nil {
		return err
	}
	now := time.Now()
	o.lock()
	defer o.unlock()
	for i, s := range todo {
		r := results[i]
		report, repaired := o.sysctls.commit(s, r.written, r.err, now, o.objects.wake)
		if r.written {
			o.stats.OtherWrites++
		}
		o.report(report, repaired, "set", s)
	}
	return nil
}

func (c *core) report(err *Error, repaired bool, op string, key any) {
	if err != nil {
		c.stats.Errors++
		c.event(Event{Kind: EventError, Op: err.Op, Key: key, Err: err})
	}
	if repaired {
		c.stats.Repairs++
		c.event(Event{Kind: EventRepair, Op: op, Key: key, Reason: "repair"})
	}
}
