package world

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
	model "github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// What a machine says of itself to its peers is true.

// controlIndependent is the C bit in the second octet of a BFD control packet (RFC 5880, Section
// 4.1).
const controlIndependent = 0x08

// saysBFD looks at a packet that a node sends: the C bit says that BFD does not share the fate of
// the control plane, which is so for a process of its own.
func (n *bfdNode) saysBFD(payload []byte) {
	own := n.process.machine.hypervisor != nil
	if got := payload[1]&controlIndependent != 0; got != own {
		n.w.violate("what a peer is told is true", "%s: the C bit of BFD is %v", n.process.machine.name, got)
	}
}

// saysOpen looks at the first message of a connection: the F bit of a daemon that has restarted
// says that the kernel still had routes of the family (RFC 4724, Section 3).
func (e *end) saysOpen(b []byte) {
	h := e.port.machine.hypervisor
	if e.opened || h == nil {
		return
	}
	e.opened = true
	head, err := wire.ParseHeader(b, wire.MaxLen)
	if err != nil || head.Type != wire.TypeOpen {
		return
	}
	open, err := wire.ParseOpen(b[wire.HeaderLen:head.Len])
	if err != nil || open.Capabilities.GracefulRestart == nil || !open.Capabilities.GracefulRestart.Restarting {
		return
	}
	for _, f := range open.Capabilities.GracefulRestart.Families {
		if f.ForwardingPreserved && !slices.Contains(h.preserved, f.Family) {
			e.w.violate("what a peer is told is true", "%s: the F bit of %v is set, and the kernel had no route of it when the daemon began", h.name, f.Family)
		}
	}
}

// families returns the families of which the kernel has routes of ours that forward.
func (h *hypervisor) families() (list []wire.Family) {
	for _, r := range h.kernel.Routes() {
		f := wire.IPv4Unicast
		if r.Family == model.FamilyIPv6 {
			f = wire.IPv6Unicast
		}
		if r.Protocol == protocol && r.Type == model.RouteUnicast && !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	return list
}

// failed does what the BFD process asks of the kernel. A next-hop object takes the routes with it
// that have no other: none goes.
func (h *hypervisor) failed(do func()) {
	before := h.gone
	do()
	if n := h.gone - before; n > 0 {
		h.w.violate("BFD takes next hops away, no route", "%s: %d are gone", h.name, n)
	}
}

// countGone counts the routes of ours that a kernel has lost.
func (h *hypervisor) countGone(c *fakekernel.Change) {
	if c.OldRoute != nil && c.NewRoute == nil && c.OldRoute.Protocol == protocol {
		h.gone++
	}
}
