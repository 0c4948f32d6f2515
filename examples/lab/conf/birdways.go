package conf

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// hvCarries lists the families of a hypervisor's session over IPv4.
func hvCarries(t Timing) []int {
	if t.Is("sessions", plan.SessionsMP) || t.Shared() {
		return families
	}
	return families[:1]
}

// birdAddPaths is on where clients announce several paths to a prefix, too.
func birdAddPaths(t Timing) string {
	if t.Shared() || t.OneSided() {
		return "on"
	}
	return "tx"
}

// birdProbes are the BFD sessions without BGP by which hypervisors watch next hops.
func birdProbes(f plan.Fabric, private bool, t Timing) (lines []string) {
	add := func(neighbor, local netip.Addr) {
		lines = append(lines, fmt.Sprintf("\n  neighbor %s local %s;", neighbor, local))
	}
	beside := t.OneSided() && f == plan.B
	for n := 1; n <= plan.HVs && t.Watched(); n++ {
		if beside && !private {
			add(plan.HVPublic4(n, f), plan.RRPublic4(f))
			add(plan.HVPublic6(n, f), plan.RRPublic6(f))
		}
		if t.Shared() || beside && private {
			add(plan.HVPrivate4(n, f), plan.RRPrivate4(f))
		}
	}
	if beside && !private && t.Watched() {
		add(plan.EdgePublic4(f), plan.RRPublic4(f))
		add(plan.EdgePublic6(f), plan.RRPublic6(f))
	}
	return lines
}
