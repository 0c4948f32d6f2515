package flow

import (
	"runtime"
	"sync"
	"time"
)

// Stall measures how long the machine stood still: the longest that a thread,
// urgent where that is permitted, overslept. A virtual machine that is not run by
// its host for half a second looks to everybody in it like a dead network.
type Stall struct {
	stop  chan struct{}
	done  sync.WaitGroup
	worst time.Duration
}

// tick is how often the thread looks at the clock.
const tick = 5 * time.Millisecond

// WatchStall starts to measure.
func WatchStall() *Stall {
	s := &Stall{stop: make(chan struct{})}
	s.done.Go(s.run)
	return s
}

// Stop ends the measurement and returns the longest standstill.
func (s *Stall) Stop() time.Duration {
	close(s.stop)
	s.done.Wait()
	return s.worst
}

func (s *Stall) run() {
	runtime.LockOSThread() // and never let go of: the thread ends with its goroutine
	urgent()
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		default:
		}
		nap(tick)
		now := time.Now()
		s.worst = max(s.worst, now.Sub(last)-tick)
		last = now
	}
}
