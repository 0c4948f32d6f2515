package fibcore

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Resolving turns what is wanted into what to write now, given the links that
// are up, the gateways that are dead, and the groups that exist.

// resolve sets w.form and w.group. It marks w changed if the form is another
// than before.
func (c *contents) resolve(w *want) {
	old, was := w.form, w.linksDown
	w.form = c.formOf(w)
	w.linksDown = w.form == nil && c.allDown(w)
	if w.form != old || w.linksDown != was {
		w.changed = true
	}
}

func (c *contents) formOf(w *want) *form {
	switch {
	case !c.env.synced:
		return nil
	case w.Type >= wire.RouteBlackhole:
		return c.intern.form(&w.Facts, 0, nil, false)
	case len(w.nextHops) == 1:
		// Not held back for carrier: the kernel isn't either, and a tap whose
		// guest is not there yet has none.
		if !c.links.linkAdminUp(w.nextHops[0].IfIndex) {
			return nil
		}
		return c.intern.form(&w.Facts, 0, w.nextHops, false)
	case w.multipath:
		return c.multipathForm(w)
	}
	if w.group == nil {
		w.group = c.nexthops.group(w.Family, w.nextHops, w.buckets)
		w.group.users[w] = struct{}{}
		if w.refs > 0 {
			w.group.wants++
		}
	}
	if k := w.group.now; k != nil && k.exists && len(k.members) > 0 {
		return c.intern.form(&w.Facts, k.id, nil, false)
	}
	return nil
}

// allDown reports whether every link that w could use is down.
func (c *contents) allDown(w *want) bool {
	for _, l := range w.nextHops {
		if c.links.linkUp(l.IfIndex) || (w.multipath || len(w.nextHops) == 1) && c.links.linkAdminUp(l.IfIndex) {
			return false
		}
	}
	return c.env.synced
}

// multipathForm is RTA_MULTIPATH of the next hops that are alive, or of all on links
// that are up if none is.
func (c *contents) multipathForm(w *want) *form {
	nextHops := make([]wire.NextHop, 0, len(w.nextHops))
	for _, l := range w.nextHops {
		if c.links.linkUp(l.IfIndex) && !c.nexthops.down[gatewayKey{l.IfIndex, l.Gateway}] {
			nextHops = append(nextHops, l)
		}
	}
	if len(nextHops) == 0 {
		for _, l := range w.nextHops {
			if c.links.linkAdminUp(l.IfIndex) {
				nextHops = append(nextHops, l)
			}
		}
	}
	if len(nextHops) == 0 {
		return nil
	}
	return c.intern.form(&w.Facts, 0, nextHops, false)
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
