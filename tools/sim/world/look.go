package world

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// Which flows are looked at. A flow is looked at again only if something has changed that its path
// depended on when it was looked at last: the state of a machine or its cables, or a route, a
// next-hop object, a rule or an interface of a kernel that decided about it.

// watch is what a flow depends on at one machine that its packets come through.
type watch struct {
	h        *hypervisor
	position int // in the machine's watchers
	// The next-hop objects that decided. any: a route with no next hop that is up was passed
	// over, so that each object of the kernel may decide the next time.
	objects []uint32
	any     bool
}

// watcher is a watch of a flow, at the machine.
type watcher struct {
	f *flow
	i int // in the flow's watches
}

// noted adds a machine to those that a flow depends on.
func (f *flow) noted(h *hypervisor) *watch {
	if len(f.next) < cap(f.next) {
		f.next = f.next[:len(f.next)+1] // with the memory of its objects
	} else {
		f.next = append(f.next, watch{})
	}
	x := &f.next[len(f.next)-1]
	x.h, x.objects, x.any = h, x.objects[:0], false
	return x
}

// decided notes what a decision of a kernel depended on.
func (x *watch) decided(k *fakekernel.Kernel, d *fakekernel.Decision) {
	x.any = d.PassedOver
	if d.Route == nil || d.Route.NextHopID == 0 {
		return
	}
	id := d.Route.NextHopID
	x.objects = append(x.objects, id)
	if n := k.NextHop(id); n != nil {
		for _, m := range n.Members {
			x.objects = append(x.objects, m.ID)
		}
	}
}

// leadsNowhere reports whether no flow that depends on the machine goes to a prefix.
func (h *hypervisor) leadsNowhere(p netip.Prefix) bool {
	return (p.IsSingleIP() || p.Bits() == guestLength) && h.destinations[p] == 0
}

// guestLength is the prefix length of the networks of guests.
const guestLength = 64

// arrives counts a flow that depends on the machine, or not any more.
func (h *hypervisor) arrives(f *flow, n int) {
	if h.destinations == nil {
		h.destinations = map[netip.Prefix]int{}
	}
	for _, bits := range [...]int{f.to.BitLen(), guestLength} {
		p, err := f.to.Prefix(bits)
		if err != nil {
			continue // IPv4
		}
		if h.destinations[p] += n; h.destinations[p] == 0 {
			delete(h.destinations, p)
		}
	}
}

// anyObject stands for all next-hop objects: there is none with the id 0.
const anyObject = 0

// count counts the objects that x needs, at the machine.
func (x *watch) count(n int) {
	one := func(id uint32) {
		if x.h.deciders == nil {
			x.h.deciders = map[uint32]int{}
		}
		if x.h.deciders[id] += n; x.h.deciders[id] == 0 {
			delete(x.h.deciders, id)
		}
	}
	if x.any {
		one(anyObject)
	}
	for _, id := range x.objects {
		one(id)
	}
}

// rewatch makes what a flow depends on what was noted while it was looked at.
func (f *flow) rewatch() {
	for i := range f.watches {
		f.watches[i].count(-1)
	}
	for i := range f.next {
		f.next[i].count(1)
	}
	same := slices.EqualFunc(f.watches, f.next, func(a, b watch) bool { return a.h == b.h })
	if !same {
		for _, x := range f.watches {
			x.h.unwatch(x.position)
			x.h.arrives(f, -1)
		}
	}
	f.watches, f.next = f.next, f.watches[:0]
	for i := range f.watches {
		x := &f.watches[i]
		if same {
			x.position = f.next[:cap(f.next)][i].position
			continue
		}
		x.position = len(x.h.watchers)
		x.h.watchers = append(x.h.watchers, watcher{f, i})
		x.h.arrives(f, 1)
	}
}

func (h *hypervisor) unwatch(position int) {
	last := len(h.watchers) - 1
	moved := h.watchers[last]
	h.watchers[position] = moved
	moved.f.watches[moved.i].position = position
	h.watchers[last] = watcher{}
	h.watchers = h.watchers[:last]
}

// changedHost has the flows looked at that depend on a machine.
func (w *World) changedHost(h *hypervisor) {
	if h == nil {
		return
	}
	w.changed = true
	for _, x := range h.watchers {
		w.mark(x.f)
	}
}

// mark has a flow looked at.
func (w *World) mark(f *flow) {
	w.changed = true
	if !f.marked {
		f.marked = true
		w.marked = append(w.marked, f)
	}
}

