package experiment

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// healLimit is how long HV3 may take to use all paths again, in seconds after its
// table is complete.
const healLimit = 1

// heal cuts fabric A for long enough that HV3 takes its neighbours there for dead,
// and sees when flows to the anycast address use all four paths again. Next-hop
// groups of Linux avoid a neighbour whose entry says failed, and as nobody sends
// there, the entry may stay as it is for half a minute.
func heal(run *Run) error {
	if run.unnoticed(plan.A) {
		return nil
	}
	const from = 3
	run.involved = []string{plan.HVName(from)}
	before, err := run.fourPaths(from)
	if err != nil {
		return err
	}
	err = run.Topology.CutFabric(plan.A, true)
	if err == nil {
		run.until(5*time.Second, func() bool { return !run.uses(from, plan.A) })
		err = run.fail(from, plan.A)
	}
	if restored := run.Topology.CutFabric(plan.A, false); err == nil {
		err = restored
	}
	if err != nil {
		return err
	}
	run.until(20*time.Second, func() bool { count, _ := run.differences(); return count == 0 })
	start, paths := time.Now(), 0
	run.until(45*time.Second, func() bool {
		paths, err = run.fourPaths(from)
		return paths >= before || err != nil
	})
	run.value("paths of HV3's anycast flows all used again after", time.Since(start).Seconds(), run.ownLimit(healLimit, from), "s",
		fmt.Sprintf("%d of %d", paths, before), "")
	return err
}

// fail marks a hypervisor's neighbours on a fabric as Linux does after three
// questions without an answer.
func (run *Run) fail(hv int, f plan.Fabric) error {
	for _, a := range run.Topology.Timing.Hops(hv, f) {
		if err := run.Topology.Public(hv).NL.SetNeighbour(f.Public(), nl.Neighbour{Addr: a, State: unix.NUD_FAILED}); err != nil {
			return err
		}
	}
	return nil
}

// fourPaths sends flows from a hypervisor's guest to the anycast address and counts
// by how many of the ways to the copies they come: two fabrics and two hypervisors.
func (run *Run) fourPaths(hv int) (paths int, err error) {
	const port, burst = 7201, 256
	const least = burst / 16 // other packets on the ports are few
	g := run.Topology.Timing.GuestsOf(hv)[0]
	before, err := run.arrivals()
	if err != nil {
		return 0, err
	}
	if err := probe.Burst(run.Topology.Guest(g).Path, netip.AddrPortFrom(plan.Anycast4, port), burst); err != nil {
		return 0, err
	}
	after, err := run.arrivals()
	for way, n := range after {
		if n-before[way] >= least {
			paths++
		}
	}
	return paths, err
}

// arrivals counts what the ports of the hypervisors with a copy of the anycast
// address sent to them.
func (run *Run) arrivals() (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, g := range run.guests() {
		if !g.Anycast {
			continue
		}
		for _, f := range plan.Fabrics {
			n, err := run.Topology.PortArrivals(f, plan.HVName(g.HV))
			if err != nil {
				return nil, err
			}
			out[g.Name+f.String()] = n
		}
	}
	return out, nil
}
