package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := make(loop)
		ended := make(chan struct{})
		go func() { l.run(ctx, timers{}); close(ended) }()
		n := 0
		for range 3 {
			if !l.do(ctx, func() { n++ }) {
				t.Error("not run")
			}
		}
		if n != 3 {
			t.Errorf("run %d times", n)
		}
		cancel()
		<-ended
		if l.do(ctx, func() { n++ }) || n != 3 {
			t.Error("run after the end")
		}
	})
}

// timers is a clock with what is due, in order.
type timers struct{ due *[]time.Time }

func (t timers) deadline() (first time.Time) {
	if t.due != nil && len(*t.due) > 0 {
		first = (*t.due)[0]
	}
	return first
}

func (t timers) advance(now time.Time) {
	if first := (*t.due)[0]; !now.Before(first) {
		*t.due = (*t.due)[1:]
	}
}

// What is due is done when it is, whether or not there is something else to do.
func TestLoopTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin := time.Now()
		due := []time.Time{begin.Add(-time.Hour), begin.Add(time.Second), begin.Add(time.Minute)}
		l := make(loop)
		go l.run(ctx, timers{&due})
		left := func() (n int) { l.do(ctx, func() { n = len(due) }); return n }
		for _, step := range []struct {
			sleep time.Duration
			want  int
		}{{0, 2}, {999 * time.Millisecond, 2}, {time.Millisecond, 1}, {58 * time.Second, 1}, {time.Second, 0}} {
			time.Sleep(step.sleep)
			synctest.Wait()
			if n := left(); n != step.want {
				t.Errorf("after %v: %d left, want %d", time.Since(begin), n, step.want)
			}
		}
		l.do(ctx, func() { due = append(due, time.Now().Add(time.Second)) }) // set by what was done
		time.Sleep(time.Second)
		synctest.Wait()
		if left() != 0 {
			t.Error("a deadline that a function has set is not kept")
		}
	})
}
