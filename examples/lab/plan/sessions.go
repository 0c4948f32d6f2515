package plan

import "net/netip"

// Shared reports whether sessions carry both domains, told apart by communities.
func (v Variant) Shared() bool {
	return v.Is("sessions", SessionsCommunities) || v.Is("sessions", SessionsOne)
}

// OneSided reports whether all sessions run over fabric A and announce next hops on
// both.
func (v Variant) OneSided() bool {
	return v.Is("sessions", SessionsSingle) || v.Is("sessions", SessionsOne)
}

// Sides lists the fabrics that sessions run over.
func (v Variant) Sides() []Fabric {
	if v.OneSided() {
		return Fabrics[:1]
	}
	return Fabrics
}

// HVSessions counts the sessions of a hypervisor: two families in public and one in
// private, on two fabrics, unless they share.
func (l Lab) HVSessions(hv int) int {
	switch n := len(l.Sides()); {
	case l.Shared():
		return n
	case l.Routed(hv): // both families share one, without addresses
		return 2 * n
	case l.Is("sessions", SessionsMP):
		return 2 * n
	default:
		return 3 * n
	}
}

// EdgeSessions counts those of the edge router, which has no private ones.
func (l Lab) EdgeSessions() int {
	if l.ToRs() {
		return len(l.Sides())
	}
	return 2 * len(l.Sides())
}

// PrivateGateway is the next hop of the private network's default route on a fabric.
// No node has it: it is there to be told from the public one.
func PrivateGateway(f Fabric) netip.Addr {
	if f == A {
		return v4(172, 22, 15, 1)
	}
	return v4(172, 22, 15, 254)
}
