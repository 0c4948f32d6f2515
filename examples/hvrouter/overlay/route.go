package overlay

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"unique"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// MAC is an Ethernet address.
type MAC = evpn.MAC

// Route is what a route of another VTEP says.
type Route struct {
	evpn.Route
	VTEP     netip.Addr // where frames go: the next hop, or the end of the tunnel of type 3
	Targets  Targets
	Mobility evpn.Mobility
	Peer     netip.Addr // that it came from
	Why      string     // why it is of no use, "" if it may be
}

// Targets is a set of route targets. It is comparable, and equal ones share their memory: the routes of one UPDATE have
// the same, which may be thousands. The zero value has none.
type Targets struct{ octets unique.Handle[string] }

// TargetsOf returns the set of these, which may be in any order and come twice.
func TargetsOf(list ...wire.ExtCommunity) (t Targets) {
	if len(list) == 0 {
		return t
	}
	list = slices.Clone(list)
	slices.Sort(list)
	b := make([]byte, 0, 8*len(list))
	for _, c := range slices.Compact(list) {
		b = binary.BigEndian.AppendUint64(b, uint64(c))
	}
	return Targets{unique.Make(string(b))}
}

// All iterates over them, in order.
func (t Targets) All() iter.Seq[wire.ExtCommunity] {
	return func(yield func(wire.ExtCommunity) bool) {
		if t == (Targets{}) {
			return
		}
		for s := t.octets.Value(); s != ""; s = s[8:] {
			if !yield(wire.ExtCommunity(binary.BigEndian.Uint64([]byte(s[:8])))) {
				return
			}
		}
	}
}

// Parse returns what the best of the paths says that did not originate here; ok is false if there is
// none, or if it is of a type that is not imported.
func Parse(c *rib.Change) (r Route, ok bool) {
	for i := range c.Paths {
		p := &c.Paths[i]
		if p.Local {
			continue
		}
		route, err := evpn.Parse(p.Attrs.EVPN(c.Key).Octets)
		if err != nil || route.Type != evpn.TypeMACIP && route.Type != evpn.TypeMulticast {
			return r, false
		}
		r = Route{Route: route, VTEP: p.NextHop.Addr, Peer: p.Peer}
		r.attributes(p.Attrs)
		return r, true
	}
	return r, false
}

// attributes reads what is beside the NLRI.
func (r *Route) attributes(a rib.Attrs) {
	// Without the community the encapsulation is what is configured (RFC 8365, Section 5.1.3): VXLAN.
	said, vxlan := false, false
	var targets []wire.ExtCommunity
	for c := range a.ExtCommunities().All() {
		if evpn.IsRouteTarget(c) {
			targets = append(targets, c)
		}
		if t, ok := evpn.EncapsulationOf(c); ok {
			said, vxlan = true, vxlan || t == evpn.TunnelVXLAN
		}
		// Communities have no order: of several the highest counts, and one that is sticky.
		if m, ok := evpn.MobilityOf(c); ok {
			r.Mobility = evpn.Mobility{Sequence: max(r.Mobility.Sequence, m.Sequence), Sticky: r.Mobility.Sticky || m.Sticky}
		}
	}
	r.Targets = TargetsOf(targets...)
	switch {
	case said && !vxlan:
		r.Why = "it is not for VXLAN"
	case r.EthernetTag != 0:
		r.Why = "it has an Ethernet tag"
	case r.Type == evpn.TypeMulticast:
		v, _ := a.Get(wire.AttrPMSITunnel)
		switch p, ok := evpn.ParsePMSI(v); {
		case !ok || p.Kind != evpn.IngressReplication:
			r.Why = "it has no tunnel with ingress replication"
		default:
			r.Label, r.VTEP = p.Label, p.Endpoint
		}
	}
}

// unusable returns why no kernel should have what the route says, "" if it may: a VTEP, MAC or address that no host
// can have. An IPv6 address that is mapped from IPv4 would be an IPv4 address in the kernel's tables, which another guest
// may have.
func (r *Route) unusable() string {
	switch {
	case !host(r.VTEP) || r.VTEP.Is6() && r.VTEP.IsLinkLocalUnicast():
		return "its VTEP is not the address of a host"
	case r.Type != evpn.TypeMACIP:
	case r.MAC[0]&1 != 0 || r.MAC == MAC{}:
		return "its MAC is not that of a host"
	case r.IP.IsValid() && !host(r.IP):
		return "its address is not that of a host"
	}
	return ""
}

// host reports whether a is what one host, and not this one alone, can have.
func host(a netip.Addr) bool {
	switch {
	case !a.IsValid() || a.IsMulticast() || a.IsLoopback() || a.Is4In6() || a.IsUnspecified():
		return false
	case a.Is4():
		b := a.As4()
		return b[0] != 0 && b != [4]byte{255, 255, 255, 255}
	}
	return true
}

// beats reports whether r says where a MAC is rather than o does.
func (r *Route) beats(o *Route) bool {
	return better(r.Mobility, r.VTEP, o.Mobility, o.VTEP)
}

// better compares two claims of a MAC: the higher sequence number wins, of equal ones the lower
// address (RFC 7432, Section 15). One that does not move is not taken over (Section 15.2).
func better(a evpn.Mobility, at netip.Addr, b evpn.Mobility, bt netip.Addr) bool {
	switch {
	case a.Sticky != b.Sticky:
		return a.Sticky
	case a.Sequence != b.Sequence:
		return a.Sequence > b.Sequence
	}
	return at.Less(bt)
}

// Origin is a route of ours.
type Origin struct {
	evpn.Route
	VTEP    netip.Addr
	Targets []wire.ExtCommunity
	// Mobility is announced if the sequence number is not 0.
	Mobility evpn.Mobility
	// LastChoice: it is announced with GRACEFUL_SHUTDOWN and the local preference 0 (RFC 8326, Section 4).
	LastChoice bool
}

// Path returns it as a speaker originates it.
func (o *Origin) Path() (p rib.LocalPath, err error) {
	p.EVPN, err = o.AppendBinary(nil)
	p.NextHop = wire.NextHop{Addr: o.VTEP}
	p.Attrs.ExtCommunities = append(p.Attrs.ExtCommunities, o.Targets...)
	p.Attrs.ExtCommunities = append(p.Attrs.ExtCommunities, evpn.Encapsulation(evpn.TunnelVXLAN))
	if o.Mobility != (evpn.Mobility{}) {
		p.Attrs.ExtCommunities = append(p.Attrs.ExtCommunities, o.Mobility.Community())
	}
	if o.LastChoice {
		p.Attrs.LocalPref = new(uint32)
		p.Attrs.Communities = []wire.Community{wire.CommunityGracefulShutdown}
	}
	if o.Type == evpn.TypeMulticast {
		tunnel := evpn.PMSI{Kind: evpn.IngressReplication, Label: o.Label, Endpoint: o.VTEP}
		p.Attrs.Other = []wire.Attr{{Flags: wire.FlagOptional | wire.FlagTransitive, Type: wire.AttrPMSITunnel, Value: tunnel.AppendBinary(nil)}}
	}
	return p, err
}
