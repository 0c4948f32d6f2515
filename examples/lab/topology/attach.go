package topology

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// switchName is the node between guests that can move and hypervisors. What a
// hypervisor sees are interfaces that come and go; the guest sees none of it, not
// even a loss of carrier.
const switchName = "switch"

// tap is an interface of a hypervisor that is the end of a guest's interface, inside.
type tap struct {
	name, inside string
	mac          net.HardwareAddr // of the inside
}

// taps lists those of a guest that move with it: with a static overlay only that of the public network does.
func (top *Topology) taps(g plan.Guest) []tap {
	all := []tap{{g.Name, "eth0", g.MAC}}
	if top.Timing.EVPN() {
		all = append(all, tap{g.OverlayTap(), "eth1", g.OverlayMAC()})
	}
	return all
}

func (t tap) port(hv int) string { return fmt.Sprintf("%s.hv%d", t.name, hv) }

// movable makes the switch's part for a guest that can move: a bridge for each of its taps.
func (top *Topology) movable(g plan.Guest) error {
	n := top.Nodes[switchName]
	if n == nil {
		var err error
		if n, err = top.node(switchName); err != nil {
			return err
		}
	}
	for _, t := range top.taps(g) {
		if err := n.NL.AddBridge(t.name, 1500); err != nil {
			return err
		}
		port := t.name + "." + t.inside
		if err := n.NL.AddVeth(nl.Veth{Name: port}, nl.Veth{Name: t.inside, MAC: t.mac}, top.Guest(g).Path); err != nil {
			return err
		}
		if err := n.NL.SetMaster(port, t.name); err != nil {
			return err
		}
		if err := errors.Join(n.NL.SetUp(port, true), n.NL.SetUp(t.name, true)); err != nil {
			return err
		}
	}
	return top.Attach(g, g.HV)
}

// Attach makes a guest's taps appear on a hypervisor. Frames pass once [Topology.Switch]
// says so, if there are taps on another one already.
func (top *Topology) Attach(g plan.Guest, hv int) error {
	n := top.Nodes[switchName].NL
	for _, t := range top.taps(g) {
		if err := n.AddVeth(nl.Veth{Name: t.port(hv)}, nl.Veth{Name: t.name}, top.Public(hv).Path); err != nil {
			return err
		}
		if err := errors.Join(n.SetMaster(t.port(hv), t.name), n.SetUp(t.port(hv), true)); err != nil {
			return err
		}
	}
	return nil
}

// Ready waits until a guest's taps on a hypervisor, which are up,
// carry frames, and stops them from passing.
func (top *Topology) Ready(g plan.Guest, hv int) error {
	n := top.Nodes[switchName].NL
	for _, t := range top.taps(g) {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			l, err := n.Link(t.port(hv))
			if err != nil {
				return err
			}
			if l.Running && l.Port == nl.PortForwarding {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not come up on hypervisor %d", t.name, hv)
			}
		}
		if err := n.SetPortState(t.port(hv), nl.PortDisabled); err != nil {
			return err
		}
	}
	return nil
}

// Switch stops a guest on one hypervisor and resumes it on another: from now on its
// frames take other taps.
func (top *Topology) Switch(g plan.Guest, from, to int) (err error) {
	n := top.Nodes[switchName].NL
	for _, t := range top.taps(g) {
		err = errors.Join(err, n.SetPortState(t.port(from), nl.PortDisabled), n.SetPortState(t.port(to), nl.PortForwarding))
	}
	return err
}

// Detach removes a guest's taps from a hypervisor.
func (top *Topology) Detach(g plan.Guest, hv int) (err error) {
	for _, t := range top.taps(g) {
		err = errors.Join(err, top.Public(hv).NL.DeleteLink(t.name))
	}
	return err
}

// API is the path of the socket at which hypervisor n's hvrouter listens.
func (top *Topology) API(n int) string { return top.file(plan.HVName(n) + ".sock") }
