package experiment

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// slack is what a failover may take on top of BFD's detection time.
const slack = 20 * time.Millisecond

// cutLimit is the longest gap that a silent cut may cause, in milliseconds.
func (run *Run) cutLimit() float64 { return ms(run.Topology.Timing.Detection() + slack) }

// during runs the traffic, does something to the lab after half a second, and
// lets the traffic go on for a while.
func (run *Run) during(after time.Duration, do func(*flow.Traffic) error) ([]flow.Result, error) {
	timing := run.Topology.Timing
	t, err := run.traffic(after + 30*time.Second + timing.HoldTime() + max(timing.RestartTime(plan.A), timing.RestartTime(plan.B)))
	if err != nil {
		return nil, err
	}
	err = run.sleep(500 * time.Millisecond)
	if err == nil {
		err = do(t)
	}
	if err == nil {
		err = run.sleep(after)
	}
	results := t.Stop()
	return results, err
}

// watching records what reflectors lack of families and of BFD.
func (run *Run) watching() {
	for _, f := range run.Topology.Timing.IPv4Only {
		run.degraded("no IPv6 with "+run.Topology.Timing.Peer(f), "IPv6 has the other fabric, or none; traffic is IPv4")
	}
	for _, f := range run.Topology.Timing.NoBFD {
		what := "a silent failure is noticed by the hold timer"
		if run.Topology.Timing.Echoes(f) {
			what = "our routers watch it by echo; it notices nothing itself before its hold timer"
		}
		run.degraded("no BFD with "+run.Topology.Timing.Peer(f), what)
	}
}

// carried6 reports whether any reflector carries IPv6.
func (run *Run) carried6() bool { return len(run.Topology.Timing.IPv4Only) < len(plan.Fabrics) }

// unnoticed records that those whose flows are watched would not notice a silent cut of
// a fabric before the hold timer does.
func (run *Run) unnoticed(f plan.Fabric) bool {
	if run.Topology.Notices(f, 1, 2) {
		return false
	}
	why := "no BFD with " + run.Topology.Timing.Peer(f)
	if !run.Topology.Timing.Watched() {
		why = "BFD is off"
	}
	run.degraded("not run", "nobody notices before the hold timer: "+why)
	return true
}

// cut stops fabric A from passing anything.
func cut(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	run.involved = []string{"hv1", "hv2"}
	var proof float64
	results, err := run.during(run.Topology.Timing.Detection()+time.Second, func(*flow.Traffic) (err error) {
		if proof, err = run.onFabricA(200 * time.Millisecond); err != nil {
			return err
		}
		return run.Topology.CutFabric(plan.A, true)
	})
	if restored := run.Topology.CutFabric(plan.A, false); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	run.proof(proof)
	run.gaps(results, run.cutLimit())
	return nil
}

// flap ends BFD sessions and gives the cable back at once, when the reflector may not
// have done with the old session yet. The check afterwards is what counts: every session
// is up, and watched by BFD again.
func flap(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	if run.Topology.RRKind(plan.A) == topology.OpenBGPD {
		run.degraded("not run", plan.RRName(plan.A)+" refuses a client whose sessions end one after the other, for 30 s and then for longer")
		return nil
	}
	run.involved = []string{"hv1", "rr1.public"}
	const times = 3
	back := 0
	for range times {
		err := run.Topology.CutPort(plan.A, plan.HVName(1), true)
		if err == nil {
			err = run.sleep(run.Topology.Timing.Detection() + 50*time.Millisecond)
		}
		if restored := run.Topology.CutPort(plan.A, plan.HVName(1), false); err == nil {
			err = restored
		}
		if err != nil {
			return err
		}
		if run.until(10*time.Second, func() bool { up, total := run.sessions(); return up >= total && run.bfdDown() == 0 }) {
			back++
		}
	}
	run.add(report.Result{Name: "times that all sessions, BGP and BFD, came back", Value: report.Number(back), Limit: report.AtMost(times), Least: true,
		Detail: "within 10 s each"})
	return nil
}

