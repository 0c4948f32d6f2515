package experiment

import (
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// publicRoutes reads the public table of a router by its name.
func (run *Run) publicRoutes(name string, family uint8) ([]nl.Route, error) {
	return run.tableOf(name, golden.Table{Family: family, ID: plan.TablePublic})
}

// tableOf reads one of the plan's tables of a router by its name.
func (run *Run) tableOf(name string, t golden.Table) ([]nl.Route, error) {
	for n := 1; n <= plan.HVs; n++ {
		if plan.HVName(n) == name {
			return run.Topology.Routes(n, t)
		}
	}
	return run.Topology.Nodes[name].NL.Routes(t.Family, t.ID)
}
