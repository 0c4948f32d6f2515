package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// neighbours asks as a guest does whose neighbours only seem to be on its link:
// each is answered for, with the hypervisor's MAC and from an address of the link;
// an address that nobody has is not. Duplicate address detection finds another
// guest's address taken, and one's own free.
func neighbours(run *Run) error {
	wrong, asked := 0, 0
	var why strings.Builder
	for _, g := range run.guests() {
		tap, err := run.Topology.Public(g.HV).NL.Link(g.Name)
		if err != nil {
			return err
		}
		for _, other := range run.guests() {
			if other.N == g.N {
				continue
			}
			for _, from := range []netip.Addr{g.IPv6(), g.LinkLocal(), netip.IPv6Unspecified()} {
				asked++
				answers, err := run.solicit(g, from, other.IPv6(), time.Second, true)
				if err != nil {
					return err
				}
				if fault := judge(answers, from, tap.MAC.String()); fault != "" {
					wrong++
					fmt.Fprintf(&why, "%s asked for %s as %s: %s\n", g.Name, other.IPv6(), from, fault)
				}
			}
		}
	}
	for _, g := range run.guests() {
		run.involved = append(run.involved, plan.HVName(g.HV))
	}
	run.value("questions for neighbours not answered well", float64(wrong), 0, "", fmt.Sprintf("of %d, a third of them for duplicates", asked), why.String())
	if err := run.ghosts6(); err != nil {
		return err
	}
	return run.duplicates()
}

func (run *Run) solicit(g plan.Guest, from, target netip.Addr, wait time.Duration, first bool) ([]probe.Neighbour, error) {
	return probe.Solicit(run.Topology.Guest(g).Path, "eth0", g.MAC, from, target, wait, first)
}

// judge says what is wrong with the answers to a solicitation from an address.
func judge(answers []probe.Neighbour, from netip.Addr, mac string) string {
	if len(answers) == 0 {
		return "no answer"
	}
	a := answers[0]
	switch {
	case a.TargetLinkAddr.String() != mac:
		return fmt.Sprintf("it is at %v, want %s", a.TargetLinkAddr, mac)
	case a.Source != plan.Gateway6:
		return fmt.Sprintf("told by %v, which is not of the link", a.Source)
	case a.Solicited == from.IsUnspecified():
		return fmt.Sprintf("solicited: %v", a.Solicited)
	}
	return ""
}

// ghosts6 asks for what nobody has, and for oneself.
func (run *Run) ghosts6() error {
	vm1 := run.guests()[0]
	ghosts := 0
	for _, target := range []netip.Addr{plan.Ghost6, vm1.IPv6()} {
		for _, from := range []netip.Addr{vm1.IPv6(), netip.IPv6Unspecified()} {
			if from == target {
				continue
			}
			answers, err := run.solicit(vm1, from, target, 250*time.Millisecond, false)
			if err != nil {
				return err
			}
			ghosts += len(answers)
		}
	}
	run.value("answers for ghosts and for oneself", float64(ghosts), 0, "", fmt.Sprintf("vm1 asked for %s and %s", plan.Ghost6, vm1.IPv6()), "")
	return nil
}

// duplicates has Linux itself look for duplicates, in VM1: of VM4's address, and of
// one that is free.
func (run *Run) duplicates() error {
	vm1, vm4 := run.guests()[0], run.guests()[3]
	n := run.Topology.Guest(vm1)
	var found [2]bool
	for i, a := range []netip.Addr{vm4.IPv6(), plan.Ghost6} {
		var err error
		if found[i], err = n.Duplicate("eth0", netip.PrefixFrom(a, 128)); err != nil {
			return err
		}
	}
	wrong := 0
	if !found[0] {
		wrong++
	}
	if found[1] {
		wrong++
	}
	run.value("duplicates that Linux did not find, or found", float64(wrong), 0, "",
		fmt.Sprintf("%s is taken: %v, %s: %v", vm4.IPv6(), found[0], plan.Ghost6, found[1]), "")
	return nil
}
