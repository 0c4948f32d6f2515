package nstest

import (
	"runtime"
	"sync"
	"time"
)

// Stall measures how long the machine kept threads waiting that had something to do:
// one thread a processor asks to be woken every few milliseconds, and notes how late it
// is. A virtual machine that is not run by its host, a processor that others keep busy
// and a process that is stopped all show.
type Stall struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	worst time.Duration
}

const (
	tick = 4 * time.Millisecond // how often a thread looks at the clock
	most = 16                   // threads at most, on a machine of many processors
)

// WatchStall starts to measure.
func WatchStall() *Stall {
	s := &Stall{stop: make(chan struct{})}
	cpus := processors()
	for _, cpu := range cpus[:min(len(cpus), most)] {
		s.done.Go(func() { s.watch(cpu) })
	}
	return s
}

// Stop ends the measurement and returns the longest standstill of any processor.
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

// Slack is what a claim about time has to allow beside its limit on a machine that
// stood still so far as it did: ten times the longest standstill, since what is timed
// has several threads and programs wait for each other, but never more than 10 s.
func (s *Stall) Slack() time.Duration { return min(10*s.Worst(), 10*time.Second) }

// Promptly is [Wait] for a claim about time: cond must become true within limit and the
// [Stall.Slack] of the machine meanwhile. It reports whether it did.
func Promptly(limit time.Duration, cond func() bool) bool {
	stall := WatchStall()
	defer stall.Stop()
	for start := time.Now(); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Since(start) > limit+stall.Slack() {
			return cond() // what was there just now may have come too late to be seen
		}
	}
	return true
}

func (s *Stall) watch(cpu int) {
	runtime.LockOSThread() // and never let go of: the thread ends with its goroutine
	pin(cpu)
	for last := time.Now(); ; {
		select {
		case <-s.stop:
			return
		default:
		}
		sleep(tick)
		now := time.Now()
		late := now.Sub(last) - tick
		s.mu.Lock()
		s.worst = max(s.worst, late)
		s.mu.Unlock()
		last = now
	}
}
