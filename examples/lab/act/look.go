package act

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
	"github.com/hyperfib/hyperfib/examples/lab/world"
)

// perGuest is what each guest besides the four may add to the time in which a lab
// starts, in seconds: three daemons share the machine.
const perGuest = 0.002

// sessions waits for all BGP sessions, counted from the start of the daemons.
func sessions(s *Stage) error {
	up, total := 0, 0
	s.until(20*time.Second, func() bool {
		up, total = s.sessions()
		return up >= total
	})
	took := time.Since(s.Started).Seconds()
	if up < total {
		for n := 1; n <= plan.HVs; n++ {
			s.involved = append(s.involved, plan.HVName(n))
		}
	}
	r := report.Result{Name: "all BGP sessions Established", Value: report.Number(took), Unit: "s", Detail: fmt.Sprintf("%d of %d", up, total), Why: s.missing()}
	if limit := s.ownLimit(1 + perGuest*float64(s.World.Timing.PerHV*plan.HVs)); limit >= 0 && s.familiar() {
		r.Limit = report.AtMost(limit + s.stall.Total().Seconds()) // it cannot be played again
	}
	if up < total {
		s.sick, r.Verdict = true, report.Fail
	}
	s.add(r)
	if s.sick {
		return nil
	}
	s.watching()
	s.until(10*time.Second, func() bool { return s.bfdDown() == 0 })
	s.value("BFD sessions not up", float64(s.bfdDown()), 0, "", fmt.Sprintf("all up %.2f s after start", time.Since(s.Started).Seconds()), "")
	return nil
}

// ownLimit returns a limit if our own daemon is on all of the named hypervisors
// (all there are, if none is named), and none if somebody else's is on one:
// those are measured, not judged.
func (s *Stage) ownLimit(limit float64, hvs ...int) float64 {
	if len(hvs) == 0 {
		hvs = []int{1, 2, 3}
	}
	for _, n := range hvs {
		if s.World.HVKind(n) != world.Self {
			return -1
		}
	}
	return limit
}

// familiar says whether all reflectors are ours or BIRD's: what others take to
// listen, to pass a route on or to restart is measured, not judged.
func (s *Stage) familiar() bool {
	return len(s.World.Lacking(func(k world.Kind) bool { return k == world.Self || k == world.Bird })) == 0
}

// bfdDown counts the sessions that should have BFD and whose BFD is not up.
func (s *Stage) bfdDown() (down int) {
	if !s.World.Timing.Watched() {
		return 0
	}
	for _, d := range s.World.Daemons {
		down += s.World.Watched(d)
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
func (s *Stage) degraded(name, detail string) {
	s.add(report.Result{Name: name, Value: report.Number(math.NaN()), Verdict: report.Degraded, Detail: detail})
}

// fibs waits for every table of every router to be as planned.
func fibs(s *Stage) error {
	var count int
	var text string
	s.until(10*time.Second, func() bool {
		count, text = s.differences()
		return count == 0
	})
	s.involved = []string{"hv1", "hv2", "hv3", plan.EdgeName}
	s.value("lines that differ, all tables", float64(count), 0, "",
		fmt.Sprintf("complete %.2f s after start", time.Since(s.Started).Seconds()), text)
	return nil
}

// rules compares the policy rules.
func rules(s *Stage) error {
	var diff []string
	sets := 0
	for n := 1; n <= plan.HVs; n++ {
		for _, family := range bothFamilies {
			for _, node := range s.World.Places(n) {
				have, err := ruleLines(node, family)
				if err != nil {
					return err
				}
				sets++
				want := golden.RuleLines(golden.Rules(family, s.World.Timing.Variant))
				if !slices.Equal(want, have) {
					diff = append(diff, fmt.Sprintf("%s: want %s\n     have %s", node.Name, strings.Join(want, " | "), strings.Join(have, " | ")))
				}
			}
		}
	}
	s.value("rule sets that differ", float64(len(diff)), 0, "", fmt.Sprintf("%d sets on 3 hypervisors, 2 families", sets), strings.Join(diff, "\n"))
	return nil
}

// guests waits until each guest has its IPv6 address and a default route.
func guests(s *Stage) error {
	if !s.World.Timing.Is("dhcp", plan.DHCPNone) {
		if err := s.leases(); err != nil {
			return err
		}
	}
	var missing []string
	s.until(10*time.Second, func() bool {
		missing = nil
		for _, g := range s.guests() {
			if !configured(s.World.Guest(g), g) {
				missing = append(missing, g.Name)
			}
		}
		return len(missing) == 0
	})
	for _, g := range s.guests() {
		if slices.Contains(missing, g.Name) {
			s.involved = append(s.involved, plan.HVName(g.HV))
		}
	}
	s.value("guests without IPv6", float64(len(missing)), 0, "",
		fmt.Sprintf("all %.2f s after start", time.Since(s.Started).Seconds()), strings.Join(missing, " "))
	return nil
}

// leases lets every guest ask for its IPv4 address.
func (s *Stage) leases() error {
	start, bound, why := time.Now(), 0, ""
	for _, g := range s.guests() {
		ctx, cancel := context.WithTimeout(s.Ctx, 5*time.Second)
		l, err := probe.DHCP(ctx, s.World.Guest(g).Path, "eth0", g.MAC)
		cancel()
		if err != nil {
			why += fmt.Sprintf("%s: %v\n", g.Name, err)
			s.involved = append(s.involved, plan.HVName(g.HV))
			continue
		}
		if l.Address != netip.PrefixFrom(g.IPv4, plan.Subnet4.Bits()) || l.Gateway != plan.Gateway4 {
			why += fmt.Sprintf("%s: was given %v by way of %v\n", g.Name, l.Address, l.Gateway)
			continue
		}
		if err := s.World.Lease(g, l.Address, l.Gateway); err != nil {
			return err
		}
		bound++
	}
	s.value("guests without a lease", float64(len(s.guests())-bound), 0, "",
		fmt.Sprintf("%d bound in %d ms", bound, time.Since(start).Milliseconds()), why)
	return nil
}

func configured(n *world.Node, g plan.Guest) bool {
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
