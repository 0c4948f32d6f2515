package experiment

import (
	"fmt"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Table is a table of every router with its sessions and routes.
func (run *Run) Table() string {
	var b strings.Builder
	b.WriteString("\n")
	fmt.Fprintf(&b, "  %-11s %-6s %-9s %-7s %s\n", "node", "program", "sessions", "BFD", "routes (v4 90, 20, 100; v6 90)")
	for _, d := range run.Topology.Daemons {
		if d.Sessions == 0 {
			state := "running"
			if !d.Running() {
				state = "dead"
			}
			fmt.Fprintf(&b, "  %-11s %-6s %s\n", d.Name, d.Kind, state)
			continue
		}
		up, bfd := 0, 0
		peers, _ := d.Peers()
		for _, p := range peers {
			if p.Up() {
				up++
			}
			if p.BFD == "Up" {
				bfd++
			}
		}
		fmt.Fprintf(&b, "  %-11s %-6s %d of %-4d %d of %-2d %s\n", d.Name, d.Kind, up, d.Sessions, bfd, d.Sessions, run.routeCounts(d.Node.Name))
	}
	return b.String()
}

func (run *Run) routeCounts(node string) string {
	tables := golden.HypervisorTables
	if node == plan.EdgeName {
		tables = golden.EdgeTables
	}
	var counts []string
	for _, t := range tables {
		routes, _ := run.tableOf(node, t)
		counts = append(counts, fmt.Sprint(len(routes)))
	}
	return strings.Join(counts, " ")
}
