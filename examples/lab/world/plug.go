package world

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
func (w *World) movable(g plan.Guest) error {
	n := w.Nodes[switchName]
	if n == nil {
		var err error
		if n, err = w.node(switchName); err != nil {
			return err
		}
	}
	if err := n.NL.AddBridge(g.Name, 1500); err != nil {
		return err
	}
	port := g.Name + ".eth0"
	if err := n.NL.AddVeth(nl.Veth{Name: port}, nl.Veth{Name: "eth0", MAC: g.MAC}, w.Guest(g).Path); err != nil {
		return err
	}
	if err := n.NL.SetMaster(port, g.Name); err != nil {
		return err
	}
	return errors.Join(n.NL.SetUp(port, true), n.NL.SetUp(g.Name, true), w.Plug(g, g.HV))
}

func plug(g plan.Guest, hv int) string { return fmt.Sprintf("%s.hv%d", g.Name, hv) }

// Plug makes a guest's tap appear on a hypervisor. Frames pass once [World.Switch]
// says so, if there is a tap on another one already.
func (w *World) Plug(g plan.Guest, hv int) error {
	n, port := w.Nodes[switchName], plug(g, hv)
	if err := n.NL.AddVeth(nl.Veth{Name: port}, nl.Veth{Name: g.Name}, w.Public(hv).Path); err != nil {
		return err
	}
	return errors.Join(n.NL.SetMaster(port, g.Name), n.NL.SetUp(port, true))
}

// Ready waits until a guest's tap on a hypervisor, which somebody has brought up,
// carries frames, and stops them from passing.
func (w *World) Ready(g plan.Guest, hv int) error {
	n := w.Nodes[switchName]
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err := n.NL.Link(plug(g, hv))
		if err != nil {
			return err
		}
		if l.Running && l.Port == nl.PortForwarding {
			return n.NL.SetPortState(plug(g, hv), nl.PortDisabled)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come up on hypervisor %d", g.Name, hv)
		}
	}
}

// Switch stops a guest on one hypervisor and resumes it on another: from now on its
// frames take another tap.
func (w *World) Switch(g plan.Guest, from, to int) error {
	n := w.Nodes[switchName].NL
	return errors.Join(n.SetPortState(plug(g, from), nl.PortDisabled), n.SetPortState(plug(g, to), nl.PortForwarding))
}

// Unplug removes a guest's tap from a hypervisor.
func (w *World) Unplug(g plan.Guest, hv int) error { return w.Public(hv).NL.DeleteLink(g.Name) }

// API is the path of the socket at which hypervisor n's hvrouter listens.
func (w *World) API(n int) string { return w.file(plan.HVName(n) + ".sock") }
