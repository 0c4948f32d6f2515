package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
)

// apart proves that the two sides of a hypervisor, each a namespace, know nothing of
// each other: what either sends to the other's addresses gets no answer. Each
// reaches its own.
func apart(run *Run) error {
	var public, private []netip.Addr
	for _, g := range run.guests() {
		public = append(public, g.IPv4, g.IPv6())
	}
	public = append(public, plan.Internet4, plan.EdgePublic4(plan.A), plan.HVPublic4(2, plan.B), plan.HVPublic6(2, plan.A))
	for n := 2; n <= plan.HVs; n++ {
		private = append(private, plan.Loopback(n), plan.HVPrivate4(n, plan.A), plan.HVPrivate4(n, plan.B))
	}
	run.involved = []string{plan.HVName(1)}
	hv1, side := run.Topology.HV(1).Path, run.Topology.Public(1).Path
	vm1 := run.Topology.Guest(run.guests()[0]).Path
	own, _, err := run.answered(map[string][]netip.Addr{hv1: private, side: public, vm1: public[2:]})
	if err != nil {
		return err
	}
	asked := len(private) + len(public) + len(public[2:])
	run.value("addresses of one's own side without an answer", float64(asked-own), 0, "", fmt.Sprintf("of %d, asked from HV1's two namespaces and vm1", asked), "")
	leaks, why, err := run.answered(map[string][]netip.Addr{hv1: public, side: private, vm1: append(private, plan.Loopback(1), plan.HVPrivate4(1, plan.A))})
	if err != nil {
		return err
	}
	run.value("addresses of the other side that answered", float64(leaks), 0, "", "guests from the hypervisor, loopbacks and private uplinks from guests", why)
	return nil
}

// answered counts the addresses that answer when they are pinged from a namespace.
func (run *Run) answered(jobs map[string][]netip.Addr) (count int, text string, err error) {
	var b strings.Builder
	for path, to := range jobs {
		silent, err := probe.Ping(path, to, 500*time.Millisecond)
		if err != nil {
			return 0, "", err
		}
		count += len(to) - len(silent)
		fmt.Fprintf(&b, "%s: %v of %v are silent\n", path, silent, to)
	}
	return count, b.String(), nil
}

// twoSides reports whether a hypervisor has two namespaces.
func twoSides(l plan.Lab) bool { return l.Apart() }
