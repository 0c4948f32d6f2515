package experiment

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// perGuest is what each guest besides the four may add to the time in which a lab
// starts, in seconds: three daemons share the machine.
const perGuest = 0.002

// sessions waits for all BGP sessions, counted from the start of the daemons.
func sessions(run *Run) error {
	up, total := 0, 0
	run.until(20*time.Second, func() bool {
		up, total = run.sessions()
		return up >= total
	})
	took := time.Since(run.Started).Seconds()
	if up < total {
		for n := 1; n <= plan.HVs; n++ {
			run.involved = append(run.involved, plan.HVName(n))
		}
	}
	r := report.Result{Name: "all BGP sessions Established", Value: report.Number(took), Unit: "s", Detail: fmt.Sprintf("%d of %d", up, total), Why: run.missing()}
	start := 1.0
	switch lacking := run.Topology.Lacking(func(k topology.Kind) bool { return k == topology.Self }); {
	case run.Topology.Timing.ToRs() && len(lacking) > 0: // BIRD answers solicitations 3 s apart (RFC 4861, Section 6.2.6)
		start = 5
	case run.Topology.Timing.ToRs(): // twice as many daemons, and neighbours to find
		start = 2
	}
	if limit := run.ownLimit(start + perGuest*float64(run.Topology.Timing.PerHV*plan.HVs)); limit >= 0 && run.familiar() {
		r.Limit = report.AtMost(limit + run.stall.Total().Seconds()) // it cannot be run again
	}
	if up < total {
		run.sick, r.Verdict = true, report.Fail
	}
	run.add(r)
	if run.sick {
		return nil
	}
	run.watching()
	run.until(10*time.Second, func() bool { return run.bfdDown() == 0 })
	run.value("BFD sessions not up", float64(run.bfdDown()), 0, "", fmt.Sprintf("all up %.2f s after start", time.Since(run.Started).Seconds()), "")
	return nil
}

// ownLimit returns a limit if our own daemon is on all of the named hypervisors
// (all there are, if none is named), and none if somebody else's is on one:
// those are measured, not judged.
func (run *Run) ownLimit(limit float64, hvs ...int) float64 {
	if len(hvs) == 0 {
		hvs = []int{1, 2, 3}
	}
	for _, n := range hvs {
		if run.Topology.HVKind(n) != topology.Self {
			return -1
		}
	}
	return limit
}

// familiar reports whether all reflectors are ours or BIRD's: what others take to
// listen, to pass a route on or to restart is measured, not judged.
func (run *Run) familiar() bool {
	return len(run.Topology.Lacking(func(k topology.Kind) bool { return k == topology.Self || k == topology.Bird })) == 0
}

// bfdDown counts the sessions that should have BFD and whose BFD is not up.
func (run *Run) bfdDown() (down int) {
	if !run.Topology.Timing.Watched() {
		return 0
	}
	for _, d := range run.Topology.Daemons {
		down += run.Topology.Watched(d)
		peers, _ := d.Peers()
		for _, p := range peers {
			if p.BFD == "Up" {
				down--
			}
		}
	}
	return down
}

// degraded records what a foreign program cannot do.
func (run *Run) degraded(name, detail string) {
	run.add(report.Result{Name: name, Value: report.Number(math.NaN()), Verdict: report.Degraded, Detail: detail})
}

// fibs waits for every table of every router to be as planned.
func fibs(run *Run) error {
	var count int
	var text string
	run.until(10*time.Second, func() bool {
		count, text = run.differences()
		return count == 0
	})
	run.involved = []string{"hv1", "hv2", "hv3", plan.EdgeName}
	run.value("lines that differ, all tables", float64(count), 0, "",
		fmt.Sprintf("complete %.2f s after start", time.Since(run.Started).Seconds()), text)
	return nil
}

// rules compares the policy rules.
func rules(run *Run) error {
	var diff []string
	sets := 0
	for n := 1; n <= plan.HVs; n++ {
		for _, family := range bothFamilies {
			for _, node := range run.Topology.Namespaces(n) {
				have, err := ruleLines(node, family)
				if err != nil {
					return err
				}
				sets++
				want := golden.RuleLines(golden.Rules(family, run.Topology.Timing.Variant))
				if !slices.Equal(want, have) {
					diff = append(diff, fmt.Sprintf("%s: want %s\n     have %s", node.Name, strings.Join(want, " | "), strings.Join(have, " | ")))
				}
			}
		}
	}
	run.value("rule sets that differ", float64(len(diff)), 0, "", fmt.Sprintf("%d sets on 3 hypervisors, 2 families", sets), strings.Join(diff, "\n"))
	return nil
}

// guests waits until each guest has its IPv6 address and a default route.
func guests(run *Run) error {
	if !run.Topology.Timing.Is("dhcp", plan.DHCPNone) {
		if err := run.leases(); err != nil {
			return err
		}
	}
	var missing []string
	run.until(10*time.Second, func() bool {
		missing = nil
		for _, g := range run.guests() {
			if !configured(run.Topology.Guest(g), g) {
				missing = append(missing, g.Name)
			}
		}
		return len(missing) == 0
	})
	for _, g := range run.guests() {
		if slices.Contains(missing, g.Name) {
			run.involved = append(run.involved, plan.HVName(g.HV))
		}
	}
	run.value("guests without IPv6", float64(len(missing)), 0, "",
		fmt.Sprintf("all %.2f s after start", time.Since(run.Started).Seconds()), strings.Join(missing, " "))
	return nil
}

// leases lets every guest ask for its IPv4 address.
func (run *Run) leases() error {
	start, bound, why := time.Now(), 0, ""
	for _, g := range run.guests() {
		ctx, cancel := context.WithTimeout(run.Ctx, 5*time.Second)
		l, err := probe.DHCP(ctx, run.Topology.Guest(g).Path, "eth0", g.MAC)
		cancel()
		if err != nil {
			why += fmt.Sprintf("%s: %v\n", g.Name, err)
			run.involved = append(run.involved, plan.HVName(g.HV))
			continue
		}
		if l.Address != netip.PrefixFrom(g.IPv4, plan.Subnet4.Bits()) || l.Gateway != plan.Gateway4 {
			why += fmt.Sprintf("%s: was given %v by way of %v\n", g.Name, l.Address, l.Gateway)
			continue
		}
		if err := run.Topology.Lease(g, l.Address, l.Gateway); err != nil {
			return err
		}
		bound++
	}
	run.value("guests without a lease", float64(len(run.guests())-bound), 0, "",
		fmt.Sprintf("%d bound in %d ms", bound, time.Since(start).Milliseconds()), why)
	return nil
}

func configured(n *topology.Node, g plan.Guest) bool {
	addrs, err := n.NL.Addresses("eth0")
	if err != nil || !slices.Contains(addrs, g.OnLink6()) {
		return false
	}
	routes, err := n.NL.Routes(unix.AF_INET6, unix.RT_TABLE_MAIN)
	if err != nil {
		return false
	}
	for _, r := range routes {
		if r.Dst.Bits() == 0 && len(r.Hops) > 0 {
			return true
		}
	}
	return false
}
