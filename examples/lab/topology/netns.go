package topology

import (
	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/conf"
	"github.com/hyperfib/hyperfib/examples/lab/golden"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Public returns the namespace in which hypervisor n has its guests and its uplinks to
// the public networks.
func (top *Topology) Public(n int) *Node {
	if top.Timing.Apart() {
		return top.Nodes[plan.PublicName(n)]
	}
	return top.HV(n)
}

// Namespaces lists the namespaces of hypervisor n.
func (top *Topology) Namespaces(n int) []*Node {
	if top.Timing.Apart() {
		return []*Node{top.HV(n), top.Public(n)}
	}
	return []*Node{top.HV(n)}
}

// Routes reads one of the plan's tables of hypervisor n where it is in this
// variant, without the routes that the kernel makes of addresses.
func (top *Topology) Routes(n int, t golden.Table) ([]nl.Route, error) {
	node := top.HV(n)
	switch {
	case t.ID == plan.TablePublic:
		node = top.Public(n)
	case t.ID == plan.TableLocal && top.Timing.Apart():
		return nil, nil // there is none: main is all that there is
	}
	all, err := node.NL.Routes(t.Family, top.Timing.Table(t.ID))
	kept := all[:0]
	for _, r := range all {
		if r.Proto != unix.RTPROT_KERNEL {
			kept = append(kept, r)
		}
	}
	return kept, err
}

// publicSide makes the namespace of hypervisor n's public side, if it has one.
func (top *Topology) publicSide(n int) (*Node, error) {
	if !top.Timing.Apart() {
		return top.HV(n), nil
	}
	node, err := top.node(plan.PublicName(n))
	if err == nil {
		node.Host = plan.HVName(n)
	}
	return node, err
}

// timingOf is the run's timing as hypervisor n needs it.
func (top *Topology) timingOf(n int) conf.Timing {
	t := top.Timing
	if t.Apart() {
		t.PublicNetNS = top.Public(n).Path
	}
	return t
}
