package rib

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// EBGP is what is configured for an external peer alone. The zero value is the rule: our AS
// is prepended, the next hop is ours, and AS_PATH must begin with the AS of the peer.
type EBGP struct {
	// LocalAS is the AS number that we have towards this peer; 0 means the table's. It is for a
	// network that changes its number. What the peer announces gets it prepended, what the peer
	// is sent gets it in front of the table's AS number. A path from the peer with LocalAS in it
	// is a loop, unless AllowOwnAS permits it.
	LocalAS uint32
	// LocalASNoPrepend does not prepend LocalAS to what the peer announces, and
	// LocalASReplaceAS leaves the table's AS number out of what the peer is sent (no-prepend
	// and replace-as of other routers).
	LocalASNoPrepend, LocalASReplaceAS bool
	// RemovePrivateAS takes private AS numbers out of what the peer is sent.
	RemovePrivateAS PrivateAS
	// NextHopUnchanged leaves the next hop as it is, as a route server does, unless it is the
	// peer itself or OutConfig.NextHopSelf is set.
	NextHopUnchanged bool
	// ThirdParty holds networks that we share with the peer: a next hop that lies in the
	// same one as the peer's address is left as it is (RFC 4271, Section 5.1.3, "third party"
	// next hop), unless OutConfig.NextHopSelf is set. Nil sends our own address always.
	ThirdParty []netip.Prefix
	// AnyFirstAS accepts paths that do not begin with the AS of the peer, as a route server
	// announces them (RFC 7947, Section 2.2.2.1).
	AnyFirstAS bool
	// Role is what we are to the peer. It decides what becomes of OTC (RFC 9234, Section 5).
	Role wire.Role
}

// Check returns what is wrong with e, nil if nothing is.
func (e *EBGP) Check() error {
	switch {
	case e.LocalAS == 0 && (e.LocalASNoPrepend || e.LocalASReplaceAS):
		return fmt.Errorf("no-prepend and replace-as need a local AS")
	case e.RemovePrivateAS > PrivateASReplaceAll:
		return fmt.Errorf("%v is not known", e.RemovePrivateAS)
	case e.Role > wire.RolePeer:
		return fmt.Errorf("%v is not known", e.Role)
	}
	for _, p := range e.ThirdParty {
		if !p.IsValid() {
			return fmt.Errorf("a network of third-party next hops is not valid")
		}
	}
	return nil
}

// ImportsDiffer reports whether a change from o to e changes what is made of the paths of the
// peer, which has to announce them again then.
func (e *EBGP) ImportsDiffer(o *EBGP) bool {
	return e.AnyFirstAS != o.AnyFirstAS || e.LocalAS != o.LocalAS || e.LocalASNoPrepend != o.LocalASNoPrepend || e.Role != o.Role
}

// ExportsDiffer reports whether it changes what the peer is sent.
func (e *EBGP) ExportsDiffer(o *EBGP) bool { return e.exportKey() != o.exportKey() }

// PrivateAS says what becomes of private AS numbers in AS_PATH: 64512 to 65534 and 4200000000
// to 4294967294 (RFC 6996, Section 5). The peer's own AS number stays always, so that the peer
// finds a loop.
type PrivateAS uint8

// Values of PrivateAS.
const (
	PrivateASKeep       PrivateAS = iota // they stay
	PrivateASRemove                      // they go if the path has no other AS number
	PrivateASRemoveAll                   // they all go
	PrivateASReplaceAll                  // each becomes our own, so that the path is as long as before
)

// String returns "keep", "remove", "remove all" or "replace all".
func (p PrivateAS) String() string {
	return enum.String("PrivateAS", []string{"keep", "remove", "remove all", "replace all"}, p)
}

func isPrivate(as uint32) bool {
	return as >= 64512 && as <= 65534 || as >= 4200000000 && as <= 4294967294
}

// apply returns path without private AS numbers, or with ours in their place.
func (p PrivateAS) apply(path wire.ASPath, ours, peer uint32) wire.ASPath {
	public := func(as uint32) bool { return !isPrivate(as) }
	any, others := false, false
	for as := range path.All() {
		any = any || !public(as)
		others = others || public(as)
	}
	if p == PrivateASKeep || !any || p == PrivateASRemove && others {
		return path
	}
	var out wire.ASPath
	for s := range path.Segments() {
		at := len(out)
		out = append(out, byte(s.Type), 0)
		for i := range s.Len() {
			switch as := s.At(i); {
			case public(as) || as == peer:
				out = binary.BigEndian.AppendUint32(out, as)
			case p == PrivateASReplaceAll:
				out = binary.BigEndian.AppendUint32(out, ours)
			}
		}
		if out[at+1] = byte((len(out) - at) / 4); out[at+1] == 0 {
			out = out[:at]
		}
	}
	return out
}

