package rib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// Policy decides on a path on its way into or out of the table, and may change its
// attributes through the setters of [Route]. It is called with the table locked: it
// must be quick, must not call the table, and must not keep the Route.
//
// It must be a pure function of the Route: export calls it once for all peers that
// share an update group, which are those with the same Policy value among other
// things. A policy that is to do something else from now on is a new Policy value.
type Policy func(*Route) Verdict

// Verdict is what a policy says.
type Verdict uint8

const (
	// VerdictNext is no opinion: the next policy of a [Chain] decides. At the end it
	// means VerdictAccept.
	VerdictNext Verdict = iota
	// VerdictAccept takes the path, as changed so far.
	VerdictAccept
	// VerdictReject refuses it.
	VerdictReject
)

// String returns "next", "accept" or "reject".
func (v Verdict) String() string {
	return enum.String("Verdict", []string{"next", "accept", "reject"}, v)
}

// Route is a path under the eyes of a policy. Reading it allocates nothing.
type Route struct {
	// Family is that of Prefix, or Key.
	Family wire.Family
	// Prefix is the destination; the zero Prefix of what has a Key.
	Prefix netip.Prefix
	// Key names an EVPN route, whose type is its first octet, or a route target membership
	// ([wire.MembershipOfKey]): see [wire.Keyed], and Family. Empty otherwise. It
	// is good as long as the Route.
	Key []byte
	// PathID is the path identifier as received (RFC 7911, Section 3), 0 without ADD-PATH.
	PathID uint32

	t    *Table // the table
	from *In    // the peer that the path comes from
	root attrID // what the attributes were before any change
	attr attrID // with a reference
	why  Reason // why it is refused, if it is
}

// begin prepares the table's Route for a policy. It takes a reference on attr, which the code that
// ends up with r.attr owns. The attributes were made of root, on which the caller has a
// reference.
func (t *Table) begin(from *In, n *name, root, attr attrID) *Route {
	r := &t.route
	r.t, r.from, r.Family, r.Prefix, r.PathID, r.root, r.why = t, from, families[n.family()], n.Prefix, n.PathID, root, ReasonRejected
	r.Key = append(r.Key[:0], n.key...)
	r.attr = t.attrs.retain(attr)
	return r
}

// Attrs returns the attributes, with the changes made so far.
func (r *Route) Attrs() Attrs { return r.t.attrs.view(r.attr) }

// NextHop returns the next hop, the zero Addr if each session uses its own address.
func (r *Route) NextHop() netip.Addr { return r.Attrs().NextHop().Addr }

// Local reports whether the path was originated here.
func (r *Route) Local() bool { return r.from.no == localPeer }

// Peer returns the address of the peer that the path comes from, the zero Addr for a local
// path.
func (r *Route) Peer() netip.Addr { return r.from.addr }

// PeerAS returns the AS of the peer that the path comes from, our own for a local path.
func (r *Route) PeerAS() uint32 {
	if r.Local() {
		return r.t.as
	}
	return r.from.as
}

// External reports whether the path comes from an eBGP peer.
func (r *Route) External() bool { return r.from.external }

// Client reports whether the path comes from a route reflection client.
func (r *Route) Client() bool { return r.from.client }

// LocalPref returns LOCAL_PREF, 100 if there is none.
func (r *Route) LocalPref() uint32 { return r.t.attrs.sum(r.attr).localPref }

// MED returns MULTI_EXIT_DISC, 0 if there is none.
func (r *Route) MED() uint32 { return r.t.attrs.sum(r.attr).med }

// ASPath returns AS_PATH.
func (r *Route) ASPath() wire.ASPath { return r.Attrs().ASPath() }

// HasCommunity reports whether c is among the standard communities.
func (r *Route) HasCommunity(c wire.Community) bool { return r.Attrs().Communities().Contains(c) }

// HasExtCommunity reports whether c is among the extended communities.
func (r *Route) HasExtCommunity(c wire.ExtCommunity) bool {
	return r.Attrs().ExtCommunities().Contains(c)
}

