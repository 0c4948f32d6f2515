package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/fib"
)

// tasks runs goroutines of which one's failure ends all.
type tasks struct {
	ctx  context.Context
	fail context.CancelCauseFunc
	wg   sync.WaitGroup
}

func newTasks(ctx context.Context) *tasks {
	t := &tasks{}
	t.ctx, t.fail = context.WithCancelCause(ctx)
	return t
}

// end ends the tasks and waits for them.
func (t *tasks) end() {
	t.fail(nil)
	t.wg.Wait()
}

func (t *tasks) start(what string, f func(context.Context) error) {
	t.wg.Go(func() {
		if err := f(t.ctx); err != nil && t.ctx.Err() == nil {
			if what != "" {
				err = fmt.Errorf("%s: %w", what, err)
			}
			t.fail(err)
		}
	})
}

// ended returns why a kernel has ended, of which err is what its readers got.
func (t *tasks) ended(err error) error {
	if !errors.Is(err, fib.ErrClosed) && !errors.Is(err, context.Canceled) {
		return err
	}
	<-t.ctx.Done() // by the error of its Run, or the end of all
	return context.Cause(t.ctx)
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// pause waits, and returns why if ctx ends before.
func pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
