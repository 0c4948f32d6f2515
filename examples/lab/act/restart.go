package act

import (
	"fmt"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

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
	w, err := s.watchHV(1)
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

// watchHV begins to count messages in all namespaces of a hypervisor once they are
// quiet.
func (s *Stage) watchHV(n int) (watchers, error) {
	var all watchers
	for _, node := range s.World.Places(n) {
		if err := s.quiet(node.Name); err != nil {
			return nil, err
		}
	}
	for _, node := range s.World.Places(n) {
		w, err := watch(node.Path)
		if err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
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