// HasLargeCommunity reports whether c is among the large communities.
func (r *Route) HasLargeCommunity(c wire.LargeCommunity) bool {
	return r.Attrs().LargeCommunities().Contains(c)
}

// Refuse sets the reason that is counted for the path and returns VerdictReject.
func (r *Route) Refuse(why Reason) Verdict {
	if why < reasons {
		r.why = why
	}
	return VerdictReject
}

// set replaces the attributes; it takes over the reference on attr.
func (r *Route) set(attr attrID) {
	r.t.attrs.release(r.attr)
	r.attr = attr
}

// SetLocalPref sets LOCAL_PREF.
func (r *Route) SetLocalPref(v uint32) {
	r.set(r.t.attrs.setUint32(r.root, r.attr, wire.AttrLocalPref, v))
}

// SetMED sets MULTI_EXIT_DISC.
func (r *Route) SetMED(v uint32) { r.set(r.t.attrs.setUint32(r.root, r.attr, wire.AttrMED, v)) }

// DeleteMED removes MULTI_EXIT_DISC.
func (r *Route) DeleteMED() { r.set(r.t.attrs.delete(r.root, r.attr, wire.AttrMED)) }

// SetNextHop sets the next hop. On export, the zero NextHop means the session's local
// address.
func (r *Route) SetNextHop(n wire.NextHop) { r.set(r.t.attrs.setNextHop(r.root, r.attr, n)) }

// AddCommunity adds a standard community unless it is there.
func (r *Route) AddCommunity(c wire.Community) { r.set(r.t.attrs.addCommunity(r.root, r.attr, c)) }

// DeleteCommunity removes a standard community.
func (r *Route) DeleteCommunity(c wire.Community) {
	r.set(r.t.attrs.editList(r.root, r.attr, false, wire.AttrCommunities, community(c)))
}

// ClearCommunities removes all standard communities.
func (r *Route) ClearCommunities() { r.set(r.t.attrs.delete(r.root, r.attr, wire.AttrCommunities)) }

// AddExtCommunity adds an extended community unless it is there.
func (r *Route) AddExtCommunity(c wire.ExtCommunity) {
	r.set(r.t.attrs.editList(r.root, r.attr, true, wire.AttrExtCommunities, extCommunity(c)))
}

// DeleteExtCommunity removes an extended community.
func (r *Route) DeleteExtCommunity(c wire.ExtCommunity) {
	r.set(r.t.attrs.editList(r.root, r.attr, false, wire.AttrExtCommunities, extCommunity(c)))
}

// LinkBandwidth returns the link bandwidth, in octets per second; 0 if there is none.
func (r *Route) LinkBandwidth() float32 { return linkBandwidth(r.Attrs()) }

// SetLinkBandwidth replaces all link bandwidth communities by one with our AS number and a number of
// octets per second; what is not positive and finite removes them.
func (r *Route) SetLinkBandwidth(octets float32) {
	c := wire.LinkBandwidth(r.t.as, octets)
	if _, ok := c.LinkBandwidth(); !ok {
		c = 0
	}
	r.set(r.t.attrs.setBandwidth(r.root, r.attr, c))
}

// AddLargeCommunity adds a large community unless it is there.
func (r *Route) AddLargeCommunity(c wire.LargeCommunity) {
	r.set(r.t.attrs.editList(r.root, r.attr, true, wire.AttrLargeCommunities, largeCommunity(c)))
}

// DeleteLargeCommunity removes a large community.
func (r *Route) DeleteLargeCommunity(c wire.LargeCommunity) {
	r.set(r.t.attrs.editList(r.root, r.attr, false, wire.AttrLargeCommunities, largeCommunity(c)))
}

// Prepend puts as in front of AS_PATH n times, at most 255.
func (r *Route) Prepend(as uint32, n uint8) { r.set(r.t.attrs.prepend(r.root, r.attr, as, int(n))) }
