package rib

import (
	"net/netip"
	"unsafe"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// DefaultRoute has a session announce the default route: 0.0.0.0/0, ::/0 or both. The route is for that
// peer alone. It is not in the Loc-RIB, so that no watcher and no other peer hears of it, and it needs no
// default route there. While it is announced, it is in the place of the paths that the table has for that
// prefix. To the peer it is a path that we originate: its next hop is our address of the session, and it has
// path identifier 1 with ADD-PATH. The zero value announces nothing.
type DefaultRoute struct {
	// Families are those whose default route is announced, if the session has them: IPv4 and IPv6
	// unicast. Zero means none.
	Families wire.FamilySet
	// When is the condition: the default route of a family is announced as long as When does not reject the
	// best path of some destination of the family. It is asked about each of them, those that the peer
	// itself announces included, and what it changes of them does not count. Nil means always. Stale
	// paths count. While best paths are deferred (Config.Deferred) only local ones count, so that a conditional default
	// route comes after [Table.Converge], and before End-of-RIB.
	When Policy
	// Policy may change the route's attributes, or reject it. OutConfig.Export is not asked. Nil accepts
	// it as it is: ORIGIN IGP and nothing else.
	Policy Policy
}

// defaultKey is what of a DefaultRoute shapes what is sent.
type defaultKey struct {
	families     wire.FamilySet
	when, policy unsafe.Pointer // identities of the func values
}

func (d *DefaultRoute) key(families wire.FamilySet) defaultKey {
	k := defaultKey{families: d.Families & families & wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)}
	if k.families != 0 {
		k.when, k.policy = identity(d.When), identity(d.Policy)
	}
	return k
}

// Equal reports whether two values are the same, their policies by identity.
func (d DefaultRoute) Equal(o DefaultRoute) bool {
	return d.Families == o.Families && identity(d.When) == identity(o.When) && identity(d.Policy) == identity(o.Policy)
}

// identity returns what tells a policy from others, nil for nil. A func value is one pointer, to its code
// and what it captured. Two equal ones are the same function for sure; reflect would only compare the code.
func identity(p Policy) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// defaults originates the default routes of a group. The zero value originates none.
type defaults struct {
	families     wire.FamilySet // whose default route is originated
	when, policy Policy         // as in DefaultRoute
	met          idSet          // destinations whose best path meets the condition
}

// defaultPrefix is the default route of a family.
func defaultPrefix(family int) netip.Prefix {
	if family == 0 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// originatesAt reports whether the group may originate a destination: it is the default route of a
// family that it does so in.
func (g *group) originatesAt(id destID) bool {
	return g.defaults.families != 0 && id < ofKeyed && g.t.at(id).plen == 0 && g.defaults.families.Has(familyOf(id))
}

// putDefaults marks the default routes dirty that the group may originate, and makes their destinations.
func (g *group) putDefaults() {
	for _, fam := range g.defaults.families.Slice() {
		g.putDefault(familyIndex(fam))
	}
}

// putDefault marks the default route of a family dirty. End-of-RIB, and members that wait for what the
// group has dirty, wait for it as well: what a member knows of it is not withdrawn meanwhile.
func (g *group) putDefault(family int) {
	before := g.popped
	g.putAll(g.t, g.t.prefixes.get(defaultPrefix(family)))
	for _, o := range g.members {
		if o.eor == eorWanted && o.eorMark > before {
			o.eorMark = g.queued
		}
		if o.behind && o.waits > before {
			o.waits = g.queued
		}
	}
}

// checkCondition looks whether a destination, whose best path may have changed, meets the condition of the
// default route, and marks that dirty if it is the first that does, or the last that did.
func (g *group) checkCondition(id destID) {
	d := &g.defaults
	if d.when == nil || id >= ofKeyed || !d.families.Has(familyOf(id)) {
		return
	}
	f := familyAt(id)
	was := d.met.n[f] > 0
	d.met.set(id, g.meets(id))
	if is := d.met.n[f] > 0; is != was {
		g.putDefault(f)
	}
}

// meets reports whether the best path of a destination meets the condition.
func (g *group) meets(id destID) bool {
	t := g.t
	best := t.best(t.at(id))
	if best == 0 {
		return false
	}
	p := t.paths.at(best)
	if t.deferred && p.peer != localPeer {
		return false
	}
	n := name{NLRI: wire.NLRI{Prefix: t.prefix(id), PathID: p.id}}
	r := t.begin(t.peers[p.peer], &n, p.attr, p.attr)
	verdict := g.defaults.when(r)
	t.attrs.release(r.attr)
	return verdict != VerdictReject
}

// originated returns the attributes, with a reference, with which the group announces a default route of
// its own, 0 if it does not now.
func (g *group) originated(id destID) attrID {
	t, d := g.t, &g.defaults
	if d.when != nil && d.met.n[familyAt(id)] == 0 {
		return 0
	}
	var attrs wire.PathAttrs
	octets := []byte(attrs.Append(t.octets[:0]))
	at := len(octets)
	octets = appendTail(octets, wire.NextHop{})
	t.octets = octets[:0]
	base := t.attrs.intern(octets, at)
	defer t.attrs.release(base)
	return g.shaped(id, t.peers[localPeer], base, 0, d.policy)
}
