package experiment

import (
	"fmt"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// restart kills daemons, waits a second and starts them again.
func (run *Run) restart(daemons ...*topology.Daemon) error {
	for _, d := range daemons {
		if err := d.Kill(); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	if err := run.sleep(time.Second); err != nil {
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
func kill(run *Run) error {
	run.involved = []string{"hv1"}
	return run.watched([]int{1}, false, run.Linger, func() error {
		return run.restart(run.Topology.Daemon(plan.HVName(1)))
	})
}

// reflectors ends all reflectors at once and starts them again.
func reflectors(run *Run) error {
	run.involved = []string{"rr1.public", "rr2.public", "hv1"}
	return run.watched([]int{1, 2}, true, run.Linger, func() error {
		return run.restart(run.Topology.Reflectors()...)
	})
}

// stop freezes HV1's daemon for five seconds.
func stop(run *Run) error {
	run.involved = []string{"hv1"}
	hv1 := run.Topology.Daemon(plan.HVName(1))
	return run.watched([]int{1}, false, time.Second, func() error {
		if err := hv1.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		err := run.sleep(5 * time.Second)
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
func (run *Run) watched(matter []int, outage bool, after time.Duration, do func() error) error {
	w, err := run.watchHV(1)
	if err != nil {
		return err
	}
	before := run.flaps()
	results, err := run.during(after, func(*flow.Traffic) error { return do() })
	writes, text := w.stop()
	if err != nil {
		return err
	}
	limit := run.ownLimit(0, matter...)
	if outage && !run.familiar() {
		limit = -1 // how they restart is theirs
	}
	if !run.Topology.Timing.Graceful() {
		limit = -1 // without graceful restart a restart costs what it costs
	}
	run.loss(results, limit)
	if outage {
		run.value("messages about routes in HV1's kernel", float64(writes), -1, "", "routes, rules, next hops", text)
		return nil
	}
	run.value("messages about routes in HV1's kernel", float64(writes), limit, "", "routes, rules, next hops", text)
	if run.Topology.Timing.Watched() {
		run.flapped(before, limit)
	}
	return nil
}

// watchHV begins to count messages in all namespaces of a hypervisor once they are
// quiet.
func (run *Run) watchHV(n int) (watchers, error) {
	var all watchers
	if d := run.Topology.Daemon(plan.HVName(n)); d != nil { // BIRD's have names of their own
		run.until(10*time.Second, d.Converged)
	}
	for _, node := range run.Topology.Namespaces(n) {
		if err := run.quiet(node.Name); err != nil {
			return nil, err
		}
	}
	for _, node := range run.Topology.Namespaces(n) {
		w, err := watch(node.Path)
		if err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// settled is how long a kernel must have been left alone before an experiment that counts
// messages: next-hop objects that the experiment before made superfluous are collected a
// second after the daemon has converged.
const settled = 1200 * time.Millisecond

// quiet waits until nobody has written to a node's routing tables for a while.
func (run *Run) quiet(node string) error {
	m, err := nl.Watch(run.Topology.Nodes[node].Path)
	if err != nil {
		return err
	}
	defer m.Close()
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		changes, err := m.Next(time.Now().Add(settled))
		if err != nil || len(changes) == 0 {
			return err
		}
	}
	return fmt.Errorf("%s's tables keep changing", node)
}

// restarts kills HV1's daemon again and again, in all stages of its start, and
// looks for what that may have left twice.
func restarts(run *Run) error {
	run.involved = []string{"hv1"}
	hv1 := run.Topology.Daemon(plan.HVName(1))
	for i := range 20 {
		if err := hv1.Kill(); err != nil {
			return err
		}
		if err := hv1.Start(); err != nil {
			return err
		}
		if err := run.sleep(time.Duration(i*20) * time.Millisecond); err != nil {
			return err
		}
	}
	return rules(run)
}
