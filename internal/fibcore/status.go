package fibcore

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// page appends the status of the routes from number start on, a page of them, and returns
// where the next page starts; 0 if this was the last.
func (c *routes) page(start uint32, page []RouteStatus) ([]RouteStatus, uint32) {
	end := min(start+chunkSize, c.store.n)
	for i := start; i < end; i++ {
		if e := c.store.at(i); e.want != nil || e.have != nil {
			page = append(page, c.statusOf(i, e))
		}
	}
	if end >= c.store.n {
		return page, 0
	}
	return page, end
}

func (c *routes) statusOf(i uint32, e *entry) RouteStatus {
	s := RouteStatus{}
	if e.want != nil {
		s.Route = c.env.routeOf(&e.want.Facts, e.want.nextHops, e.want.multipath)
		s.Buckets = e.want.buckets
	} else {
		s.Route = c.env.routeOf(&e.have.Facts, e.have.nextHops, false)
	}
	s.RouteKey = c.unpack(&e.key)
	if e.have != nil {
		s.NextHopID = e.have.nhid
	}
	s.Present, s.Active = e.have != nil && e.have != needsDump, c.active(e)
	s.State, s.Err = c.stateOf(i, e)
	return s
}

// stateOf says how far e has come, and why not further.
func (c *routes) stateOf(i uint32, e *entry) (RouteState, error) {
	switch {
	case e.want == nil:
		return StateStale, nil
	case e.mark&markFailed != 0:
		return StateFailed, c.failures[i].err
	case e.mark&markYielding != 0:
		return StateForeign, &Error{Op: "add", Key: c.unpack(&e.key), Err: ErrForeign}
	case e.mark&markBehind != 0:
		return StateForeign, &Error{Op: "replace", Key: c.unpack(&e.key), Err: ErrForeign, Text: "it stands before ours"}
	case e.want.linksDown:
		return StateHeld, nil
	case e.want.form != nil && e.want.form == e.have:
		if c.active(e) < len(e.want.nextHops) {
			return StatePartial, nil
		}
		return StateInstalled, nil
	case e.want.form == nil && e.want.group != nil:
		if text, err := c.nexthops.groupError(e.want.group); err != nil {
			return StateFailed, &Error{Op: "add", Key: c.unpack(&e.key), Err: err, Text: text}
		}
	}
	if b := c.brakes[e.key]; !b.Ready(c.env.clock) {
		return StateFailed, &Error{Op: "replace", Key: c.unpack(&e.key), Err: ErrContended}
	}
	if e.mark&markLost != 0 {
		return StateLost, nil
	}
	return StatePending, nil
}

// active counts the desired next hops that our route in the kernel has.
func (c *routes) active(e *entry) (n int) {
	switch {
	case e.want == nil || e.have == nil || e.have == needsDump:
		return 0
	case e.have.nhid == 0:
		for i := range e.want.nextHops {
			if slices.Contains(e.have.nextHops, e.want.nextHops[i]) {
				n++
			}
		}
		return n
	case e.have.group == nil:
		return 0
	}
	for _, m := range e.have.group.members {
		b := c.nexthops.byID[m.ID]
		if b != nil && slices.ContainsFunc(e.want.nextHops, func(l wire.NextHop) bool { return l.IfIndex == b.key.link && l.Gateway == b.key.gateway }) {
			n++
		}
	}
	return n
}

// Diff lists how the kernel, as far as it is known, differs from the desired state.
func (c *Core) Diff() []Difference {
	return append(c.routes.diffRoutes(), c.diffSmall()...)
}

func (c *routes) diffRoutes() (d []Difference) {
	c.store.all(func(_ uint32, e *entry) {
		target, keep := c.target(e)
		if e.want != nil && e.want.form == nil {
			if e.have == nil || !keep || e.want.group != nil {
				op := "held"
				if e.have == nil && !e.want.linksDown {
					op = "add"
				}
				d = append(d, Difference{op, c.unpack(&e.key), c.contents.describe(&e.want.Facts, e.want.nextHops), c.contents.describeForm(e.have)})
			}
			return
		}
		switch {
		case !keep && target == e.have && e.want != nil:
			if have := c.shortOf(e); have != "" {
				d = append(d, Difference{"held", c.unpack(&e.key), c.contents.describe(&e.want.Facts, e.want.nextHops), have})
			}
			return
		case keep || target == e.have:
			return
		}
		x := Difference{Key: c.unpack(&e.key), Op: decide(target, e.have, false, c.env.config.OnForeign).String(), Have: c.contents.describeForm(e.have)}
		if e.want != nil {
			x.Want = c.contents.describe(&e.want.Facts, e.want.nextHops)
		}
		d = append(d, x)
	})
	return d
}

// shortOf describes the route in the kernel if it is what can be had now, but not all that
// is desired: next hops are missing other than those that GatewayDown was called for, or
// another program's route stands before it.
func (c *routes) shortOf(e *entry) string {
	if e.mark&markBehind != 0 {
		return c.contents.describeForm(e.have) + ", behind another program's route"
	}
	dead := 0
	for i := range e.want.nextHops {
		if l := &e.want.nextHops[i]; c.nexthops.down[gatewayKey{l.IfIndex, l.Gateway}] {
			dead++
		}
	}
	n, all := c.active(e), len(e.want.nextHops)
	if n+dead >= all {
		return ""
	}
	return fmt.Sprintf("%s, %d of %d next hops", c.contents.describeForm(e.have), n, all)
}

