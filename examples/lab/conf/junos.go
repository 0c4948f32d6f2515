package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// JunosArgs are the arguments of the stand-in for Junos: one instance for both
// domains, with the published lab's groups, communities and path counts.
func JunosArgs(f plan.Fabric, t Timing) []string {
	args := []string{"-as", fmt.Sprint(plan.AS), "-router-id", fmt.Sprintf("1.0.0.%d", int(f)+1)}
	if t.Watched() {
		args = append(args, "-bfd", fmt.Sprintf("%s,%d", t.BFD, t.Multiplier))
	}
	for _, g := range []struct {
		name, community string
		private         bool
		family, paths   int
	}{{"public-v4", "65000:90", false, 0, 2}, {"public-v6", "65000:90", false, 1, 6}, {"private-v4", "65000:20", true, 0, 6}} {
		d := domainOf(f, g.private)
		s := d.families[g.family]
		args = append(args, fmt.Sprintf("%s,%s,%s,%s,%s,%d", g.name, s.local, s.clients, d.id, g.community, g.paths))
	}
	return args
}
