package act

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

// slack is what a failover may take on top of BFD's detection time.
const slack = 20 * time.Millisecond

// cutLimit is the longest gap that a silent cut may cause, in milliseconds.
func (s *Stage) cutLimit() float64 { return ms(s.World.Timing.Detection() + slack) }

// during runs the traffic, does something to the world after half a second, and
// lets the traffic go on for a while.
func (s *Stage) during(after time.Duration, do func(*flow.Traffic) error) ([]flow.Result, error) {
	timing := s.World.Timing
	t, err := s.traffic(after + 30*time.Second + timing.HoldTime() + max(timing.RestartTime(plan.A), timing.RestartTime(plan.B)))
	if err != nil {
		return nil, err
	}
	err = s.sleep(500 * time.Millisecond)
	if err == nil {
		err = do(t)
	}
	if err == nil {
		err = s.sleep(after)
	}
	results := t.Stop()
	return results, err
}

// watching records what reflectors lack of families and of BFD.
func (s *Stage) watching() {
	for _, f := range s.World.Timing.IPv4Only {
		s.degraded(fmt.Sprintf("no IPv6 with reflector %s", plan.RRName(f)), "IPv6 has the other fabric, or none; traffic is IPv4")
	}
	for _, f := range s.World.Timing.Deaf {
		what := "a silent failure is noticed by the hold timer"
		if s.World.Timing.Echoes(f) {
			what = "our routers watch it by echo; it notices nothing itself before its hold timer"
		}
		s.degraded(fmt.Sprintf("no BFD with reflector %s", plan.RRName(f)), what)
	}
}

// carried6 says whether any reflector carries IPv6.
func (s *Stage) carried6() bool { return len(s.World.Timing.IPv4Only) < len(plan.Fabrics) }

// deaf records that those whose flows are watched would not notice a silent cut of
// a fabric before the hold timer does.
func (s *Stage) deaf(f plan.Fabric) bool {
	if s.World.Notices(f, 1, 2) {
		return false
	}
	why := "no BFD with " + plan.RRName(f)
	if !s.World.Timing.Watched() {
		why = "BFD is off"
	}
	s.degraded("not played", "nobody notices before the hold timer: "+why)
	return true
}

// cut stops fabric A from passing anything.
func cut(s *Stage) error {
	if s.deaf(plan.A) {
		return nil
	}
	s.involved = []string{"hv1", "hv2"}
	var proof float64
	results, err := s.during(s.World.Timing.Detection()+time.Second, func(*flow.Traffic) (err error) {
		if proof, err = s.onFabricA(200 * time.Millisecond); err != nil {
			return err
		}
		return s.World.CutFabric(plan.A, true)
	})
	if restored := s.World.CutFabric(plan.A, false); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	s.proof(proof)
	s.gaps(results, s.cutLimit())
	return nil
}

// proof records how many flows' worth of packets went into fabric A each way.
// Both families share the ports: four flows are two of each.
func (s *Stage) proof(n float64) {
	s.add(report.Result{Name: "flows each way on fabric A before", Value: report.Number(n), Limit: report.AtMost(4), Least: true,
		Detail: "by port counters, both families"})
}

// gaps judges the flows over the fabric that was cut by their longest gap, and
// those over the other one by having lost nothing.
func (s *Stage) gaps(results []flow.Result, limit float64) {
	total, onA, onB, text := summary(results)
	s.value("longest gap on fabric A", ms(onA.Gap), limit, "ms",
		fmt.Sprintf("BFD's theory %d ms; lost %d of %d", s.World.Timing.Detection().Milliseconds(), onA.Lost, onA.Sent), text)
	s.value("packets lost on fabric B", float64(onB.Lost), s.ownLimit(0), "", fmt.Sprintf("of %d, %d late", onB.Sent, total.Late), text)
}

// gap judges the flows of one direction over fabric A by their longest gap.
func (s *Stage) gap(which string, results []flow.Result, limit float64) {
	_, onA, _, text := summary(results)
	s.value("longest gap on fabric A, "+which, ms(onA.Gap), limit, "ms", fmt.Sprintf("lost %d of %d", onA.Lost, onA.Sent), text)
}

// spared judges the flows over fabric B, which nothing was done to, by having lost
// nothing.
func (s *Stage) spared(results []flow.Result) {
	_, _, onB, text := summary(results)
	s.value("packets lost on fabric B", float64(onB.Lost), s.ownLimit(0), "", fmt.Sprintf("of %d", onB.Sent), text)
}

// loss judges all flows by their losses.
func (s *Stage) loss(results []flow.Result, limit float64) {
	total, _, _, text := summary(results)
	s.value("packets lost", float64(total.Lost), limit, "",
		fmt.Sprintf("of %d; longest gap %d ms at %d ms", total.Sent, total.Gap.Milliseconds(), total.GapAt.Milliseconds()), text)
}

// carrier takes the carrier from HV2's two links to fabric A. HV2 notices at once, the
// others hear of it from the reflector.
func carrier(s *Stage) error {
	s.involved = []string{"hv1", "hv2"}
	heard := s.hearing(plan.A, false)
	var took time.Duration
	results, err := s.during(500*time.Millisecond, func(*flow.Traffic) error {
		start := time.Now()
		if err := s.World.Carrier(plan.A, plan.HVName(2), false); err != nil {
			return err
		}
		s.until(5*time.Second, func() bool { return !s.uses(2, plan.A) })
		took = time.Since(start)
		s.until(heard+time.Second, func() bool { return s.nextHopsOf(2, plan.A) == 0 })
		return nil
	})
	if restored := s.World.Carrier(plan.A, plan.HVName(2), true); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	limit := -1.0
	if s.World.HVKind(2) == world.Self && s.World.Bulk == 0 { // reading a big table takes longer than that
		limit = 100
	}
	s.value("HV2's public table without fabric A", ms(took), limit, "ms", "", "")
	from, to := s.directions(results, 2)
	s.gap("from HV2", from, s.ownLimit(s.cutLimit(), 2))
	s.gap("to HV2", to, ms(heard))
	s.spared(results)
	return nil
}

// uses says whether a hypervisor's public table has a gateway on a fabric.
func (s *Stage) uses(n int, f plan.Fabric) bool {
	for _, family := range bothFamilies {
		routes, err := s.World.Routes(n, golden.Table{Family: family, ID: plan.TablePublic})
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
