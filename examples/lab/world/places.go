package world

import (
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Public returns the namespace in which hypervisor n has its guests and its uplinks to
// the public networks.
func (w *World) Public(n int) *Node {
	if w.Timing.Apart() {
		return w.Nodes[plan.PublicName(n)]
	}
	return w.HV(n)
}

// Places lists the namespaces of hypervisor n.
func (w *World) Places(n int) []*Node {
	if w.Timing.Apart() {
		return []*Node{w.HV(n), w.Public(n)}
	}
	return []*Node{w.HV(n)}
}

// Routes reads one of the plan's tables of hypervisor n where it is in this
// variant, without the routes that the kernel makes of addresses.
func (w *World) Routes(n int, t golden.Table) ([]nl.Route, error) {
	node := w.HV(n)
	switch {
	case t.ID == plan.TablePublic:
		node = w.Public(n)
	case t.ID == plan.TableLocal && w.Timing.Apart():
		return nil, nil // there is none: main is all that there is
	}
	all, err := node.NL.Routes(t.Family, w.Timing.Table(t.ID))
	kept := all[:0]
	for _, r := range all {
		if r.Proto != unix.RTPROT_KERNEL {
			kept = append(kept, r)
		}
	}
	return kept, err
}

// publicSide makes the namespace of hypervisor n's public side, if it has one.
func (w *World) publicSide(n int) (*Node, error) {
	if !w.Timing.Apart() {
		return w.HV(n), nil
	}
	node, err := w.node(plan.PublicName(n))
	if err == nil {
		node.Host = plan.HVName(n)
	}
	return node, err
}

// timingOf is the run's timing as hypervisor n needs it.
func (w *World) timingOf(n int) conf.Timing {
	t := w.Timing
	if t.Apart() {
		t.PublicNetNS = w.Public(n).Path
	}
	return t
}
