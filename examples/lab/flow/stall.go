package flow

import (
	"runtime"
	"sync"
	"time"
)

// Stall measures how long the machine stood still: the longest that two threads, one
// of them urgent where that is permitted, overslept, and the longest that a trifle took.
// A virtual machine that is not run by its host for half a second looks to everybody
// in it like a dead network; so does a machine that is kept busy to whoever is not urgent,
// and a kernel whose one lock for all changes of network configuration is held by
// somebody else.
type Stall struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
	total time.Duration
}

const (
	tick   = 5 * time.Millisecond  // how often the thread looks at the clock
	trying = 25 * time.Millisecond // how often the trifle is tried
)

// WatchStall starts to measure; trifle is something that takes no time on a machine
// that is well.
func WatchStall(trifle func()) *Stall {
	s := &Stall{stop: make(chan struct{})}
	for _, how := range []func(){urgent, func() {}} {
		s.done.Go(func() {
			runtime.LockOSThread() // and never let go of: the thread ends with its goroutine
			how()
			s.every(tick, func() {}, nap)
		})
	}
	s.done.Go(func() { s.every(trying, trifle, time.Sleep) })
	return s
}

// Stop ends the measurement and returns the longest standstill.
func (s *Stall) Stop() time.Duration {
	close(s.stop)
	s.done.Wait()
	return s.worst
}

// Worst returns the longest standstill so far.
func (s *Stall) Worst() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worst
}

// Total returns all standstills of more than a millisecond so far, those of each thread.
func (s *Stall) Total() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// every does something, sleeps, and notes how much longer that took than the sleep
// alone should.
func (s *Stall) every(d time.Duration, do func(), sleep func(time.Duration)) {
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		default:
		}
		do()
		sleep(d)
		now := time.Now()
		s.mu.Lock()
		late := now.Sub(last) - d
		s.worst = max(s.worst, late)
		if late > time.Millisecond {
			s.total += late
		}
		s.mu.Unlock()
		last = now
	}
}
