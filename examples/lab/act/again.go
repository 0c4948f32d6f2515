package act

import (
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
)

// plays is how often an act is played at most: one that fails each time has failed,
// however busy the machine is.
const plays = 4

// standstill is how long the machine may stand still in an act whose failure counts:
// half of what a failover may take on top of BFD's detection time.
const standstill = slack / 2

// again plays an act until one play counts: because it did not fail, because the machine
// ran all the time, or because it is the last. Of the others it says void.
func again(play func() (failed bool, stood time.Duration), void func(stood time.Duration)) {
	for n := 1; ; n++ {
		failed, stood := play()
		if !failed || stood <= standstill || n == plays {
			return
		}
		void(stood)
	}
}

// watchStall starts to watch the machine.
func (s *Stage) watchStall() *flow.Stall {
	guest := s.World.Guest(s.guests()[0])
	return flow.WatchStall(func() { _ = guest.NL.SetUp("lo", true) }) // changes nothing, yet takes the lock
}

// recover waits after a play that was void until all is well again and the machine has
// run for a second, but not for ever.
func (s *Stage) recover() {
	s.until(20*time.Second, func() bool {
		up, total := s.sessions()
		count, _ := s.differences()
		return up >= total && s.bfdDown() == 0 && count == 0
	})
	s.until(20*time.Second, func() bool {
		stall := s.watchStall()
		err := s.sleep(time.Second)
		return stall.Stop() <= standstill || err != nil
	})
}
