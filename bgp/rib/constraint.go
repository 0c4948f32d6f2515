package rib

import "github.com/hyperfib/hyperfib/bgp/wire"

// constraint is which EVPN routes a peer is sent: those that carry a route target within a membership that the
// peer has announced (RFC 4684, Section 3). It does not change once it is made. The zero value wants nothing, nil
// everything.
type constraint struct {
	all      bool                           // there is one without a route target: the default, or an origin AS alone
	targets  map[wire.ExtCommunity]struct{} // of memberships for one route target
	prefixes []wire.Membership              // the others
}

// constraintOf makes the constraint of what is in a peer's Adj-RIB-In now, stale paths included.
func (in *In) constraintOf() *constraint {
	t, c := in.t, &constraint{}
	for id := in.lists[constraintFamily].head; id != 0; id = t.paths.at(id).later {
		m, _ := wire.MembershipOfKey(t.key(t.paths.at(id).dest))
		switch {
		case m.Single():
			if c.targets == nil {
				c.targets = map[wire.ExtCommunity]struct{}{}
			}
			c.targets[m.Target] = struct{}{}
		case m.Everything():
			c.all = true
		default:
			c.prefixes = append(c.prefixes, m)
		}
	}
	return c
}

// wants reports whether routes with these extended communities are wanted.
func (c *constraint) wants(list wire.ExtCommunities) bool {
	if c.everything() {
		return true
	}
	for x := range list.All() {
		if !isRouteTarget(x) {
			continue
		}
		if c.match(x) {
			return true
		}
	}
	return false
}

// isRouteTarget reports whether a community is a route target: one of the three kinds of RFC 4360, Section 4, or
// the ES-Import Route Target of an Ethernet segment (RFC 7432, Section 7.6).
func isRouteTarget(c wire.ExtCommunity) bool {
	switch c >> 48 {
	case 0x0002, 0x0102, 0x0202, 0x0602:
		return true
	}
	return false
}

// constrains reports whether what goes out to the group for a destination depends on what each of its members wants.
func (g *group) constrains(id destID) bool {
	return g.constrained && familyAt(id) == evpnFamily
}

// filter is for which members a message is: those that want routes with targets, and do not want those
// with unless, if there is an unless. A message has one set of attributes, and so the route targets of all of its
// routes: whether a member wants it is one question a message, and members with different
// constraints share a group.
type filter struct {
	targets, unless wire.ExtCommunities
	two             bool // there is an unless
}

func (f *filter) admits(c *constraint) bool {
	return c.wants(f.targets) && !(f.two && c.wants(f.unless))
}

// constraintState is how far a session is with the constraint of its peer.
type constraintState struct {
	want  *constraint // what the peer has been sent, or is on its way to it, obeys it
	next  *constraint // what it is to obey: while a dump sends the differences, else nil
	dirty bool        // the peer's memberships have changed since
	known bool        // the peer has said all that it wants, or had time to
	ready bool        // the peer has been sent what it wanted first: End-of-RIB may follow
}

// obeys returns the constraint that what is encoded for the session alone is to obey.
func (s *constraintState) obeys() *constraint {
	if s.next != nil {
		return s.next
	}
	return s.want
}

// wants reports whether the peer is to have an advert for a destination.
func (o *Out) wants(id destID, attr attrID) bool {
	return !o.g.constrains(id) || o.constraint.obeys().wants(o.t.attrs.view(attr).ExtCommunities())
}

// concerned reports whether the peer wants routes with the route targets of a set, or may have some: while the
// differences between two constraints are on their way, either of them counts.
func (o *Out) concerned(attr attrID) bool {
	s, list := &o.constraint, o.t.attrs.view(attr).ExtCommunities()
	return s.want.wants(list) || s.next != nil && s.next.wants(list)
}

// begin is the state of a session that begins.
func (s *constraintState) begin(in *In, c *OutConfig) {
	*s = constraintState{}
	switch {
	case !c.constrained():
	case !c.PeerRestarting:
		s.want = &constraint{}
	default:
		if in.lists[constraintFamily].n > 0 {
			s.want = in.constraintOf()
		}
		s.ready = true
	}
}

// constrained reports whether EVPN routes are sent only to who wants them.
func (c *OutConfig) constrained() bool {
	return c.Families.Has(wire.RTConstrain) && c.Families.Has(wire.L2VPNEVPN) && !c.IgnoreMemberships
}

// ConstraintKnown says that the peer has announced all route target memberships that it has: its End-of-RIB of
// wire.RTConstrain came, or it has had time enough. No EVPN route is sent before, and none is ever sent that the
// peer does not want then: a membership that comes later sends what it adds, one that goes withdraws what
// is no longer wanted. The second call, and one without the family, does nothing.
func (o *Out) ConstraintKnown() {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if o.closed || !o.g.constrained || o.constraint.known {
		return
	}
	o.constraint.known, o.constraint.dirty = true, true
	o.wake()
}

// interestChanged takes note that a path of the peer to a destination has come, or gone.
func (in *In) interestChanged(d destID) {
	if o := in.out; o != nil && familyAt(d) == constraintFamily && o.constraint.known && !o.constraint.dirty {
		o.constraint.dirty = true
		o.wake()
	}
}

// startConstraint begins a dump of the differences between what the peer wanted and what it wants now, unless
// another dump is under way.
func (o *Out) startConstraint() {
	s := &o.constraint
	if !s.dirty || o.behind && o.dump.families != 0 {
		return
	}
	s.dirty, s.next = false, o.in.constraintOf()
	o.g.demand.enlist(o, s.next, s.want)
	if !o.behind {
		o.fallBehind()
		o.counters.Lagged--
	}
	o.dump = dump{families: wire.Families(wire.L2VPNEVPN), refresh: true}
	o.dump.list, o.dump.listed = o.g.between(s.want, s.next)
}

// endConstraint takes note that a dump has ended.
func (o *Out) endConstraint() {
	s := &o.constraint
	if s.next == nil {
		return
	}
	o.g.demand.delist(o, s.want, s.next)
	s.want, s.next = s.next, nil
	if !s.ready {
		s.ready = true
		if o.eor == eorSent {
			o.eor = eorFresh
		}
	}
}

// dumpDifference says what becomes of an advert by the peer's new constraint.
func (o *Out) dumpDifference(id destID, a advert) {
	s, list := &o.constraint, o.t.attrs.view(a.attr).ExtCommunities()
	had, has := s.want.wants(list), s.next.wants(list)
	switch {
	case has && !had:
		o.t.batch.add(o.t, id, a.out, bucketKey{attr: a.attr, kind: announcement})
	case had && !has:
		o.t.batch.add(o.t, id, a.out, bucketKey{kind: withdrawal})
	}
}

// marked returns the families whose End-of-RIB is due: that of EVPN is not before ready, and that of route target
// constraint alone before the table has converged and all is originated, if it needs not wait for that.
func (o *Out) marked() wire.FamilySet {
	due := o.unmarked
	if o.g.constrained && !o.constraint.ready {
		due = due.Without(wire.L2VPNEVPN)
	}
	switch {
	case !o.t.deferred && !o.t.held:
		return due
	case o.t.members:
		return due & wire.Families(wire.RTConstrain)
	}
	return 0
}
