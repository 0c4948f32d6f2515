package world

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	model "github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// exports are the guests that a hypervisor announces, and those that its kernel has.
type exports struct {
	h         *hypervisor
	announced map[netip.Prefix]bool
	routes    map[netip.Prefix][]uint32      // in the kernel that may be announced: their metrics
	missing   map[netip.Prefix]time.Duration // since when the kernel has had none any more
}

// kernelStarts takes in that the kernel is a new one.
func (x *exports) kernelStarts() {
	x.announced, x.routes, x.missing = map[netip.Prefix]bool{}, map[netip.Prefix][]uint32{}, map[netip.Prefix]time.Duration{}
}

// kernelChanges takes in a change of the kernel.
func (x *exports) kernelChanges(c *fakekernel.Change) {
	r := c.NewRoute
	if r == nil {
		r = c.OldRoute
	}
	if r == nil || r.Table != guestTable {
		return
	}
	p := r.Prefix()
	if x.h.w.guestOf(p.Addr()) == nil {
		return
	}
	i := slices.Index(x.routes[p], r.Metric)
	switch {
	case c.NewRoute != nil && x.origin(r):
		if i < 0 {
			x.routes[p] = append(x.routes[p], r.Metric)
		}
		delete(x.missing, p)
	case i >= 0 && len(x.routes[p]) > 1:
		x.routes[p] = slices.Delete(x.routes[p], i, i+1)
	case i >= 0:
		delete(x.routes, p)
		x.missing[p] = x.h.w.now
		x.h.w.after(x.patience(), func() { x.judge(p) })
	}
}

// origin reports whether a route is one to announce: ours to a guest's interface, or another
// program's.
func (x *exports) origin(r *fakekernel.Route) bool {
	if r.Protocol != protocol || r.Type != model.RouteUnicast {
		return r.Type == model.RouteUnicast
	}
	ifindex := int32(0)
	if n := x.h.kernel.NextHop(r.NextHopID); n != nil {
		ifindex = n.IfIndex
	} else if len(r.NextHops) > 0 {
		ifindex = r.NextHops[0].IfIndex
	}
	return ifindex >= firstGuest
}

// patience is how long a prefix may be announced that the kernel has lost.
func (x *exports) patience() time.Duration { return domain.RepairTime + slack }

// announce takes in that the daemon announces a prefix: the kernel has a route for it.
func (x *exports) announce(p netip.Prefix) {
	w := x.h.w
	if x.announced[p] {
		return
	}
	x.announced[p] = true
	since, had := x.missing[p]
	_, there := x.routes[p]
	switch {
	case there:
	case had && x.knows(since)+x.patience() > w.now: // it has just gone
		w.after(x.patience(), func() { x.judge(p) })
	default:
		w.violate("announced is only what the kernel has", "%s: %v is announced, and the kernel has no route for it", x.h.name, p)
	}
}

// knows returns when the daemon could know of what has happened in the kernel at a time.
func (x *exports) knows(since time.Duration) time.Duration {
	return max(since, x.h.returned, x.h.unheard)
}

// judge looks at a prefix that the kernel has had no route for.
func (x *exports) judge(p netip.Prefix) {
	w, h := x.h.w, x.h
	since, missing := x.missing[p]
	if !missing || !x.announced[p] || h.daemon.state == dead {
		return
	}
	if since = x.knows(since); h.daemon.state == stopped || h.daemon.slow > 0 {
		since = w.now
	}
	if left := since + x.patience() - w.now; left > 0 {
		w.after(left, func() { x.judge(p) })
		return
	}
	w.violate("announced is only what the kernel has", "%s: %v has no route for %v and is announced", h.name, p, w.now-since)
}
