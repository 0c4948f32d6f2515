package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/probe"
	"github.com/hyperfib/hyperfib/examples/lab/report"
)

// many reports whether there are more guests than the four.
func many(l plan.Lab) bool { return l.PerHV > 0 }

// asked is how many guests of a hypervisor's further guests are pinged: all of them would be
// more neighbours than Linux keeps by default, 1024 for all namespaces together.
const asked = 50

// loaded looks at the guests that there are besides the four: each has its prefix by
// router advertisement, and some answer the internet, VM1 and VM4 in both families.
func loaded(run *Run) error {
	total, heard := 0, 0
	var all []netip.Addr
	for n := 1; n <= plan.HVs; n++ {
		guests := run.Topology.Timing.Load(n)
		total += len(guests)
		for i := 0; i < len(guests); i += max(1, len(guests)/asked) {
			all = append(all, guests[i].IPv4, guests[i].IPv6())
		}
		run.involved = append(run.involved, plan.HVName(n))
	}
	run.until(20*time.Second, func() bool {
		heard = 0
		for _, c := range run.Topology.Load {
			heard += c.Advertised()
		}
		return heard == total
	})
	run.value("further guests without a router advertisement", float64(total-heard), 0, "",
		fmt.Sprintf("%d guests, all %.2f s after start", total, time.Since(run.Started).Seconds()), "")
	for _, from := range []string{plan.EdgeName, "vm1", "vm4"} {
		silent := 0
		var why strings.Builder
		start := time.Now()
		for part := range slices.Chunk(all, 50) { // no more than a socket holds
			left, err := probe.Ping(run.Topology.Nodes[from].Path, part, 5*time.Second)
			if err != nil {
				return err
			}
			silent += len(left)
			for _, a := range left[:min(len(left), 5)] {
				fmt.Fprintf(&why, "no answer from %s\n", a)
			}
		}
		run.value("further guests that do not answer "+from, float64(silent), 0, "",
			fmt.Sprintf("%d addresses in %.2f s", len(all), time.Since(start).Seconds()), why.String())
	}
	return nil
}

// memory measures what the daemons have in memory.
func memory(run *Run) error {
	parts := map[string]string{plan.HVName(1): "hypervisor", plan.EdgeName: "edge router", "rr1.public": "reflector"}
	for _, name := range []string{plan.HVName(1), "rr1.public", plan.EdgeName} {
		d := run.Topology.Daemon(name)
		if d == nil {
			continue
		}
		octets, err := d.Memory()
		if err != nil {
			return err
		}
		run.add(report.Result{Name: "in memory: " + parts[name] + " " + name, Value: report.Number(float64(octets) / (1 << 20)), Unit: "MiB",
			Detail: fmt.Sprintf("%s; %d guests here, %d routes besides", d.Kind, len(run.Topology.Timing.AllOf(1)), run.Topology.Bulk)})
	}
	return nil
}
