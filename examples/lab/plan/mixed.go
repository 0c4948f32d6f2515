package plan

import "net/netip"

// Where some hypervisors stay with reflectors and others have top-of-rack routers, a fabric is
// both: its two networks, and its routers. The spines join them. Each has an interface on the
// network of its domain, and is in the reflectors' AS and their client, as the routers at the
// border of the networks were before: it announces to the reflector what it hears from its racks,
// with its own address as next hop, and to its racks what it hears from the reflector. The
// edge router is behind the spines.

// Mixed reports whether that is so.
func (l Lab) Mixed() bool { return l.ToRs() && len(l.Reflected()) > 0 }

// spineAS is the AS of the spines: one of their own, or that of the reflectors.
func (l Lab) spineAS() uint32 {
	if l.Mixed() {
		return AS
	}
	return 65100
}

// SpinePublic4 is the address of a fabric's spine on its public network.
func SpinePublic4(f Fabric) netip.Addr { return v4(198, 51, 100, 100*(int(f)+1)+10) }

// SpinePrivate4 is the address of a fabric's spine on its private network.
func SpinePrivate4(f Fabric) netip.Addr { return v4(172, 22, 15, 100*(int(f)+1)+10) }

// SpinePublic6 is the IPv6 address of a fabric's spine.
func SpinePublic6(f Fabric) netip.Addr { return fabric6(f, 0x10) }

// Pair is the addresses of a session.
type Pair struct{ Local, Peer netip.Addr }

// Border lists the sessions that a router of a routed fabric has with the fabric's reflector.
func (l Lab) Border(r UnderlayRouter) []Pair {
	switch {
	case !l.Mixed() || r.Rack > 0:
		return nil
	case r.Private:
		return []Pair{{SpinePrivate4(r.Fabric), RRPrivate4(r.Fabric)}}
	}
	return []Pair{{SpinePublic4(r.Fabric), RRPublic4(r.Fabric)}, {SpinePublic6(r.Fabric), RRPublic6(r.Fabric)}}
}

// Exit is the router by which what is not on a fabric's public network is reached from there.
func (l Lab) Exit(f Fabric, version int) netip.Addr {
	switch {
	case l.Mixed() && version == 6:
		return SpinePublic6(f)
	case l.Mixed():
		return SpinePublic4(f)
	case version == 6:
		return EdgePublic6(f)
	}
	return EdgePublic4(f)
}

// PrivateHop is the address on a private network of what leads to hypervisor n from there: its own,
// or the spine's.
func (l Lab) PrivateHop(n int, f Fabric) netip.Addr {
	if l.Routed(n) {
		return SpinePrivate4(f)
	}
	return HVPrivate4(n, f)
}
