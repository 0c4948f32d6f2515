package topology

import (
	"slices"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// forwardBack makes a router of the node of a reflector that speaks no BFD, so that
// it sends back what a router addresses to itself by way of it (RFC 9747, Section 2). It knows
// no routes but those of its own networks. A redirect would be Linux's comment.
func (top *Topology) forwardBack(f plan.Fabric) error {
	if !top.Timing.Echoes(f) {
		return nil
	}
	settings := []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/all/send_redirects=0"}
	for node, link := range map[string]string{top.reflectorNode(f, false): f.Public(), top.reflectorNode(f, true): f.Private()} {
		if err := sandbox.Sysctl(top.Nodes[node].Path, append(settings, "net/ipv4/conf/"+link+"/send_redirects=0")...); err != nil {
			return err
		}
	}
	return nil
}

// notices reports whether a daemon notices that a fabric falls silent: only ours can
// watch a reflector that speaks no BFD.
func (top *Topology) notices(d *Daemon, f plan.Fabric) bool {
	return top.Timing.SpeaksBFD(f) || top.Timing.Echoes(f) && d.Kind == Self
}

// Notices says the same of the hypervisors that are named.
func (top *Topology) Notices(f plan.Fabric, hvs ...int) bool {
	for _, n := range hvs {
		if !top.notices(top.Daemon(plan.HVName(n)), f) {
			return false
		}
	}
	return true
}

// Watched counts the BFD sessions that a daemon shall have.
func (top *Topology) Watched(d *Daemon) (count int) {
	if d.Sessions == 0 {
		return 0
	}
	adjacencies := top.Timing.Adjacencies(d.Node.Name)
	for _, a := range adjacencies {
		if top.notices(d, a.Fabric) {
			count++
		}
	}
	numbered := d.Sessions - len(adjacencies)
	if numbered == 0 {
		return count
	}
	sides := top.Timing.Sides()
	if len(adjacencies) > 0 { // a spine, which has one fabric
		sides = []plan.Fabric{adjacencies[0].Fabric}
	}
	each := (numbered + len(top.Timing.IPv4Only)) / len(sides)
	for _, f := range sides {
		if !top.notices(d, f) {
			continue
		}
		count += each
		if slices.Contains(top.Timing.IPv4Only, f) {
			count--
		}
	}
	return count
}
