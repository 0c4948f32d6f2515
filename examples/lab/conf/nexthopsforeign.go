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

// probed is a BFD session without BGP by which somebody watches a next hop.
type probed struct {
	peer, local netip.Addr
	device      string
}

// probesOf lists those that a reflector has to answer.
func probesOf(f plan.Fabric, private bool, t Timing) (list []probed) {
	beside := t.OneSided() && f == plan.B
	for n := 1; n <= plan.HVs && t.Watched(); n++ {
		if beside && !private {
			list = append(list, probed{plan.HVPublic4(n, f), plan.RRPublic4(f), f.Public()}, probed{plan.HVPublic6(n, f), plan.RRPublic6(f), f.Public()})
		}
		if t.Shared() || beside && private {
			list = append(list, probed{plan.HVPrivate4(n, f), plan.RRPrivate4(f), f.Private()})
		}
	}
	if beside && !private && t.Watched() {
		list = append(list, probed{plan.EdgePublic4(f), plan.RRPublic4(f), f.Public()}, probed{plan.EdgePublic6(f), plan.RRPublic6(f), f.Public()})
	}
	return list
}

// birdProbes are these sessions in BIRD's words.
func birdProbes(f plan.Fabric, private bool, t Timing) (lines []string) {
	for _, p := range probesOf(f, private, t) {
		lines = append(lines, fmt.Sprintf("\n  neighbor %s local %s;", p.peer, p.local))
	}
	return lines
}