func (c *Core) diffSmall() (d []Difference) {
	p := planRules(c.rules.want, c.rules.banned, c.rules.deleted, nil, c.rules.kernel, c.env.config.Protocol, c.env.swept)
	for _, r := range p.add {
		d = append(d, Difference{Op: "add", Key: r, Want: "rule"})
	}
	for _, k := range append(p.remove, p.duplicates...) {
		d = append(d, Difference{Op: "delete", Key: k.Rule, Have: "rule"})
	}
	for k, a := range c.addresses.want {
		switch v := c.addresses.decide(k, c.env.swept); v {
		case verbNone:
		case verbDelete: // and addition: see fixed
			d = append(d, Difference{Op: verbReplace.String(), Key: a, Want: "address"})
		default:
			d = append(d, Difference{Op: v.String(), Key: a, Want: "address"})
		}
	}
	for k, n := range c.neighbors.want {
		if v := c.neighbors.decide(k, c.env.swept); v != verbNone {
			d = append(d, Difference{Op: v.String(), Key: n, Want: "neighbour"})
		}
	}
	for s, f := range c.sysctls.failed {
		d = append(d, Difference{Op: "set", Key: s.Sysctl, Want: s.Value, Have: f.err.Error()})
	}
	return d
}

// Stats returns counters. It looks at every route.
func (c *Core) Stats(now time.Time) Stats {
	c.env.clock = now
	s := c.env.stats
	c.routes.store.all(func(i uint32, e *entry) {
		if e.want != nil {
			s.Desired++
		}
		if e.want == nil && e.have == nil {
			return
		}
		switch state, _ := c.routes.stateOf(i, e); state {
		case StateStale:
			s.Stale++
		case StateFailed:
			s.Failed++
		case StateForeign:
			s.Foreign++
		case StateHeld:
			s.Held++
		case StateInstalled, StatePartial:
			s.Installed++
		}
	})
	return s
}

// Failing lists up to limit errors of what is failing now.
func (c *Core) Failing(limit int) (errs []*Error) {
	add := func(err *Error) {
		if err != nil && len(errs) < limit {
			errs = append(errs, err)
		}
	}
	for _, f := range c.routes.failures {
		add(f.err)
	}
	for _, f := range c.rules.failed {
		add(f.err)
	}
	for _, f := range c.addresses.failed {
		add(f.err)
	}
	for _, f := range c.neighbors.failed {
		add(f.err)
	}
	for _, f := range c.sysctls.failed {
		add(f.err)
	}
	for _, b := range c.nexthops.byID {
		if b.err != nil && !c.nexthops.live(b) {
			add(&Error{Op: "add", Key: NextHopID(b.id), Err: b.err, Text: b.text})
		}
	}
	return errs
}

// follow begins to collect. tables nil is all of them; accept may be nil.
func (c *routes) follow(tables []uint32, accept func(wire.RouteKey) bool, wake func()) *Follower {
	w := &Follower{routes: c, tables: tables, accept: accept, wake: wake, dirty: map[rkey]bool{}}
	c.store.all(func(_ uint32, e *entry) {
		if e.want != nil || e.have != nil {
			w.add(&e.key)
		}
	})
	w.rows = len(w.queue)
	c.followers = append(c.followers, w)
	return w
}

// unfollow ends it.
func (c *routes) unfollow(w *Follower) {
	c.followers = slices.DeleteFunc(c.followers, func(v *Follower) bool { return v == w })
}

// forget tells the followers that e has come to its end, before its number is used again.
func (c *routes) forget(e *entry) {
	for _, w := range c.followers {
		w.add(&e.key)
		w.wake()
	}
}

// reportChanges passes what has changed to the followers.
func (c *routes) reportChanges() {
	c.groupsChanged()
	if len(c.changedEntries) == 0 {
		return
	}
	for _, i := range c.changedEntries {
		if i >= c.store.n {
			continue // released meanwhile, and all others, too
		}
		e := c.store.at(i)
		if e.mark&markChanged == 0 {
			continue // released meanwhile
		}
		e.mark &^= markChanged
		for _, w := range c.followers {
			w.add(&e.key)
		}
	}
	c.changedEntries = c.changedEntries[:0]
	for _, w := range c.followers {
		w.wake()
	}
}

// groupsChanged notes the routes of all groups that are unreported.
func (c *routes) groupsChanged() {
	n := c.nexthops
	if len(c.followers) > 0 {
		c.noteGroups(n.unreported, n.unreportedWant)
	}
	for _, k := range n.unreported {
		k.unreported = false
	}
	for _, g := range n.unreportedWant {
		g.unreported = false
	}
	clear(n.unreported)
	clear(n.unreportedWant)
	n.unreported, n.unreportedWant = n.unreported[:0], n.unreportedWant[:0]
}

// noteGroups notes the routes that have or want one of some groups.
func (c *routes) noteGroups(have []*kernelGroup, wanted []*group) {
	note := func(i uint32, e *entry) {
		if e.have != nil && e.have.group != nil && e.have.group.unreported || e.want != nil && e.want.group != nil && e.want.group.unreported {
			c.statusChanged(i, e)
		}
	}
	var wants []*want
	for _, g := range wanted {
		wants = slices.AppendSeq(wants, maps.Keys(g.users))
	}
	uses := 0 // that are to be found
	for _, k := range have {
		if uses += k.uses; k.owner != nil && !k.owner.unreported {
			wants = slices.AppendSeq(wants, maps.Keys(k.owner.users))
		}
	}
	found := 0
	var entries []uint32
	c.entriesOf(wants, func(i uint32, e *entry) {
		entries = append(entries, i)
		if e.have != nil && e.have.group != nil && e.have.group.unreported {
			found++
		}
	})
	if found != uses { // some have a group that they do not want
		c.store.all(note)
		return
	}
	for _, i := range entries {
		note(i, c.store.at(i))
	}
}
