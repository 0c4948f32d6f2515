package act

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

// many says whether there are more guests than the four.
func many(l plan.Lab) bool { return l.PerHV > 0 }

// asked is how many guests of a hypervisor's crowd are pinged: all of them would be
// more neighbours than Linux keeps by default, 1024 for all namespaces together.
const asked = 50

// crowded looks at the guests that there are besides the four: each has heard of its
// prefix, and some answer the internet, VM1 and VM4 in both families.
func crowded(s *Stage) error {
	total, told := 0, 0
	var all []netip.Addr
	for n := 1; n <= plan.HVs; n++ {
		guests := s.World.Timing.Crowd(n)
		total += len(guests)
		for i := 0; i < len(guests); i += max(1, len(guests)/asked) {
			all = append(all, guests[i].IPv4, guests[i].IPv6())
		}
		s.involved = append(s.involved, plan.HVName(n))
	}
	s.until(20*time.Second, func() bool {
		told = 0
		for _, c := range s.World.Crowds {
			told += c.Told()
		}
		return told == total
	})
	s.value("guests of the crowd without a router advertisement", float64(total-told), 0, "",
		fmt.Sprintf("%d guests, all told %.2f s after start", total, time.Since(s.Started).Seconds()), "")
	for _, from := range []string{plan.EdgeName, "vm1", "vm4"} {
		silent := 0
		var why strings.Builder
		start := time.Now()
		for part := range slices.Chunk(all, 50) { // no more than a socket holds
			left, err := probe.Ping(s.World.Nodes[from].Path, part, 5*time.Second)
			if err != nil {
				return err
			}
			silent += len(left)
			for _, a := range left[:min(len(left), 5)] {
				fmt.Fprintf(&why, "no answer from %s\n", a)
			}
		}
		s.value("guests of the crowd that do not answer "+from, float64(silent), 0, "",
			fmt.Sprintf("%d addresses in %.2f s", len(all), time.Since(start).Seconds()), why.String())
	}
	return nil
}

// memory tells what the daemons have in memory.
func memory(s *Stage) error {
	parts := map[string]string{plan.HVName(1): "hypervisor", plan.EdgeName: "edge router", "rr1.public": "reflector"}
	for _, name := range []string{plan.HVName(1), "rr1.public", plan.EdgeName} {
		d := s.World.Daemon(name)
		if d == nil {
			continue
		}
		octets, err := d.Memory()
		if err != nil {
			return err
		}
		s.add(report.Result{Name: "in memory: " + parts[name] + " " + name, Value: report.Number(float64(octets) / (1 << 20)), Unit: "MiB",
			Detail: fmt.Sprintf("%s; %d guests here, %d routes besides", d.Kind, len(s.World.Timing.AllOf(1)), s.World.Bulk)})
	}
	return nil
}
