package rib

import (
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// carried finds what a constrained group advertises by route target, so that a member is sent what it wants, and
// what a change of that adds or takes away, without a look at the rest.
type carried struct {
	by   map[wire.ExtCommunity]*carriers // by route target
	long []wire.ExtCommunity             // those whose list has grown too long
}

// carriers are the destinations with adverts that carry a route target.
type carriers struct {
	n     int      // such adverts
	dests []destID // their destinations; some twice, some that are none any more: see tidy
	long  bool     // in carried.long
}

// enter counts an advert of a destination.
func (c *carried) enter(id destID, list wire.ExtCommunities) {
	for x := range list.All() {
		if !isRouteTarget(x) {
			continue
		}
		if c.by == nil {
			c.by = map[wire.ExtCommunity]*carriers{}
		}
		l := c.by[x]
		if l == nil {
			l = &carriers{}
			c.by[x] = l
		}
		l.n++
		if l.dests = append(l.dests, id); len(l.dests) > 2*l.n+16 && !l.long {
			l.long = true
			c.long = append(c.long, x)
		}
	}
}

// leave is the reverse.
func (c *carried) leave(list wire.ExtCommunities) {
	for x := range list.All() {
		if l := c.by[x]; isRouteTarget(x) && l != nil {
			if l.n--; l.n == 0 {
				delete(c.by, x)
			}
		}
	}
}

// tidy shortens the lists that have grown too long: so they are at most about twice as long as they need to be.
func (g *group) tidy() {
	c := &g.carried
	for _, x := range c.long {
		l := c.by[x]
		if l == nil || !l.long { // it is gone, perhaps back
			continue
		}
		l.long = false
		slices.Sort(l.dests)
		l.dests = slices.DeleteFunc(slices.Compact(l.dests), func(id destID) bool {
			for a := range g.adverts.of(id) {
				if g.t.attrs.view(a.attr).ExtCommunities().Contains(x) {
					return false
				}
			}
			return true
		})
		l.dests = slices.Clip(l.dests)
	}
	c.long = c.long[:0]
}

// carry takes note that an advert of a destination has taken the place of another; 0 is none.
func (g *group) carry(id destID, old, new attrID) {
	if !g.constrains(id) {
		return
	}
	s := &g.t.attrs
	if old != 0 && new != 0 && g.sameTargets(old, new) {
		return
	}
	if new != 0 {
		g.carried.enter(id, s.view(new).ExtCommunities())
	}
	if old != 0 {
		g.carried.leave(s.view(old).ExtCommunities())
	}
}

// between returns the destinations, in order, that may have adverts which one of two constraints wants and the other
// does not. It reports false if that may be any.
func (g *group) between(a, b *constraint) (list []destID, ok bool) {
	if a.everything() || b.everything() {
		return nil, a.everything() && b.everything()
	}
	look := func(x wire.ExtCommunity, l *carriers) {
		if l != nil && a.match(x) != b.match(x) {
			list = append(list, l.dests...)
		}
	}
	if len(a.prefixes)+len(b.prefixes) > 0 {
		for x, l := range g.carried.by {
			look(x, l)
		}
	} else {
		for x := range a.targets {
			look(x, g.carried.by[x])
		}
		for x := range b.targets {
			look(x, g.carried.by[x])
		}
	}
	slices.Sort(list)
	return slices.Clip(slices.Compact(list)), true
}

func (c *constraint) everything() bool { return c == nil || c.all }

// match reports whether a route target is wanted, by a constraint that does not want everything.
func (c *constraint) match(x wire.ExtCommunity) bool {
	if _, ok := c.targets[x]; ok {
		return true
	}
	return slices.ContainsFunc(c.prefixes, func(m wire.Membership) bool { return m.Contains(x) })
}
