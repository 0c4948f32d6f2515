package experiment

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// deadcut cuts fabric A while HV1's daemon is dead.
func deadcut(run *Run) error {
	if run.unnoticed(plan.A) || run.withdrawn() {
		return nil
	}
	results, err := run.whileDead(func(cut bool) error { return run.Topology.CutFabric(plan.A, cut) }, nil)
	if err != nil {
		return err
	}
	run.gaps(results, run.ownLimit(run.cutLimit(), 1))
	return nil
}

// withdrawn records that a restart costs what it costs, whatever else happens: without
// graceful restart a daemon's routes are withdrawn when it dies.
func (run *Run) withdrawn() bool {
	if run.Topology.Timing.Graceful() {
		return false
	}
	run.degraded("not run", "without graceful restart everything is withdrawn when the daemon dies")
	return true
}

// deadport cuts HV1's own way to fabric A: its BFD process sees that, and the
// reflector tells the others.
func deadport(run *Run) error {
	if run.unnoticed(plan.A) || run.withdrawn() {
		return nil
	}
	heard := run.heardWithin(plan.A, true)
	results, err := run.whileDead(func(cut bool) error { return run.Topology.CutPort(plan.A, plan.HVName(1), cut) },
		func() { run.until(heard+time.Second, func() bool { return run.nextHopsOf(1, plan.A) == 0 }) })
	if err != nil {
		return err
	}
	from, to := run.directions(results, 1)
	run.gap("from HV1", from, run.ownLimit(run.cutLimit(), 1))
	run.gap("to HV1", to, run.ownLimit(ms(heard), 1))
	run.spared(results)
	return nil
}

// farport cuts HV2's way to fabric A. HV1 can only learn of it by a withdrawal,
// which nobody reads before its daemon is back.
func farport(run *Run) error {
	if run.unnoticed(plan.A) || run.withdrawn() {
		return nil
	}
	heard := run.heardWithin(plan.A, false)
	results, err := run.whileDead(func(cut bool) error { return run.Topology.CutPort(plan.A, plan.HVName(2), cut) },
		func() { run.until(heard+10*time.Second, func() bool { return run.nextHopsOf(2, plan.A) == 0 }) })
	if err != nil {
		return err
	}
	from, to := run.directions(results, 2)
	run.gap("from HV2", from, run.ownLimit(run.cutLimit(), 2))
	run.gap("to HV2", to, -1)
	run.spared(results)
	return nil
}

// whileDead cuts something on fabric A 200 ms after HV1's daemon died, and starts
// the daemon again when BFD must have noticed the cut. The cut ends when learned
// returns.
func (run *Run) whileDead(cut func(bool) error, learned func()) ([]flow.Result, error) {
	run.involved = []string{"hv1"}
	hv1 := run.Topology.Daemon(plan.HVName(1))
	var proof float64
	results, err := run.during(time.Second, func(*flow.Traffic) (err error) {
		if proof, err = run.onFabricA(200 * time.Millisecond); err != nil {
			return err
		}
		if err := hv1.Kill(); err != nil {
			return err
		}
		if err := run.sleep(200 * time.Millisecond); err != nil {
			return err
		}
		if err := cut(true); err != nil {
			return err
		}
		if err := run.sleep(run.Topology.Timing.Detection() + 500*time.Millisecond); err != nil {
			return err
		}
		if err := hv1.Start(); err != nil {
			return err
		}
		if learned != nil {
			learned()
		}
		return nil
	})
	if restored := cut(false); err == nil {
		err = restored
	}
	if !hv1.Running() {
		_ = hv1.Start()
	}
	if err == nil {
		run.proof(proof)
	}
	return results, err
}

// host cuts HV1 from both fabrics, as a loss of power does, with its daemon running.
func host(run *Run) error { return run.hostDies(false) }

// deadhost does so 200 ms after HV1's daemon was killed.
func deadhost(run *Run) error { return run.hostDies(true) }

