package world

import (
	"slices"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
)

// forwardBack makes a router of the node of a reflector that speaks no BFD, so that
// it sends back what a router addresses to itself by way of it (RFC 9747). It knows
// no routes but those of its own networks. A redirect would be Linux's comment.
func (w *World) forwardBack(f plan.Fabric) error {
	if !w.Timing.Echoes(f) {
		return nil
	}
	settings := []string{"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/all/send_redirects=0"}
	for node, link := range map[string]string{w.reflectorNode(f, false): f.Public(), w.reflectorNode(f, true): f.Private()} {
		if err := sandbox.Sysctl(w.Nodes[node].Path, append(settings, "net/ipv4/conf/"+link+"/send_redirects=0")...); err != nil {
			return err
		}
	}
	return nil
}

// notices says whether a daemon notices that a fabric falls silent: only ours can
// watch a reflector that speaks no BFD.
func (w *World) notices(d *Daemon, f plan.Fabric) bool {
	return w.Timing.Hears(f) || w.Timing.Echoes(f) && d.Kind == Self
}

// Notices says the same of the hypervisors that are named.
func (w *World) Notices(f plan.Fabric, hvs ...int) bool {
	for _, n := range hvs {
		if !w.notices(w.Daemon(plan.HVName(n)), f) {
			return false
		}
	}
	return true
}

// Watched counts the BFD sessions that a daemon shall have.
func (w *World) Watched(d *Daemon) (count int) {
	if d.Sessions == 0 {
		return 0
	}
	sides := w.Timing.Sides()
	each := (d.Sessions + len(w.Timing.IPv4Only)) / len(sides)
	for _, f := range sides {
		if !w.notices(d, f) {
			continue
		}
		count += each
		if slices.Contains(w.Timing.IPv4Only, f) {
			count--
		}
	}
	return count
}
