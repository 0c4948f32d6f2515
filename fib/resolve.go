package fib

import "slices"

// Resolving turns what is wanted into what to write now, given the links that
// are up, the gateways that are dead, and the groups that exist.

// linkUp reports whether a next-hop object may use the link: the kernel demands
// carrier for objects.
func (c *core) linkUp(link int32) bool { return c.links[link].Up() }

func (c *core) linkAdminUp(link int32) bool { return c.links[link].AdminUp }

// resolve sets w.form and w.group. It marks w changed if the form is another
// than before.
func (c *core) resolve(w *want) {
	old, was := w.form, w.isCut
	w.form = c.formOf(w)
	w.isCut = w.form == nil && c.cut(w)
	if w.form != old || w.isCut != was {
		w.changed = true
	}
}

func (c *core) formOf(w *want) *form {
	switch {
	case !c.synced:
		return nil
	case w.typ >= RouteBlackhole:
		return c.intern.form(&w.facts, 0, nil, false)
	case len(w.nextHops) == 1:
		// Not held back for carrier: the kernel isn't either, and a tap whose
		// guest is not there yet has none.
		if !c.linkAdminUp(w.nextHops[0].link) {
			return nil
		}
		return c.intern.form(&w.facts, 0, w.nextHops, false)
	case w.classic:
		return c.classicForm(w)
	}
	if w.group == nil {
		w.group = c.group(w.family, w.nextHops, w.buckets)
		if w.refs > 0 {
			w.group.wants++
		}
	}
	if k := w.group.now; k != nil && k.exists && len(k.members) > 0 {
		return c.intern.form(&w.facts, k.id, nil, false)
	}
	return nil
}

// cut reports whether every link that w could use is down.
func (c *core) cut(w *want) bool {
	for _, l := range w.nextHops {
		if c.linkUp(l.link) || (w.classic || len(w.nextHops) == 1) && c.linkAdminUp(l.link) {
			return false
		}
	}
	return c.synced
}

// classicForm is RTA_MULTIPATH of the next hops that are alive, or of all on links
// that are up if none is.
func (c *core) classicForm(w *want) *form {
	nextHops := make([]nextHop, 0, len(w.nextHops))
	for _, l := range w.nextHops {
		if c.linkUp(l.link) && !c.down[gatewayKey{l.link, l.gateway}] {
			nextHops = append(nextHops, l)
		}
	}
	if len(nextHops) == 0 {
		for _, l := range w.nextHops {
			if c.linkAdminUp(l.link) {
				nextHops = append(nextHops, l)
			}
		}
	}
	if len(nextHops) == 0 {
		return nil
	}
	return c.intern.form(&w.facts, 0, nextHops, false)
}

// resolveAll resolves the wants for which f is true, and queues the entries
// whose form has changed by it.
func (c *core) resolveAll(f func(w *want) bool) {
	any := false
	for _, w := range c.intern.wants {
		if f(w) {
			c.resolve(w)
		}
		any = any || w.changed
	}
	if any {
		c.spread()
	}
}

// spread queues the entries of changed wants.
func (c *core) spread() {
	c.store.all(func(i uint32, e *entry) {
		if e.want == nil || !e.want.changed {
			return
		}
		c.note(i, e)
		if e.want.form != e.have {
			c.touchRoute(i, e)
		}
	})
	for _, w := range c.intern.wants {
		w.changed = false
	}
}

func (w *want) uses(link int32) bool {
	return slices.ContainsFunc(w.nextHops, func(l nextHop) bool { return l.link == link })
}

// allOn reports whether every next hop of f leaves through the link.
func (f *form) allOn(link int32) bool {
	return len(f.nextHops) > 0 && !slices.ContainsFunc(f.nextHops, func(l nextHop) bool { return l.link != link })
}

func (f *form) uses(link int32) bool {
	return slices.ContainsFunc(f.nextHops, func(l nextHop) bool { return l.link == link })
}