// changedKernel takes in what has changed in a kernel. A turn of a daemon changes many routes, so
// that the flows are looked for once, after it.
func (h *hypervisor) changedKernel(c *fakekernel.Change) {
	w := h.w
	w.changed = true
	switch {
	case c.OldRoute != nil || c.NewRoute != nil:
		h.dirty()
		h.changedRoutes = append(h.changedRoutes, cmp.Or(c.NewRoute, c.OldRoute).Prefix())
	case c.OldNextHop != nil || c.NewNextHop != nil:
		h.dirty()
		if h.changedObjects == nil {
			h.changedObjects = map[uint32]struct{}{}
		}
		h.changedObjects[cmp.Or(c.NewNextHop, c.OldNextHop).ID] = struct{}{}
	default:
		w.changedHost(h)
	}
}

// dirty has markDirty come to the hypervisor.
func (h *hypervisor) dirty() {
	if len(h.changedRoutes) == 0 && len(h.changedObjects) == 0 {
		h.w.dirty = append(h.w.dirty, h)
	}
}

// markDirty has the flows looked at that depend on what has changed in kernels.
func (w *World) markDirty() {
	for _, h := range w.dirty {
		h.changedRoutes = slices.DeleteFunc(h.changedRoutes, h.leadsNowhere)
		routes := newPrefixes(h.changedRoutes)
		objects := h.changedObjects
		for id := range objects { // most are new, or of routes that no flow takes
			if h.deciders[anyObject] == 0 && h.deciders[id] == 0 {
				delete(objects, id)
			}
		}
		if len(objects)+len(h.changedRoutes) > 0 {
			for _, x := range h.watchers {
				if !x.f.marked && (routes.cover(x.f.to) || x.f.watches[x.i].needs(objects)) {
					w.mark(x.f)
				}
			}
		}
		h.changedRoutes = h.changedRoutes[:0]
		clear(h.changedObjects)
	}
	clear(w.dirty)
	w.dirty = w.dirty[:0]
}

// needs reports whether one of some next-hop objects has decided, or may the next time.
func (x *watch) needs(objects map[uint32]struct{}) bool {
	if len(objects) == 0 || x.any {
		return len(objects) > 0
	}
	return slices.ContainsFunc(x.objects, func(id uint32) bool { _, ok := objects[id]; return ok })
}

// prefixes are prefixes to look an address up in.
type prefixes struct {
	few     []netip.Prefix // if there are so few that they are gone through
	all     map[netip.Prefix]struct{}
	lengths []prefixLength
}

type prefixLength struct {
	bits int
	ipv4 bool
}

func newPrefixes(list []netip.Prefix) (p prefixes) {
	if len(list) <= 8 {
		return prefixes{few: list}
	}
	p.all = make(map[netip.Prefix]struct{}, len(list))
	for _, x := range list {
		p.all[x.Masked()] = struct{}{}
		if l := (prefixLength{x.Bits(), x.Addr().Is4()}); !slices.Contains(p.lengths, l) {
			p.lengths = append(p.lengths, l)
		}
	}
	return p
}

// cover reports whether an address is in one of them.
func (p *prefixes) cover(a netip.Addr) bool {
	for _, x := range p.few {
		if x.Contains(a) {
			return true
		}
	}
	for _, l := range p.lengths {
		if l.ipv4 != a.Is4() {
			continue
		}
		x, _ := a.Prefix(l.bits)
		if _, ok := p.all[x]; ok {
			return true
		}
	}
	return false
}

// look looks at the flows that may have changed, and judges the broken ones: what excuses them may
// have changed, too.
func (w *World) look() {
	if !w.changed {
		return
	}
	w.changed = false
	w.markDirty()
	list := w.marked
	if w.config.EveryFlow {
		list = append(list[:0], w.flows...)
	} else {
		for _, f := range w.broken {
			if !f.marked {
				list = append(list, f)
			}
		}
		slices.SortFunc(list, (*flow).compare)
	}
	for _, f := range list {
		if f.marked || w.config.EveryFlow {
			f.marked = false
			w.lookAt(f)
		} else if f.bad {
			w.judge(f)
		}
	}
	w.marked = list[:0]
}

func (f *flow) compare(o *flow) int { return cmp.Compare(f.number, o.number) }

// broke and mended keep the list of the flows that are broken.
func (w *World) broke(f *flow) {
	f.bad = true
	i, _ := slices.BinarySearchFunc(w.broken, f, (*flow).compare)
	w.broken = slices.Insert(w.broken, i, f)
}

func (w *World) mended(f *flow) {
	f.bad = false
	if i, ok := slices.BinarySearchFunc(w.broken, f, (*flow).compare); ok {
		w.broken = slices.Delete(w.broken, i, i+1)
	}
}

// dropFlow has a flow depend on nothing any more.
func (w *World) dropFlow(f *flow) {
	if f.bad {
		w.mended(f)
	}
	w.cancel(f.verdict)
	f.next = f.next[:0]
	f.rewatch()
	w.marked = slices.DeleteFunc(w.marked, func(o *flow) bool { return o == f })
	f.guest.flows = slices.DeleteFunc(f.guest.flows, func(o *flow) bool { return o == f })
}
