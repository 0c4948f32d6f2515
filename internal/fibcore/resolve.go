package fibcore

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Resolving turns what is wanted into what to write now, given the links that
// are up, the gateways that are dead, and the groups that exist.

// linkUp reports whether a next-hop object may use the link: the kernel demands
// carrier for objects.
func (c *Core) linkUp(link int32) bool { return c.links[link].Up() }

func (c *Core) linkAdminUp(link int32) bool { return c.links[link].AdminUp }

// resolve sets w.form and w.group. It marks w changed if the form is another
// than before.
func (c *Core) resolve(w *want) {
	old, was := w.form, w.isCut
	w.form = c.formOf(w)
	w.isCut = w.form == nil && c.cut(w)
	if w.form != old || w.isCut != was {
		w.changed = true
	}
}

func (c *Core) formOf(w *want) *form {
	switch {
	case !c.synced:
		return nil
	case w.Type >= wire.RouteBlackhole:
		return c.intern.form(&w.Facts, 0, nil, false)
	case len(w.nextHops) == 1:
		// Not held back for carrier: the kernel isn't either, and a tap whose
		// guest is not there yet has none.
		if !c.linkAdminUp(w.nextHops[0].IfIndex) {
			return nil
		}
		return c.intern.form(&w.Facts, 0, w.nextHops, false)
	case w.classic:
		return c.classicForm(w)
	}
	if w.group == nil {
		w.group = c.group(w.Family, w.nextHops, w.buckets)
		if w.refs > 0 {
			w.group.wants++
		}
	}
	if k := w.group.now; k != nil && k.exists && len(k.members) > 0 {
		return c.intern.form(&w.Facts, k.id, nil, false)
	}
	return nil
}

// cut reports whether every link that w could use is down.
func (c *Core) cut(w *want) bool {
	for _, l := range w.nextHops {
		if c.linkUp(l.IfIndex) || (w.classic || len(w.nextHops) == 1) && c.linkAdminUp(l.IfIndex) {
			return false
		}
	}
	return c.synced
}

// classicForm is RTA_MULTIPATH of the next hops that are alive, or of all on links
// that are up if none is.
func (c *Core) classicForm(w *want) *form {
	nextHops := make([]wire.NextHop, 0, len(w.nextHops))
	for _, l := range w.nextHops {
		if c.linkUp(l.IfIndex) && !c.down[gatewayKey{l.IfIndex, l.Gateway}] {
			nextHops = append(nextHops, l)
		}
	}
	if len(nextHops) == 0 {
		for _, l := range w.nextHops {
			if c.linkAdminUp(l.IfIndex) {
				nextHops = append(nextHops, l)
			}
		}
	}
	if len(nextHops) == 0 {
		return nil
	}
	return c.intern.form(&w.Facts, 0, nextHops, false)
}

// resolveAll resolves the wants for which f is true, and queues the entries
// whose form has changed by it.
func (c *Core) resolveAll(f func(w *want) bool) {
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
func (c *Core) spread() {
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
	return slices.ContainsFunc(w.nextHops, func(l wire.NextHop) bool { return l.IfIndex == link })
}

// allOn reports whether every next hop of f leaves through the link.
func (f *form) allOn(link int32) bool {
	return len(f.nextHops) > 0 && !slices.ContainsFunc(f.nextHops, func(l wire.NextHop) bool { return l.IfIndex != link })
}

func (f *form) uses(link int32) bool {
	return slices.ContainsFunc(f.nextHops, func(l wire.NextHop) bool { return l.IfIndex == link })
}
