package experiment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// flaps notes the BFD sessions of HV1 and of the reflectors, by name of the
// daemon, where those can tell.
func (run *Run) flaps() map[string]topology.Flaps {
	out := map[string]topology.Flaps{}
	for _, d := range append(run.Topology.Reflectors(), run.Topology.Daemon(plan.HVName(1))) {
		if f, ok := d.Flaps(); ok {
			out[d.Name] = f
		}
	}
	return out
}

// ofHV1 reports whether the name of a BFD session has one of HV1's addresses in it.
func (run *Run) ofHV1(session string) bool {
	name, _, _ := strings.Cut(session, " (")
	name = strings.ReplaceAll(strings.ReplaceAll(name, "%", " "), "->", " ")
	for _, f := range plan.Fabrics {
		for _, a := range run.Topology.Timing.Uplinks(1, f) {
			if slices.Contains(strings.Fields(name), a.String()) {
				return true
			}
		}
	}
	return false
}

// flapped records how many of HV1's BFD sessions changed since before.
func (run *Run) flapped(before map[string]topology.Flaps, limit float64) {
	count := 0
	var why strings.Builder
	now := run.flaps()
	for name, was := range before {
		changed := now[name].Since(was)
		changed = slices.DeleteFunc(changed, func(session string) bool { return !run.ofHV1(session) })
		count += len(changed)
		if len(changed) > 0 {
			fmt.Fprintf(&why, "%s: %s\n", name, strings.Join(changed, ", "))
		}
	}
	run.value("BFD flaps", float64(count), limit, "", "HV1's sessions, seen from both ends", why.String())
}
