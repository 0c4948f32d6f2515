package experiment

import (
	"fmt"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// racked reports whether HV1 is in a rack, whose router on fabric A the experiments here are about.
func racked(l plan.Lab) bool { return l.Routed(1) }

// torRestart kills the router of HV1's rack on fabric A, with that of its VRF, and starts both
// again. Its kernel forwards meanwhile. Paths that are stale lose against fresh ones (see package
// rib), so that hypervisors use the other router until it is back.
func torRestart(run *Run) error {
	run.involved = []string{plan.TorName(1, plan.A, false), "hv1"}
	return run.watched([]int{1, 2}, true, run.Linger, func() error {
		return run.restart(run.Topology.Tor(1, plan.A)...)
	})
}

// torCut makes that router silent: HV1 notices by BFD, the others are told by the spine,
// which notices by BFD as well.
func torCut(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	run.involved = []string{"hv1", plan.SpineName(plan.A, false)}
	return run.silenced(1, run.cutLimit(), func(cut bool) error { return run.Topology.CutRouters(plan.A, cut, run.Topology.Tor(1, plan.A)...) })
}

// silenced makes something on fabric A silent and judges the flows from and to a hypervisor by
// their longest gap.
func (run *Run) silenced(hv int, limit float64, cut func(bool) error) error {
	var proof float64
	results, err := run.during(run.Topology.Timing.Detection()+time.Second, func(*flow.Traffic) (err error) {
		if proof, err = run.onFabricA(200 * time.Millisecond); err != nil {
			return err
		}
		return cut(true)
	})
	if restored := cut(false); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	run.proof(proof)
	from, to := run.directions(results, hv)
	run.gap(fmt.Sprintf("from HV%d", hv), from, limit)
	run.gap(fmt.Sprintf("to HV%d", hv), to, limit)
	run.spared(results)
	return nil
}

// torDrain takes that router out of service: it announces its routes as the last choice,
// then it stops, and it comes back.
func torDrain(run *Run) error {
	run.involved = []string{plan.TorName(1, plan.A, false), "hv1"}
	routers := run.Topology.Tor(1, plan.A)
	each := func(do func(*topology.Daemon) error) error {
		for _, d := range routers {
			if err := do(d); err != nil {
				return err
			}
		}
		return nil
	}
	var unused time.Duration
	results, err := run.during(run.Linger, func(*flow.Traffic) error {
		start := time.Now()
		if err := each(func(d *topology.Daemon) error { return d.Drain(true) }); err != nil {
			return err
		}
		run.until(5*time.Second, func() bool { return !run.uses(1, plan.A) && run.nextHopsOf(1, plan.A) == 0 })
		unused = time.Since(start)
		if err := each(func(d *topology.Daemon) error { return d.Stop(syscall.SIGTERM) }); err != nil {
			return err
		}
		if err := run.sleep(time.Second); err != nil {
			return err
		}
		return each((*topology.Daemon).Start)
	})
	if err != nil {
		return err
	}
	limit := run.ownLimit(drainLimit)
	if !run.familiar() {
		limit = -1 // how long they keep a change to themselves is theirs
	}
	run.value("nobody uses it after", ms(unused), limit, "ms", "in the tables of all", "")
	run.loss(results, run.ownLimit(0))
	return nil
}

// drainLimit is how long a drain may take, in milliseconds.
const drainLimit = 1000
