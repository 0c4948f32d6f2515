package rib

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// demand finds the members of a constrained group by what they want, so that a change of a route costs what the
// members cost that it concerns, however many others there are. A member is listed by what it wants, and while a
// dump is on its way from one constraint to another, by both.
type demand struct {
	by    map[wire.ExtCommunity]*listed // by route target
	broad listed                        // members that want everything, or prefixes of route targets
}

// listed are some members of a group.
type listed struct {
	members []*Out
	told    uint64 // group.round when they were notified last
}

// add lists a member, which does not wait for a notification now.
func (l *listed) add(o *Out) { l.members = append(l.members, o) }

func (l *listed) remove(o *Out) {
	if i := slices.Index(l.members, o); i >= 0 {
		last := len(l.members) - 1
		l.members[i] = l.members[last]
		l.members[last] = nil
		l.members = l.members[:last]
	}
}

// broad reports whether a constraint is more than a list of route targets.
func (c *constraint) broad() bool { return c == nil || c.all || len(c.prefixes) > 0 }

// list returns the route targets of memberships for one.
func (c *constraint) list() map[wire.ExtCommunity]struct{} {
	if c == nil {
		return nil
	}
	return c.targets
}

// enlist lists a member by a constraint, where another one does not list it already.
func (i *demand) enlist(o *Out, c, already *constraint) {
	for x := range c.list() {
		if _, ok := already.list()[x]; ok {
			continue
		}
		if i.by == nil {
			i.by = map[wire.ExtCommunity]*listed{}
		}
		if i.by[x] == nil {
			i.by[x] = &listed{}
		}
		i.by[x].add(o)
	}
	if c.broad() && !o.broad {
		o.broad = true
		i.broad.add(o)
	}
}

// delist is the reverse, but where another one still lists it.
func (i *demand) delist(o *Out, c, still *constraint) {
	for x := range c.list() {
		if _, ok := still.list()[x]; ok {
			continue
		}
		if l := i.by[x]; l != nil {
			if l.remove(o); len(l.members) == 0 {
				delete(i.by, x)
			}
		}
	}
	if o.broad && c.broad() && !still.broad() {
		o.broad = false
		i.broad.remove(o)
	}
}

// admit lists a new member.
func (g *group) admit(o *Out) {
	if s := &o.constraint; g.constrained {
		g.demand.enlist(o, s.want, &constraint{})
		if s.next != nil {
			g.demand.enlist(o, s.next, s.want)
		}
	}
}

// dismiss is the reverse.
func (g *group) dismiss(o *Out) {
	if s := &o.constraint; g.constrained {
		g.demand.delist(o, s.want, &constraint{})
		if s.next != nil {
			g.demand.delist(o, s.next, &constraint{})
		}
	}
}

// eachConcerned calls f for the members that may want the route targets of a set, for some more than once.
func (g *group) eachConcerned(attr attrID, f func(*Out)) {
	for _, o := range g.demand.broad.members {
		f(o)
	}
	for x := range g.t.attrs.view(attr).ExtCommunities().All() {
		if l := g.demand.by[x]; l != nil {
			for _, o := range l.members {
				f(o)
			}
		}
	}
}

// wakeFor notifies the members that a change of a destination may concern. Of EVPN routes these are
// those that may want what is advertised, or what there is now. The others need not look at it: the destination stays
// dirty until any member asks for more.
func (g *group) wakeFor(id destID) {
	t := g.t
	d := t.at(id)
	if g.key.defaultOnly && familyAt(id) == constraintFamily && !defaultMembership(t.key(id)) {
		return // nobody is told
	}
	if !g.constrains(id) || g.export != nil || d.indexed { // a policy may change route targets
		g.wakeAll()
		return
	}
	for a := range g.adverts.of(id) {
		g.wakeConcerned(a.attr)
	}
	for at := d.first; at != 0; at = t.paths.at(at).next {
		g.wakeConcerned(t.paths.at(at).attr)
		if !g.key.addPath.Has(wire.L2VPNEVPN) {
			break
		}
	}
}

func (g *group) wakeConcerned(attr attrID) {
	g.wakeListed(&g.demand.broad)
	for x := range g.t.attrs.view(attr).ExtCommunities().All() {
		if l := g.demand.by[x]; l != nil {
			g.wakeListed(l)
		}
	}
}

// wakeListed notifies members, unless none of the group has begun to wait since they were notified last.
func (g *group) wakeListed(l *listed) {
	if l.told == g.round {
		return
	}
	l.told = g.round
	for _, o := range l.members {
		o.wake()
	}
}

// concerns notes which members a chunk concerns, by Out.chunk. It reports false if all are.
func (g *group) concerns(c *chunk) bool {
	if !g.constrained {
		return false
	}
	no, last := g.tail()+1, uint32(0)
	for _, o := range g.demand.broad.members {
		o.chunk = no
	}
	for i := range c.msgs {
		switch f := c.msgs[i].filter; f {
		case 0:
			return false
		case last:
		default:
			last = f
			for x := range c.filters[f-1].targets.All() {
				if l := g.demand.by[x]; l != nil {
					for _, o := range l.members {
						o.chunk = no
					}
				}
			}
		}
	}
	return true
}
