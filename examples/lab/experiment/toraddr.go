package experiment

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// backLimit is how long a router that has another address may take to be used there, in milliseconds.
const backLimit = 1000

// torAddress gives the interface to HV1 of the router of its rack on fabric A another link-local address, then
// another MAC, then both of before again. HV1 finds the router at its other address, and the routes of its
// tables lead there.
func torAddress(run *Run) error {
	name := plan.TorName(1, plan.A, false)
	run.involved = []string{name, "hv1"}
	var a plan.Adjacency
	for _, one := range run.Topology.Timing.Adjacencies(name) {
		if one.Node == plan.HVName(1) {
			a = one
		}
	}
	m := move{run, run.Topology.Nodes[name], a.Link}
	link, err := m.router.NL.Link(m.link)
	if err != nil {
		return err
	}
	other, otherMAC := netip.MustParseAddr("fe80::beef"), net.HardwareAddr{2, 0, 0, 0, 0xbe, 0xef}
	results, err := run.during(time.Second, func(*flow.Traffic) error {
		if err := m.to("another address", a.Local, other, nil); err != nil {
			return err
		}
		return run.sleep(time.Second)
	})
	if err != nil {
		return err
	}
	from, to := run.directions(results, 1)
	run.gap("from HV1", from, run.ownLimit(run.cutLimit()))
	run.gap("to HV1", to, run.ownLimit(run.cutLimit()))
	run.spared(results)
	results, err = run.during(time.Second, func(*flow.Traffic) error { return m.router.NL.SetMAC(m.link, otherMAC) })
	if err != nil {
		return err
	}
	total, _, _, text := summary(results)
	run.value("another MAC: longest gap", ms(total.Gap), run.ownLimit(run.cutLimit()), "ms", fmt.Sprintf("lost %d of %d", total.Lost, total.Sent), text)
	return m.to("both, as before", other, a.Local, link.MAC)
}

// move is what becomes of an interface of a router.
type move struct {
	run    *Run
	router *topology.Node
	link   string
}

// to gives the interface another address, and with it another MAC if that is not nil, and looks how long it
// takes until HV1's routes over it lead to the new one. Ours and BIRD are judged; when FRR takes a session from
// there, and has BFD up, is its own.
func (m move) to(what string, old, now netip.Addr, mac net.HardwareAddr) error {
	want := m.routes(old)
	first, err := probe.First(m.run.Topology.HV(1).Path, plan.A.Public(), now, patience)
	if err != nil {
		return err
	}
	start := time.Now()
	if mac != nil {
		err = m.router.NL.SetMAC(m.link, mac)
	}
	if err == nil {
		err = m.router.NL.AddAddress(m.link, netip.PrefixFrom(now, 64), false, false)
	}
	if err == nil {
		err = m.router.NL.DeleteAddress(m.link, netip.PrefixFrom(old, 64))
	}
	if err != nil {
		return err
	}
	back := m.run.until(30*time.Second, func() bool { return m.routes(now) == want && m.routes(old) == 0 })
	end := time.Now()
	at, err := first()
	if err != nil {
		return err
	}
	if !back || at.IsZero() {
		return fmt.Errorf("%s: not back after %v; %d of %d routes", what, end.Sub(start), m.routes(now), want)
	}
	limit := m.run.ownLimit(backLimit, 1)
	if m.run.Topology.TorKind(plan.A) == topology.FRR {
		limit = -1
	}
	m.run.value(what+": back", ms(end.Sub(start)), limit, "ms",
		fmt.Sprintf("%d routes; %d ms after its first packet from there", want, end.Sub(at).Milliseconds()), "")
	return nil
}

// routes counts HV1's next hops on fabric A's public network at an address of the router.
func (m move) routes(at netip.Addr) (n int) {
	for _, t := range golden.HypervisorTables {
		routes, err := m.run.Topology.Routes(1, t)
		if err != nil {
			return -1
		}
		for _, r := range routes {
			for _, h := range r.Hops {
				if h.Link == plan.A.Public() && h.Gateway == at {
					n++
				}
			}
		}
	}
	return n
}
