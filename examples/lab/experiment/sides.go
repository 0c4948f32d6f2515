package experiment

import (
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// twoPaths reports whether next hops are announced that no BGP session runs over.
func twoPaths(l plan.Lab) bool { return l.Shared() || l.OneSided() }

// cutb stops fabric B from passing anything: no session runs over it where one serves
// both fabrics, so a probe has to notice.
func cutb(run *Run) error {
	return run.silence(plan.B, func(cut bool) error { return run.Topology.CutFabric(plan.B, cut) }, false)
}

// portb and porta do so at HV2's ports of one fabric: HV2 knows, and HV1 has to hear of it
// from the reflector.
func portb(run *Run) error {
	return run.silence(plan.B, func(cut bool) error { return run.Topology.CutPort(plan.B, plan.HVName(2), cut) }, true)
}

func porta(run *Run) error {
	return run.silence(plan.A, func(cut bool) error { return run.Topology.CutPort(plan.A, plan.HVName(2), cut) }, true)
}

// silence cuts something on a fabric and judges the flows over it, and whether HV1 gives
// up the gateways that are dead: all of the fabric, or HV2's alone.
func (run *Run) silence(f plan.Fabric, cut func(bool) error, port bool) error {
	if run.unnoticed(f) {
		return nil
	}
	run.involved = []string{"hv1", "hv2"}
	var took time.Duration
	left := -1
	results, err := run.during(run.Topology.Timing.Detection()+time.Second, func(*flow.Traffic) error {
		start := time.Now()
		if err := cut(true); err != nil {
			return err
		}
		run.until(5*time.Second, func() bool { left = run.gateways(f, port); return left == 0 })
		took = time.Since(start)
		return nil
	})
	if restored := cut(false); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	_, onA, onB, text := summary(results)
	hit, spared, name := onA, onB, "B"
	if f == plan.B {
		hit, spared, name = onB, onA, "A"
	}
	whose := "gateways on fabric " + f.String()
	if port {
		whose = "HV2's " + whose
	}
	run.value(whose+" that HV1 keeps", float64(left), run.ownLimit(0), "", "in its tables 90 and 20, both families", "")
	run.value("given up", ms(took), run.ownLimit(run.cutLimit()+80), "ms", "from the cut; the tables are read every 10 ms", "")
	run.value("longest gap on fabric "+f.String(), ms(hit.Gap), run.ownLimit(run.cutLimit()), "ms", "", text)
	run.value("packets lost on fabric "+name, float64(spared.Lost), run.ownLimit(0), "", "", text)
	return nil
}

// gateways counts those on a fabric in HV1's tables; of HV2 only, if port is set.
func (run *Run) gateways(f plan.Fabric, port bool) (n int) {
	for _, t := range golden.HypervisorTables {
		routes, err := run.Topology.Routes(1, t)
		if err != nil {
			return -1
		}
		for _, r := range routes {
			for _, h := range r.Hops {
				on := h.Link == f.Public() || h.Link == f.Private()
				hv2 := h.Gateway == plan.HVPublic4(2, f) || h.Gateway == plan.HVPublic6(2, f) || h.Gateway == plan.HVPrivate4(2, f)
				if on && (hv2 || !port) {
					n++
				}
			}
		}
	}
	return n
}
