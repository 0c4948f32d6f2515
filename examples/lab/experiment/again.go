package experiment

import (
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
)

// tries is how often an experiment is run at most: one that fails each time has failed,
// however busy the machine is.
const tries = 4

// standstill is how long the machine may stand still in an experiment whose failure counts:
// half of what a failover may take on top of BFD's detection time.
const standstill = slack / 2

// again runs an experiment until one try counts: because it did not fail, because the machine
// ran all the time, or because it is the last. Of the others it says void.
func again(try func() (failed bool, stood time.Duration), void func(stood time.Duration)) {
	for n := 1; ; n++ {
		failed, stood := try()
		if !failed || stood <= standstill || n == tries {
			return
		}
		void(stood)
	}
}

// watchStall starts to watch the machine.
func (run *Run) watchStall() *flow.Stall {
	guest := run.Topology.Guest(run.guests()[0])
	return flow.WatchStall(func() { _ = guest.NL.SetUp("lo", true) }) // changes nothing, yet takes the lock
}

// recover waits after a try that was void until all is well again and the machine has
// run for a second, but not for ever.
func (run *Run) recover() {
	run.until(20*time.Second, func() bool {
		up, total := run.sessions()
		count, _ := run.differences()
		return up >= total && run.bfdDown() == 0 && count == 0
	})
	run.until(20*time.Second, func() bool {
		stall := run.watchStall()
		err := run.sleep(time.Second)
		return stall.Stop() <= standstill || err != nil
	})
}
