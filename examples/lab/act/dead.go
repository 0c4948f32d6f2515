package act

import (
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// deadcut cuts fabric A while HV1's daemon is dead.
func deadcut(s *Stage) error {
	return s.whileDead(func(cut bool) error { return s.World.CutFabric(plan.A, cut) }, s.ownLimit(s.cutLimit(), 1))
}

// deadport cuts HV1's own way to fabric A: its BFD process sees that, and the
// reflector tells the others.
func deadport(s *Stage) error {
	return s.whileDead(func(cut bool) error { return s.World.CutPort(plan.A, plan.HVName(1), cut) }, s.ownLimit(s.cutLimit(), 1))
}

// farport cuts HV2's way to fabric A. HV1 can only learn of it by a withdrawal,
// which nobody reads before its daemon is back.
func farport(s *Stage) error {
	return s.whileDead(func(cut bool) error { return s.World.CutPort(plan.A, plan.HVName(2), cut) }, -1)
}

// whileDead cuts something on fabric A 200 ms after HV1's daemon died, and starts
// the daemon again when the cut must have been noticed.
func (s *Stage) whileDead(cut func(bool) error, limit float64) error {
	if s.deaf(plan.A) {
		return nil
	}
	s.involved = []string{"hv1"}
	hv1 := s.World.Daemon(plan.HVName(1))
	var proof float64
	results, err := s.during(time.Second, func(*flow.Traffic) (err error) {
		if proof, err = s.onFabricA(200 * time.Millisecond); err != nil {
			return err
		}
		if err := hv1.Kill(); err != nil {
			return err
		}
		if err := s.sleep(200 * time.Millisecond); err != nil {
			return err
		}
		if err := cut(true); err != nil {
			return err
		}
		if err := s.sleep(s.World.Timing.Detection() + 500*time.Millisecond); err != nil {
			return err
		}
		return hv1.Start()
	})
	if restored := cut(false); err == nil {
		err = restored
	}
	if !hv1.Running() {
		_ = hv1.Start()
	}
	if err != nil {
		return err
	}
	s.proof(proof)
	s.gaps(results, limit)
	return nil
}
