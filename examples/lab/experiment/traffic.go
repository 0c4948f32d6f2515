package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// What the traffic of the disturbing experiments looks like: eight flows of 200 packets
// a second in each direction and family, half of them over each fabric.
const (
	flows = 8
	rate  = 200
)

// traffic starts it between VM1 on HV1 and VM3 on HV2. Before, it proves with
// the counters of the fabrics' ports that half of the flows of each direction
// and family take each fabric.
func (run *Run) traffic(limit time.Duration) (*flow.Traffic, error) {
	all := run.guests()
	vm1, vm3 := all[0], all[2]
	paths := []flow.Path{run.path(vm1, vm3, 4), run.path(vm3, vm1, 4)}
	if len(run.Topology.Timing.IPv4Only) == 0 {
		paths = append(paths, run.path(vm1, vm3, 6), run.path(vm3, vm1, 6))
	}
	if err := run.acquaint(vm1.HV, vm3.HV); err != nil {
		return nil, err
	}
	for i := range paths {
		hv := plan.HVName(vm1.HV)
		if i%2 == 1 {
			hv = plan.HVName(vm3.HV)
		}
		ports, err := flow.Choose(paths[i], i, flows/2, run.counter(hv))
		if err != nil {
			return nil, err
		}
		paths[i].SourcePort = ports
	}
	return flow.Start(paths, rate, limit)
}

// acquaint has hypervisors ping those that their next hops name, over both fabrics. A
// neighbour that Linux could not reach during an earlier experiment is marked as failed for up
// to half a minute, and next-hop groups avoid it although it is back.
//
// With top-of-rack routers BFD speaks with the very address that next hops name.
func (run *Run) acquaint(hvs ...int) error {
	for _, n := range hvs {
		if run.Topology.Timing.Routed(n) {
			continue
		}
		var to []netip.Addr
		for _, f := range plan.Fabrics {
			to = append(to, run.Topology.Timing.Hops(n, f)...)
		}
		silent, err := probe.PingOn(run.Topology.Public(n).Path, run.Topology.Timing.PublicVRF(), to, 2*time.Second)
		if err != nil {
			return err
		}
		if len(silent) > 0 {
			return fmt.Errorf("%s gets no answer from %v", plan.HVName(n), silent)
		}
	}
	return nil
}

func (run *Run) path(from, to plan.Guest, version int) flow.Path {
	p := flow.Path{Name: fmt.Sprintf("%s>%s v%d", from.Name, to.Name, version),
		FromNS: run.Topology.Guest(from).Path, ToNS: run.Topology.Guest(to).Path, Src: from.IPv4, Dst: to.IPv4}
	if version == 6 {
		p.Src, p.Dst = from.IPv6(), to.IPv6()
	}
	return p
}

// counter counts what a hypervisor sends into either fabric.
func (run *Run) counter(hv string) flow.Counter {
	return func() (uint64, uint64, error) {
		a, err := run.Topology.PortPackets(plan.A, hv)
		if err != nil {
			return 0, 0, err
		}
		b, err := run.Topology.PortPackets(plan.B, hv)
		return a, b, err
	}
}

// onFabricA tells from the port counters how many flows go over fabric A each way:
// the share of fabric A in what a hypervisor sends into both, measured over d. It
// returns the smaller of the two directions. A busy machine may send fewer packets
// than it should; shares do not mind.
func (run *Run) onFabricA(d time.Duration) (float64, error) {
	least := -1.0
	for _, hv := range []string{plan.HVName(1), plan.HVName(2)} {
		count := run.counter(hv)
		a0, b0, err := count()
		if err != nil {
			return 0, err
		}
		if err := run.sleep(d); err != nil {
			return 0, err
		}
		a1, b1, err := count()
		if err != nil {
			return 0, err
		}
		if n := share(a1-a0, b1-b0) * flows * 2; least < 0 || n < least {
			least = n
		}
	}
	return least, nil
}

// share is a's part of a and b, zero of too few to tell.
func share(a, b uint64) float64 {
	if a+b < 4*flows {
		return 0
	}
	return float64(a) / float64(a+b)
}

// summary adds up results: all flows, and those over each fabric.
func summary(results []flow.Result) (total, onA, onB flow.Stats, text string) {
	var all, a, b []flow.Stats
	var lines strings.Builder
	for _, r := range results {
		all = append(all, r.Flows...)
		a = append(a, r.Flows[:flows/2]...)
		b = append(b, r.Flows[flows/2:]...)
		for i, f := range r.Flows {
			if f.Lost > 0 {
				fmt.Fprintf(&lines, "%s port %d (fabric %s): lost %d of %d, longest gap %d ms at %d ms\n", r.Path.Name,
					r.Path.SourcePort[i], plan.Fabric(i/(flows/2)), f.Lost, f.Sent, f.Gap.Milliseconds(), f.GapAt.Milliseconds())
			}
		}
	}
	return flow.Sum(all), flow.Sum(a), flow.Sum(b), lines.String()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
