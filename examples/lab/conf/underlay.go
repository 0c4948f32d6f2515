package conf

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// hvNeighbors are a hypervisor's sessions with the routers of its rack: whoever
// advertises itself on an uplink.
func hvNeighbors(w *writer, n int, private bool, t Timing) {
	w.line("    neighbors:")
	for _, a := range plan.Adjacencies(plan.HVName(n)) {
		if a.Private == private {
			w.line("      - {fabric: %s, interface: %s, as: external, bfd: %q, import: [{action: accept}], export: [{action: accept}]}",
				a.Fabric, a.Link, t.watch(a.Fabric))
		}
	}
}

// UnderlayArgs are the arguments of our own router as a top-of-rack or a spine: it passes on
// what it hears. Its BFD sessions are a process of their own, which its restarts do not touch.
func UnderlayArgs(r plan.UnderlayRouter, socket string, t Timing) []string {
	args := []string{"-as", fmt.Sprint(r.AS), "-router-id", r.ID.String(), "-transit"}
	return append(args, adjacent(r.Name, socket, t)...)
}

// adjacent are the arguments for sessions with the neighbours of a node.
func adjacent(node, socket string, t Timing) []string {
	args := []string{"-table", fmt.Sprint(plan.TablePublic), "-interval", t.BFD.String(), "-multiplier", fmt.Sprint(t.Multiplier),
		"-status", socket, "-hold", t.HoldTime().String()}
	watch := "off"
	if t.Watched() {
		watch = "on"
		args = append(args, "-bfd-socket", socket+".bfd")
	}
	for _, a := range plan.Adjacencies(node) {
		args = append(args, fmt.Sprintf("%s,%s,%s,%s,%s", a.Link, a.Local, a.Peer, watch, t.restart()))
	}
	return args
}
