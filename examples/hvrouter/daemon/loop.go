package daemon

import (
	"context"
	"time"
)

// loop runs functions one after the other on the goroutine that owns the router.
type loop chan func()

// clock is what the loop does by itself.
type clock interface {
	// deadline returns when advance has something to do, the zero time if never.
	deadline() time.Time
	advance(now time.Time)
}

// run runs functions, and c when it is due, until ctx ends.
func (l loop) run(ctx context.Context, c clock) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next := c.deadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case f := <-l:
			f()
		case now := <-timer.C:
			c.advance(now)
		case <-ctx.Done():
			return
		}
	}
}

// do has f run and waits until it has. It returns false, and f was not run and never
// will be, if ctx ended before.
func (l loop) do(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case l <- func() { defer close(done); f() }:
		<-done
		return true
	case <-ctx.Done():
		return false
	}
}
