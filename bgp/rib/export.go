package rib

import (
	"encoding/binary"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// exported returns the attribute set, with a reference, with which a path goes out to the
// group, 0 if it does not:
//
//   - what has moved goes to nobody: see hideMoved;
//   - NO_ADVERTISE goes to no peer, NO_EXPORT to no other AS (RFC 1997, "Well-known
//     Communities");
//   - what an iBGP peer sent goes to other iBGP peers only by reflection: from clients to
//     all, from others to clients (RFC 4456, Section 6); a membership goes back to the client that
//     sent it as well: see returns;
//   - of memberships, none but the default one goes to a peer that is to have that alone;
//   - long-lived stale paths go to peers that know of such (RFC 9494, Section 4.3);
//   - what has OTC goes to no provider, peer or route server (RFC 9234, Section 5);
//   - then base makes of the attributes what the peer's kind requires, the policy has
//     its say, and the next hop is filled in.
func (g *group) exported(id destID, p *path) attrID {
	t := g.t
	in := t.peers[p.peer]
	if p.flags&pathMoved != 0 || g.key.defaultOnly && familyAt(id) == constraintFamily && !defaultMembership(t.key(id)) {
		return 0
	}
	if !g.may(in, t.attrs.sum(p.attr)) {
		return 0
	}
	return g.shaped(id, in, p.attr, p.id, g.export)
}

// shaped returns, with a reference, what base, a policy and sendable make of the attributes of a path of a peer, 0 if
// that is nothing.
func (g *group) shaped(id destID, in *In, root attrID, pathID uint32, policy Policy) attrID {
	t := g.t
	attr := g.baseAttrs(in, root, id)
	if attr == 0 {
		return 0
	}
	if policy != nil {
		n := name{wire.NLRI{Prefix: t.prefix(id), PathID: pathID}, t.key(id), familyAt(id)}
		r := t.begin(in, &n, root, attr)
		verdict := policy(r)
		t.attrs.release(attr)
		attr = r.attr
		if verdict == VerdictReject {
			t.attrs.release(attr)
			return 0
		}
	}
	return g.sendable(id, in, root, attr)
}

// defaultMembership reports whether a key is that of the default route target.
func defaultMembership(key []byte) bool {
	m, ok := wire.MembershipOfKey(key)
	return ok && m == wire.Membership{}
}

// may reports whether paths of a peer with such attributes go out to the group at all.
func (g *group) may(in *In, s *summary) bool {
	switch {
	case s.marks&markNoAdvertise != 0:
		return false
	case s.marks&markNoExport != 0 && g.key.external:
		return false
	case s.marks&markOTC != 0 && upOrAcross(g.key.ebgp.role):
		// RFC 9234, Section 5: "If a route already contains the OTC Attribute, it MUST NOT be
		// propagated to Providers, Peers, or RSes."
		return false
	case s.marks&markLLGRStale != 0 && !g.key.longLived:
		// RFC 9494, Section 4.3: "The route SHOULD NOT be advertised to any neighbor from which
		// the [capability] has not been received."
		return false
	}
	return in.no == localPeer || in.external || g.key.external || in.client || g.key.client
}

// returns reports whether paths to a destination go to all members of the group, to the one that they came
// from, too. RFC 4684, Section 3.2, has the ORIGINATOR_ID of a membership that goes to a client set to our
// identifier, so "that the originator of an RT membership NLRI does not drop an RT membership NLRI that is
// reflected back to it, thus allowing the route reflector to use this RT membership NLRI in order to
// signal the client that it should distribute VPN routes with the specific target towards the reflector":
// it may be that others, whose paths are not best, want them as well.
func (g *group) returns(id destID) bool { return g.key.client && familyAt(id) == constraintFamily }

// bestFor returns the path to a destination that the group is sent without ADD-PATH, 0 if there is none: the
// best one. RFC 4684, Section 3.2, of a membership that goes to an iBGP peer who is no client: "if the best path
// [...] is a route received from a non-client peer, and if there is an alternative path to the same destination
// from a client, the attributes of the client path are advertised to the peer", which hears nothing of the
// clients' interest otherwise.
func (g *group) bestFor(id destID, d *dest) uint32 {
	t := g.t
	if familyAt(id) != constraintFamily || g.key.client || g.key.external {
		return t.best(d)
	}
	w := t.walk(d)
	for {
		at := w.next()
		if at == 0 {
			return 0
		}
		if p := t.paths.at(at); p.flags&pathMoved == 0 && g.may(t.peers[p.peer], t.attrs.sum(p.attr)) {
			return at
		}
	}
}

// baseAttrs returns the set that the kind of the peer makes of another, for a destination. The next hop of
// an EVPN route is the end of a tunnel, and not ours unless we have said so; that of a membership is ours for a
// client (RFC 4684, Section 3.2).
func (g *group) baseAttrs(in *In, attr attrID, id destID) attrID {
	reflected := in.no != localPeer && !in.external && !g.key.external
	evpn, returns := familyAt(id) == evpnFamily, g.returns(id)
	self := g.key.self && !evpn || returns
	if !reflected && !g.key.external && !self {
		a := g.t.attrs.view(attr)
		if _, ok := a.LocalPref(); ok && (in.no == localPeer || len(a.nextHop()) <= 16) {
			return g.t.attrs.retain(attr)
		}
	}
	var arg [16]byte
	binary.BigEndian.PutUint32(arg[:], in.routerID)
	arg[4], arg[5], arg[6] = truth(reflected), truth(in.no == localPeer), truth(in.external)
	arg[7], arg[8] = truth(g.key.self && evpn), truth(returns)
	return g.t.attrs.change(attr, attr, op{opExport, g.who}, arg, func(dst []byte, from Attrs) ([]byte, int) {
		dst = g.appendBase(dst, from, in, reflected, returns)
		n := len(dst)
		nh := from.nextHop()
		switch {
		case self && !g.keepsNextHop(from):
			nh = nil
		case in.no == localPeer:
		default: // without a link-local address, which is good on its own link only (RFC 2545, Section 2)
			nh = nh[:min(len(nh), 16)]
		}
		return appendTailOctets(dst, nh), n
	})
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendBase appends to dst the attributes that go out to the kind of the group's peers, to all of them if
// returns is set.
func (g *group) appendBase(dst []byte, from Attrs, in *In, reflected, returns bool) []byte {
	edits := make([]wire.Edit, 0, 8)
	set := func(typ wire.AttrType, v []byte) { edits = append(edits, wire.Edit{Attr: wire.NewAttr(typ, v)}) }
	del := func(typ wire.AttrType) {
		edits = append(edits, wire.Edit{Attr: wire.Attr{Type: typ}, Delete: true})
	}
	switch {
	case g.key.external:
		set(wire.AttrASPath, g.sentPath(from.ASPath()))
		// RFC 4271, Section 5.1.4: "The MULTI_EXIT_DISC attribute received from a neighboring
		// AS MUST NOT be propagated to other neighboring ASes."
		if in.no != localPeer {
			del(wire.AttrMED)
		}
		// RFC 4271, Section 5.1.5: "A BGP speaker MUST NOT include this attribute in UPDATE
		// messages it sends to external peers".
		del(wire.AttrLocalPref)
		del(wire.AttrOriginatorID)
		del(wire.AttrClusterList)
		// Extended communities that are not transitive end at the border of the AS (RFC 4360,
		// Section 6). What is originated here, or added by the export policy, is for the peer itself.
		if list, some := transitive(from); some && in.no != localPeer {
			edits = append(edits, wire.Edit{Attr: wire.NewAttr(wire.AttrExtCommunities, list), Delete: len(list) == 0})
		}
		// RFC 9234, Section 5: "If a route is to be advertised to a Customer, a Peer, or an
		// RS-Client (when the sender is an RS), and the OTC Attribute is not present, then when
		// advertising the route, an OTC Attribute MUST be added with a value equal to the AS number
		// of the local AS."
		if _, ok := from.OnlyToCustomer(); !ok && downOrAcross(g.key.ebgp.role) {
			set(wire.AttrOnlyToCustomer, binary.BigEndian.AppendUint32(nil, g.as()))
		}
	default:
		if _, ok := from.LocalPref(); !ok { // RFC 4271, Section 5.1.5
			set(wire.AttrLocalPref, binary.BigEndian.AppendUint32(nil, defaultLocalPref))
		}
		// RFC 4456, Section 8: "A BGP speaker SHOULD NOT create an ORIGINATOR_ID attribute if
		// one already exists." "When an RR reflects a route, it MUST prepend the local
		// CLUSTER_ID to the CLUSTER_LIST."
		if reflected {
			switch _, ok := from.OriginatorID(); {
			case returns:
				set(wire.AttrOriginatorID, binary.BigEndian.AppendUint32(nil, g.t.routerID))
			case !ok:
				set(wire.AttrOriginatorID, binary.BigEndian.AppendUint32(nil, in.routerID))
			}
			set(wire.AttrClusterList, append(binary.BigEndian.AppendUint32(nil, g.t.clusterID), from.ClusterList()...))
		}
	}
	return from.AppendEdited(dst, edits...)
}

// transitive returns the extended communities that go on to other ASes; some reports whether there
// are others.
func transitive(a Attrs) (list []byte, some bool) {
	for c := range a.ExtCommunities().All() {
		if some = some || !c.Transitive(); c.Transitive() {
			list = append(list, extCommunity(c)...)
		}
	}
	return list, some
}

// sendable fills in the next hop of attributes that were made of root, a path of in, and returns 0,
// without the reference, for a set that cannot be sent to the group in the family of id. A link-local
// address alone leads a peer on another link nowhere (RFC 2545, Section 3): only our own goes out,
// on the link of the session, and what is originated with one.
func (g *group) sendable(id destID, in *In, root, attr attrID) attrID {
	t := g.t
	a := t.attrs.view(attr)
	own := g.ownNextHop(familyAt(id))
	nextHop := a.nextHop()
	if len(nextHop) == 0 {
		if own.Addr.IsValid() {
			with := t.attrs.change(root, attr, op{opOwnNextHop, g.who}, [16]byte{byte(familyAt(id))}, func(dst []byte, from Attrs) ([]byte, int) {
				dst = append(dst, from.Attrs...)
				return appendTail(dst, own), len(dst)
			})
			t.attrs.release(attr)
			attr = with
			a = t.attrs.view(attr)
			nextHop = a.nextHop()
		}
	}
	n := len(nextHop)
	ok := n >= 16
	if n == 16 && in.no != localPeer {
		nh := netip.AddrFrom16([16]byte(nextHop))
		ok = !nh.IsLinkLocalUnicast() || nh == own.Addr
	}
	switch {
	case id < v6:
		ok = n == 4 || ok && g.key.mixed
	case id >= ofKeyed:
		ok = n == 4 || ok && n == 16
	}
	switch {
	case !ok:
		g.unsendable.found |= lackNextHop
	case len(a.Attrs)+g.overhead(a, id >= ofKeyed) > g.maxLen() && !g.fits(id, a):
		g.unsendable.found |= lackRoom
	default:
		return attr
	}
	t.attrs.release(attr)
	return 0
}

// ownNextHop returns our own address as the next hop of a family.
func (g *group) ownNextHop(family int) wire.NextHop {
	switch {
	case family < len(g.key.nextHop):
		return g.key.nextHop[family]
	case g.key.nextHop[0].Addr.IsValid():
		return wire.NextHop{Addr: g.key.nextHop[0].Addr}
	}
	return wire.NextHop{Addr: g.key.nextHop[1].Addr}
}

// fits reports whether there is an UPDATE that announces a destination with a set. It is for
// sets about as long as a message: others need not be tried.
func (g *group) fits(id destID, a Attrs) bool {
	b := wire.Builder{Max: g.maxLen(), AS4: g.key.as4, AddPath: g.key.addPath}
	b.Reach(nil, familyOf(id), a.Attrs, a.NextHop())
	return g.t.addTo(&b, id, 0, a.rest())
}

// overhead bounds the octets of an UPDATE beside its attributes: header and lengths,
// MP_REACH_NLRI with the longest NLRI, and what two-octet AS numbers add.
func (g *group) overhead(a Attrs, keyed bool) int {
	n := 23 + 9 + 32 + 21 + 8
	if keyed {
		n += 4 + 2 + 255 - 21
	}
	if !g.key.as4 {
		path := a.ASPath()
		n += len(path) + 4 + 11
	}
	return n
}
