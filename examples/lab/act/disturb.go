package act

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
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
	t, err := s.traffic(after + 30*time.Second)
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

// deaf records that nobody would notice a silent cut of a fabric before the hold
// timer does.
func (s *Stage) deaf(f plan.Fabric) bool {
	if s.World.Timing.Hears(f) {
		return false
	}
	s.degraded("not played", plan.RRName(f)+" speaks no BFD")
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

// loss judges all flows by their losses.
func (s *Stage) loss(results []flow.Result, limit float64) {
	total, _, _, text := summary(results)
	s.value("packets lost", float64(total.Lost), limit, "",
		fmt.Sprintf("of %d; longest gap %d ms at %d ms", total.Sent, total.Gap.Milliseconds(), total.GapAt.Milliseconds()), text)
}

// carrier takes the carrier from HV2's two links to fabric A.
func carrier(s *Stage) error {
	s.involved = []string{"hv1", "hv2"}
	var took time.Duration
	results, err := s.during(s.World.Timing.Detection()+500*time.Millisecond, func(*flow.Traffic) error {
		start := time.Now()
		if err := s.World.Carrier(plan.A, plan.HVName(2), false); err != nil {
			return err
		}
		s.until(5*time.Second, func() bool { return !s.uses(plan.HVName(2), plan.A) })
		took = time.Since(start)
		return nil
	})
	if restored := s.World.Carrier(plan.A, plan.HVName(2), true); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	_, onA, onB, text := summary(results)
	limit := -1.0
	if s.World.HVKind(2) == world.Self {
		limit = 100
	}
	s.value("HV2's table 90 without fabric A", ms(took), limit, "ms", "", "")
	limit = s.cutLimit()
	if !s.World.Timing.Hears(plan.A) {
		s.degraded("the others hear nothing of it", plan.RRName(plan.A)+" waits for its hold timer")
		limit = -1
	}
	s.value("longest gap on fabric A", ms(onA.Gap), limit, "ms", fmt.Sprintf("lost %d of %d", onA.Lost, onA.Sent), text)
	s.value("packets lost on fabric B", float64(onB.Lost), s.ownLimit(0), "", fmt.Sprintf("of %d", onB.Sent), text)
	return nil
}

// uses says whether a node's public table has a gateway on a fabric.
func (s *Stage) uses(node string, f plan.Fabric) bool {
	for _, family := range bothFamilies {
		routes, err := s.World.Nodes[node].NL.Routes(family, plan.TablePublic)
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

// restart kills daemons, waits a second and starts them again.
func (s *Stage) restart(daemons ...*world.Daemon) error {
	for _, d := range daemons {
		if err := d.Kill(); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	if err := s.sleep(time.Second); err != nil {
		return err
	}
	for _, d := range daemons {
		if err := d.Start(); err != nil {
			return err
		}
	}
	return nil
}

// kill ends HV1's daemon without warning and starts it again.
func kill(s *Stage) error {
	s.involved = []string{"hv1"}
	return s.watched([]int{1}, false, s.Linger, func() error {
		return s.restart(s.World.Daemon(plan.HVName(1)))
	})
}

// reflectors ends all reflectors at once and starts them again.
func reflectors(s *Stage) error {
	s.involved = []string{"rr1.public", "rr2.public", "hv1"}
	return s.watched([]int{1, 2}, true, s.Linger, func() error {
		return s.restart(s.World.Reflectors()...)
	})
}

// stop freezes HV1's daemon for five seconds.
func stop(s *Stage) error {
	s.involved = []string{"hv1"}
	hv1 := s.World.Daemon(plan.HVName(1))
	return s.watched([]int{1}, false, time.Second, func() error {
		if err := hv1.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err := s.sleep(5 * time.Second)
		if resumed := hv1.Signal(syscall.SIGCONT); err == nil {
			err = resumed
		}
		return err
	})
}

// watched does something under traffic and counts packets lost, messages about
// routes in HV1's kernel and flaps of BFD sessions: there should be none, if
// hyperfib is on the hypervisors that matter. With outage set, BFD sessions and
// therefore routes may change, but packets may not be lost.
func (s *Stage) watched(matter []int, outage bool, after time.Duration, do func() error) error {
	if err := s.quiet(plan.HVName(1)); err != nil {
		return err
	}
	w, err := watch(s.World.HV(1).Path)
	if err != nil {
		return err
	}
	before := s.flaps()
	results, err := s.during(after, func(*flow.Traffic) error { return do() })
	writes, text := w.stop()
	if err != nil {
		return err
	}
	limit := s.ownLimit(0, matter...)
	if outage && !s.familiar() {
		limit = -1 // how they restart is theirs
	}
	if !s.World.Timing.Graceful() {
		limit = -1 // without graceful restart a restart costs what it costs
	}
	s.loss(results, limit)
	if outage {
		s.value("messages about routes in HV1's kernel", float64(writes), -1, "", "routes, rules, next hops", text)
		return nil
	}
	s.value("messages about routes in HV1's kernel", float64(writes), limit, "", "routes, rules, next hops", text)
	if s.World.Timing.Watched() {
		s.flapped(before, limit)
	}
	return nil
}

// calm is how long a kernel must have been left alone before an act that counts
// messages: next-hop objects that the act before made superfluous are collected a
// second later.
const calm = 1200 * time.Millisecond

// quiet waits until nobody has written to a node's routing tables for a while.
func (s *Stage) quiet(node string) error {
	m, err := nl.Watch(s.World.Nodes[node].Path)
	if err != nil {
		return err
	}
	defer m.Close()
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		changes, err := m.Next(time.Now().Add(calm))
		if err != nil || len(changes) == 0 {
			return err
		}
	}
	return fmt.Errorf("%s's tables keep changing", node)
}

// flaps notes the BFD sessions of HV1 and of the reflectors, by name of the
// daemon, where those can tell.
func (s *Stage) flaps() map[string]world.Flaps {
	out := map[string]world.Flaps{}
	for _, d := range append(s.World.Reflectors(), s.World.Daemon(plan.HVName(1))) {
		if f, ok := d.Flaps(); ok {
			out[d.Name] = f
		}
	}
	return out
}

// ofHV1 says whether the name of a BFD session has one of HV1's addresses in it.
func (s *Stage) ofHV1(session string) bool {
	name, _, _ := strings.Cut(session, " (")
	name = strings.ReplaceAll(strings.ReplaceAll(name, "%", " "), "->", " ")
	for _, f := range plan.Fabrics {
		for _, a := range []netip.Addr{plan.HVPublic4(1, f), plan.HVPublic6(1, f), plan.HVPrivate4(1, f)} {
			if slices.Contains(strings.Fields(name), a.String()) {
				return true
			}
		}
	}
	return false
}

// flapped records how many of HV1's BFD sessions changed since before.
func (s *Stage) flapped(before map[string]world.Flaps, limit float64) {
	count := 0
	var why strings.Builder
	now := s.flaps()
	for name, was := range before {
		changed := now[name].Since(was)
		changed = slices.DeleteFunc(changed, func(session string) bool { return !s.ofHV1(session) })
		count += len(changed)
		if len(changed) > 0 {
			fmt.Fprintf(&why, "%s: %s\n", name, strings.Join(changed, ", "))
		}
	}
	s.value("BFD flaps", float64(count), limit, "", "HV1's sessions, seen from both ends", why.String())
}

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

// restarts kills HV1's daemon again and again, in all stages of its start, and
// looks for what that may have left twice.
func restarts(s *Stage) error {
	s.involved = []string{"hv1"}
	hv1 := s.World.Daemon(plan.HVName(1))
	for i := range 20 {
		if err := hv1.Kill(); err != nil {
			return err
		}
		if err := hv1.Start(); err != nil {
			return err
		}
		if err := s.sleep(time.Duration(i*20) * time.Millisecond); err != nil {
			return err
		}
	}
	return rules(s)
}
