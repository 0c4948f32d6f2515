package world

import (
	"cmp"
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

// rewatch makes what a flow depends on what was noted while it was looked at.
func (f *flow) rewatch() {
	same := slices.EqualFunc(f.watches, f.next, func(a, b watch) bool { return a.h == b.h })
	if !same {
		for _, x := range f.watches {
			x.h.unwatch(x.position)
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

// changedKernel has the flows looked at that depend on what has changed in a kernel.
func (h *hypervisor) changedKernel(c *fakekernel.Change) {
	w := h.w
	w.changed = true
	switch {
	case c.OldRoute != nil || c.NewRoute != nil:
		r := cmp.Or(c.NewRoute, c.OldRoute)
		prefix := r.Prefix()
		for _, x := range h.watchers {
			if !x.f.marked && prefix.Contains(x.f.to) {
				w.mark(x.f)
			}
		}
	case c.OldNextHop != nil || c.NewNextHop != nil:
		id := cmp.Or(c.NewNextHop, c.OldNextHop).ID
		for _, x := range h.watchers {
			if d := &x.f.watches[x.i]; !x.f.marked && (d.any || slices.Contains(d.objects, id)) {
				w.mark(x.f)
			}
		}
	default:
		w.changedHost(h)
	}
}

// look looks at the flows that may have changed, and judges the broken ones: what excuses them may
// have changed, too.
func (w *World) look() {
	if !w.changed {
		return
	}
	w.changed = false
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
