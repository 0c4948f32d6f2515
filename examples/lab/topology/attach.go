package topology

import (
	"errors"
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// switchName is the node between guests that can move and hypervisors. What a
// hypervisor sees are interfaces that come and go; the guest sees none of it, not
// even a loss of carrier.
const switchName = "switch"

// movable makes the switch's part for a guest that can move: a bridge of its own.
func (top *Topology) movable(g plan.Guest) error {
	n := top.Nodes[switchName]
	if n == nil {
		var err error
		if n, err = top.node(switchName); err != nil {
			return err
		}
	}
	if err := n.NL.AddBridge(g.Name, 1500); err != nil {
		return err
	}
	port := g.Name + ".eth0"
	if err := n.NL.AddVeth(nl.Veth{Name: port}, nl.Veth{Name: "eth0", MAC: g.MAC}, top.Guest(g).Path); err != nil {
		return err
	}
	if err := n.NL.SetMaster(port, g.Name); err != nil {
		return err
	}
	return errors.Join(n.NL.SetUp(port, true), n.NL.SetUp(g.Name, true), top.Attach(g, g.HV))
}

func tapPort(g plan.Guest, hv int) string { return fmt.Sprintf("%s.hv%d", g.Name, hv) }

// Attach makes a guest's tap appear on a hypervisor. Frames pass once [Topology.Switch]
// says so, if there is a tap on another one already.
func (top *Topology) Attach(g plan.Guest, hv int) error {
	n, port := top.Nodes[switchName], tapPort(g, hv)
	if err := n.NL.AddVeth(nl.Veth{Name: port}, nl.Veth{Name: g.Name}, top.Public(hv).Path); err != nil {
		return err
	}
	return errors.Join(n.NL.SetMaster(port, g.Name), n.NL.SetUp(port, true))
}

// Ready waits until a guest's tap on a hypervisor, which somebody has brought up,
// carries frames, and stops them from passing.
func (top *Topology) Ready(g plan.Guest, hv int) error {
	n := top.Nodes[switchName]
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := n.NL.Link(tapPort(g, hv))
		if err != nil {
			return err
		}
		if l.Running && l.Port == nl.PortForwarding {
			return n.NL.SetPortState(tapPort(g, hv), nl.PortDisabled)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come up on hypervisor %d", g.Name, hv)
		}
	}
}

// Switch stops a guest on one hypervisor and resumes it on another: from now on its
// frames take another tap.
func (top *Topology) Switch(g plan.Guest, from, to int) error {
	n := top.Nodes[switchName].NL
	return errors.Join(n.SetPortState(tapPort(g, from), nl.PortDisabled), n.SetPortState(tapPort(g, to), nl.PortForwarding))
}

// Detach removes a guest's tap from a hypervisor.
func (top *Topology) Detach(g plan.Guest, hv int) error { return top.Public(hv).NL.DeleteLink(g.Name) }

// API is the path of the socket at which hypervisor n's hvrouter listens.
func (top *Topology) API(n int) string { return top.file(plan.HVName(n) + ".sock") }