// hostDies measures how long the others have next hops of a hypervisor that is gone.
func (run *Run) hostDies(restarting bool) error {
	run.involved = []string{"hv2", "hv3"}
	hv1 := run.Topology.Daemon(plan.HVName(1))
	var limit time.Duration
	for _, f := range plan.Fabrics {
		limit = max(limit, run.heardWithin(f, restarting))
	}
	if restarting {
		if err := hv1.Kill(); err != nil {
			return err
		}
		if err := run.sleep(200 * time.Millisecond); err != nil {
			return err
		}
	}
	cut := func(cut bool) (err error) {
		for _, f := range plan.Fabrics {
			if failed := run.Topology.CutPort(f, plan.HVName(1), cut); failed != nil {
				err = failed
			}
		}
		return err
	}
	err, left, start := cut(true), -1, time.Now()
	if err == nil {
		run.until(limit+5*time.Second, func() bool { left = run.nextHopsOf(1, plan.Fabrics...); return left == 0 })
	}
	took := time.Since(start)
	if err == nil && restarting && limit > run.Topology.Timing.Detection()+slack {
		// FRR 8.4 has no BFD for a client by range that is back in the moment in which its
		// restart time ends: the old neighbour is deleted when the new one is there already.
		err = run.sleep(3 * time.Second)
	}
	if restored := cut(false); err == nil {
		err = restored
	}
	if restarting {
		if started := hv1.Start(); err == nil {
			err = started
		}
	}
	if err != nil {
		return err
	}
	run.value("next hops of HV1 that the others keep", float64(left), 0, "", "in all their tables", "")
	run.value("given up", ms(took), run.ownLimit(ms(limit)+reading, 1), "ms", "from the cut; the tables are read every 10 ms", "")
	return nil
}

// reading is how much longer than traffic does, in milliseconds, it may take to see in
// the tables that a next hop is gone.
const reading = 80

// heardWithin is how long the others may take to hear, by the reflector of a fabric, that a
// hypervisor's ports there are dead; restarting says that the hypervisor's daemon is
// dead, too. What is longer than BFD's time is recorded, with the reason.
func (run *Run) heardWithin(f plan.Fabric, restarting bool) time.Duration {
	t := run.Topology.Timing
	rr := t.Peer(f)
	noBFD := rr + " speaks no BFD"
	if !t.Watched() {
		noBFD = "BFD is off"
	}
	switch {
	case restarting && !t.Graceful(), restarting && t.Flushes(f), !restarting && t.SpeaksBFD(f):
		return t.Detection() + slack
	case restarting && t.SpeaksBFD(f):
		run.degraded("routes stay for the restart time: "+t.RestartTime(f).String(),
			rr+" keeps what a restarting client announced although BFD says that it is gone")
		return t.RestartTime(f) + coarse
	case restarting:
		run.degraded("routes stay for the restart time: "+t.RestartTime(f).String(), noBFD)
		return t.RestartTime(f) + coarse
	case t.Graceful() && run.Topology.RRKind(f).KeepsHold():
		run.degraded(fmt.Sprintf("routes stay for the hold time, %v, and the restart time, %v", t.HoldTime(), t.RestartTime(f)),
			noBFD+", and an expired hold timer is taken for a restart")
		return t.HoldTime() + t.RestartTime(f) + coarse
	}
	run.degraded("routes stay for the hold time: "+t.HoldTime().String(), noBFD)
	return t.HoldTime() + coarse
}

// coarse is how much longer than it says a timer of BGP may take: OpenBGPD counts whole
// seconds, and one more.
const coarse = 2 * time.Second

// nextHopsOf counts the next hops that lead to hypervisor n by way of the fabrics, in
// the tables of all other routers.
func (run *Run) nextHopsOf(n int, fabrics ...plan.Fabric) (count int) {
	plan := golden.Expect{Lab: run.Topology.Timing.Lab}
	for _, routes := range run.tables(n) {
		for _, r := range routes {
			for _, h := range r.Hops {
				for _, f := range fabrics {
					if plan.Leads(n, f, r.Dst, h) {
						count++
					}
				}
			}
		}
	}
	return count
}

// tables reads the tables of all routers but hypervisor n.
func (run *Run) tables(n int) (all [][]nl.Route) {
	for m := 1; m <= plan.HVs; m++ {
		for _, t := range golden.HypervisorTables {
			if m != n {
				routes, _ := run.Topology.Routes(m, t)
				all = append(all, routes)
			}
		}
	}
	for _, t := range golden.EdgeTables {
		routes, _ := run.Topology.Nodes[plan.EdgeName].NL.Routes(t.Family, t.ID)
		all = append(all, routes)
	}
	return all
}

// directions tells what hypervisor n's guest sends from what is sent to it.
func (run *Run) directions(results []flow.Result, n int) (from, to []flow.Result) {
	guest := run.Topology.Guest(run.Topology.Timing.GuestsOf(n)[0]).Path
	for _, r := range results {
		if r.Path.FromNS == guest {
			from = append(from, r)
		} else {
			to = append(to, r)
		}
	}
	return from, to
}