// exportKey is what of an EBGP shapes what is sent.
type exportKey struct {
	localAS    uint32
	replaceAS  bool
	private    PrivateAS
	unchanged  bool
	thirdParty string // ThirdParty, in words
	role       wire.Role
	peer       netip.Addr // that next hops are compared with, if they may be left as they are
}

func (e *EBGP) exportKey() exportKey {
	k := exportKey{localAS: e.LocalAS, replaceAS: e.LocalASReplaceAS, private: e.RemovePrivateAS, unchanged: e.NextHopUnchanged, role: e.Role}
	var b strings.Builder
	for _, p := range e.ThirdParty {
		b.WriteString(p.String())
		b.WriteByte(' ')
	}
	k.thirdParty = b.String()
	return k
}

// refusalExternal returns why no path with these attributes of an external peer may be used,
// 0 if it may.
func (in *In) refusalExternal(attr attrID) Reason {
	e, a := &in.ebgp, in.t.attrs.view(attr)
	if !e.AnyFirstAS {
		// RFC 4271, Section 6.3: "If the UPDATE message is received from an external peer, the local
		// system MAY check whether the leftmost (with respect to the position of octets in the
		// protocol message) AS in the AS_PATH attribute is equal to the autonomous system number of
		// the peer that sent the message."
		if as, ok := a.ASPath().First(); !ok || as != in.as {
			return ReasonFirstAS
		}
	}
	if e.LocalAS != 0 && a.ASPath().Count(e.LocalAS) > in.ownAS {
		return ReasonASLoop
	}
	if in.t.attrs.sum(attr).marks&markOTC == 0 {
		return 0
	}
	// RFC 9234, Section 5: "If a route with the OTC Attribute is received from a Customer or an
	// RS-Client, then it is a route leak and MUST be considered ineligible". "If a route with the
	// OTC Attribute is received from a Peer (i.e., remote AS with a Peer Role) and the Attribute
	// has a value that is not equal to the remote (i.e., Peer's) AS number, then it is a route
	// leak and MUST be considered ineligible."
	otc, _ := a.OnlyToCustomer()
	switch e.Role {
	case wire.RoleProvider, wire.RoleRS:
		return ReasonRouteLeak
	case wire.RolePeer:
		if otc != in.as {
			return ReasonRouteLeak
		}
	}
	return 0
}

// received returns, with a reference, what of a set the import policy of an external peer sees:
// "If a route is received from a Provider, a Peer, or an RS and the OTC Attribute is not present,
// then it MUST be added with a value equal to the AS number of the remote AS" (RFC 9234, Section
// 5), and the local AS prepended.
func (in *In) received(root attrID) attrID {
	s, e := &in.t.attrs, &in.ebgp
	attr := s.retain(root)
	step := func(next attrID) {
		s.release(attr)
		attr = next
	}
	if s.sum(root).marks&markOTC == 0 && upOrAcross(e.Role) {
		step(s.setUint32(root, attr, wire.AttrOnlyToCustomer, in.as))
	}
	if e.LocalAS != 0 && !e.LocalASNoPrepend {
		step(s.prepend(root, attr, e.LocalAS, 1))
	}
	return attr
}

// upOrAcross reports whether the peer of a speaker with role r is a provider, a peer or a route
// server.
func upOrAcross(r wire.Role) bool {
	return r == wire.RoleCustomer || r == wire.RolePeer || r == wire.RoleRSClient
}

// downOrAcross reports whether it is a customer, a peer or a client of our route server.
func downOrAcross(r wire.Role) bool {
	return r == wire.RoleProvider || r == wire.RolePeer || r == wire.RoleRS
}

// as returns the AS number that the peers of an external group know us by.
func (g *group) as() uint32 {
	if as := g.key.ebgp.localAS; as != 0 {
		return as
	}
	return g.t.as
}

// sentPath returns the AS_PATH that an external group is sent.
func (g *group) sentPath(path wire.ASPath) wire.ASPath {
	e := &g.key.ebgp
	first := g.t.as
	if e.replaceAS {
		first = e.localAS
	}
	path = e.private.apply(path, first, g.key.as).AppendPrepend(nil, first, 1)
	if e.localAS != 0 && !e.replaceAS {
		path = path.AppendPrepend(nil, e.localAS, 1)
	}
	return path
}

// keepsNextHop reports whether an external group is sent a next hop as it is.
func (g *group) keepsNextHop(from Attrs) bool {
	e := &g.key.ebgp
	if !e.unchanged && len(g.thirdParty) == 0 {
		return false
	}
	nh := from.NextHop().Addr
	switch {
	case !nh.IsValid() || nh == e.peer:
		// RFC 4271, Section 5.1.3: "A route originated by a BGP speaker SHALL NOT be advertised to a
		// peer using an address of that peer as NEXT_HOP."
		return false
	case e.unchanged:
		return true
	}
	return slices.ContainsFunc(g.thirdParty, func(p netip.Prefix) bool { return p.Contains(nh) && p.Contains(e.peer) })
}