// proof records how many flows' worth of packets went into fabric A each way.
// Both families share the ports: four flows are two of each.
func (run *Run) proof(n float64) {
	run.add(report.Result{Name: "flows each way on fabric A before", Value: report.Number(n), Limit: report.AtMost(4), Least: true,
		Detail: "by port counters, both families"})
}

// gaps judges the flows over the fabric that was cut by their longest gap, and
// those over the other one by having lost nothing.
func (run *Run) gaps(results []flow.Result, limit float64) {
	total, onA, onB, text := summary(results)
	run.value("longest gap on fabric A", ms(onA.Gap), limit, "ms",
		fmt.Sprintf("BFD's theory %d ms; lost %d of %d", run.Topology.Timing.Detection().Milliseconds(), onA.Lost, onA.Sent), text)
	run.value("packets lost on fabric B", float64(onB.Lost), run.ownLimit(0), "", fmt.Sprintf("of %d, %d late", onB.Sent, total.Late), text)
}

// gap judges the flows of one direction over fabric A by their longest gap.
func (run *Run) gap(which string, results []flow.Result, limit float64) {
	_, onA, _, text := summary(results)
	run.value("longest gap on fabric A, "+which, ms(onA.Gap), limit, "ms", fmt.Sprintf("lost %d of %d", onA.Lost, onA.Sent), text)
}

// spared judges the flows over fabric B, which nothing was done to, by having lost
// nothing.
func (run *Run) spared(results []flow.Result) {
	_, _, onB, text := summary(results)
	run.value("packets lost on fabric B", float64(onB.Lost), run.ownLimit(0), "", fmt.Sprintf("of %d", onB.Sent), text)
}

// loss judges all flows by their losses.
func (run *Run) loss(results []flow.Result, limit float64) {
	total, _, _, text := summary(results)
	run.value("packets lost", float64(total.Lost), limit, "",
		fmt.Sprintf("of %d; longest gap %d ms at %d ms", total.Sent, total.Gap.Milliseconds(), total.GapAt.Milliseconds()), text)
}

// carrier takes the carrier from HV2's two links to fabric A. HV2 notices at once, the
// others hear of it from the reflector.
func carrier(run *Run) error {
	run.involved = []string{"hv1", "hv2"}
	heard := run.heardWithin(plan.A, false)
	var took time.Duration
	results, err := run.during(500*time.Millisecond, func(*flow.Traffic) error {
		start := time.Now()
		if err := run.Topology.Carrier(plan.A, plan.HVName(2), false); err != nil {
			return err
		}
		run.until(5*time.Second, func() bool { return !run.uses(2, plan.A) })
		took = time.Since(start)
		run.until(heard+time.Second, func() bool { return run.nextHopsOf(2, plan.A) == 0 })
		return nil
	})
	if restored := run.Topology.Carrier(plan.A, plan.HVName(2), true); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	limit := -1.0
	if run.Topology.HVKind(2) == topology.Self && run.Topology.Bulk == 0 { // reading a big table takes longer than that
		limit = 100
	}
	run.value("HV2's public table without fabric A", ms(took), limit, "ms", "", "")
	from, to := run.directions(results, 2)
	run.gap("from HV2", from, run.ownLimit(run.cutLimit(), 2))
	run.gap("to HV2", to, ms(heard))
	run.spared(results)
	return nil
}

// uses reports whether a hypervisor's public table has a gateway on a fabric.
func (run *Run) uses(n int, f plan.Fabric) bool {
	for _, family := range bothFamilies {
		routes, err := run.Topology.Routes(n, golden.Table{Family: family, ID: plan.TablePublic})
		if err != nil {
			return true
		}
		for _, r := range routes {
			for _, h := range r.Hops {
				if h.Link == f.Public() {
					return true
				}
			}
		}
	}
	return false
}
