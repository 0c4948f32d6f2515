package topology

import (
	"slices"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Other people's route reflectors, from Debian's packages. They take only that
// role.
const (
	Bird1 Kind = "bird1" // BIRD 1.6
	FRR   Kind = "frr"
	// GoBGP takes clients by range, [GoBGPNamed] is told their names: only then does it
	// send them more than one path of a prefix.
	GoBGP      Kind = "gobgp"
	GoBGPNamed Kind = "gobgp-named"
	OpenBGPD   Kind = "openbgpd"
	// Quagga is FRR with what Quagga had: no ADD-PATH, no BFD, clients by
	// name, and IPv4 alone.
	Quagga Kind = "quagga"
	// Junos is a program of ours that shares nothing but the codec with
	// our speaker: see package junos.
	Junos Kind = "junos"
)

// Kinds lists who can take any role, and who that of a reflector or a top-of-rack router.
var (
	Kinds          = []Kind{Self, Bird}
	ReflectorKinds = []Kind{Self, Bird, Bird1, FRR, GoBGP, GoBGPNamed, OpenBGPD, Quagga, Junos}
	// TorKinds can be top-of-rack routers.
	TorKinds = []Kind{Self, Bird, FRR}
)

// NoTor says why a program that is known otherwise cannot be a top-of-rack router, "" if it can or is none that is known.
func (k Kind) NoTor() string {
	if k == GoBGP || k == GoBGPNamed {
		return "GoBGP 3.10 forwards no packets itself, sends no router advertisements and has no BFD; with neighbor-interface its neighbour is the one of its start, whatever address comes later: it can play no act of a router"
	}
	return ""
}

// BFD reports whether this kind of reflector speaks BFD.
func (k Kind) BFD() bool {
	return k != GoBGP && k != GoBGPNamed && k != OpenBGPD && k != Quagga
}

// Flushes reports whether this kind of reflector withdraws the routes of a client whose
// daemon is away when BFD says that the client is gone. FRR's bgpd does not listen to
// bfdd while it waits for a client to come back.
func (k Kind) Flushes() bool { return k.BFD() && k != FRR }

// KeepsHold reports whether this kind takes an expired hold timer for the beginning of a
// restart (RFC 8538, Section 4), so that without BFD the routes of a client that is gone
// stay for the hold time and the restart time.
func (k Kind) KeepsHold() bool { return k != Bird && k != Bird1 && k != OpenBGPD }

// EVPN reports whether it reflects EVPN.
func (k Kind) EVPN() bool { return k == Self || k == FRR || k == GoBGP || k == GoBGPNamed }

// IPv6 reports whether it carries IPv6.
func (k Kind) IPv6() bool { return k != Quagga }

// AddPath reports whether it sends the lab's clients every copy of a prefix.
func (k Kind) AddPath() bool { return k.LacksAddPath() == "" }

// LacksAddPath says why it does not, if so.
func (k Kind) LacksAddPath() string {
	switch k {
	case GoBGP:
		return "GoBGP has ADD-PATH for named neighbours (-rr gobgp-named), not for dynamic ones"
	case Quagga:
		return "no ADD-PATH"
	}
	return ""
}

// apart reports whether two processes of this kind cannot share a network namespace:
// their BFD listens on every address.
func (k Kind) apart() bool { return k == FRR || k == Bird1 }

// neighbors lists the programs that hypervisors have sessions with on a fabric.
func (top *Topology) neighbors(f plan.Fabric) (out []Kind) {
	if len(top.Timing.Reflected()) > 0 {
		out = append(out, top.RRKind(f))
	}
	if top.Timing.ToRs() {
		out = append(out, top.TorKind(f))
	}
	return out
}

// Lacking returns the fabrics whose reflector, or top-of-rack routers, lack something.
func (top *Topology) Lacking(has func(Kind) bool) []plan.Fabric {
	return slices.DeleteFunc(slices.Clone(plan.Fabrics), func(f plan.Fabric) bool {
		return !slices.ContainsFunc(top.neighbors(f), func(k Kind) bool { return !has(k) })
	})
}

// sites lists the fabrics with a reflector of their own.
func (top *Topology) sites() []plan.Fabric {
	if len(top.Timing.Reflected()) == 0 {
		return nil
	}
	if top.Timing.OneReflector {
		return plan.Fabrics[:1]
	}
	return plan.Fabrics
}

// site is a reflector's node, which both fabrics may share.
func (top *Topology) site(name string) (*Node, error) {
	if n := top.Nodes[name]; n != nil {
		return n, nil
	}
	return top.node(name)
}

// reflectorNode is the name of the node on which a reflector process runs.
func (top *Topology) reflectorNode(f plan.Fabric, private bool) string {
	if top.Timing.OneReflector {
		f = plan.A
	}
	if private && top.RRKind(f).apart() && !top.Timing.Shared() {
		return plan.RRName(f) + "p"
	}
	return plan.RRName(f)
}
