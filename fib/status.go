package fib

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// Routes iterates over the desired routes and, before Sweep, the stale ones, in
// no order. The lock is not held while the loop body runs; changes meanwhile
// may or may not be seen.
func (f *FIB) Routes() iter.Seq[RouteStatus] {
	return func(yield func(RouteStatus) bool) {
		var page []fibcore.RouteStatus
		for next, more := uint32(0), true; more; more = next != 0 {
			f.lock()
			page, next = f.core.Page(next, page[:0], f.now())
			f.unlock()
			for i := range page {
				if !yield(statusOf(&page[i])) {
					return
				}
			}
		}
	}
}

// Diff lists how the kernel, as far as it is known from notifications, differs
// from the desired state, sorted by text. It is empty when all is well. Sysctls
// are compared when they are written, and are listed when that failed.
func (f *FIB) Diff() []Difference {
	f.lock()
	defer f.unlock()
	var d []Difference
	for _, one := range f.core.Diff() {
		d = append(d, differenceOf(&one))
	}
	slices.SortFunc(d, func(a, b Difference) int { return cmp.Compare(a.String(), b.String()) })
	return d
}

// Stats returns counters. It looks at every route: not for the fast path.
func (f *FIB) Stats() Stats {
	f.lock()
	defer f.unlock()
	return Stats(f.core.Stats(f.now()))
}

// Via returns next hops to gateways, each on the interface whose connected network the
// gateway is in: what the kernel does for `ip route add ... via GATEWAY` without dev. Of
// several networks the longest prefix counts, and of equal ones the lowest interface index.
// The zone of a link-local gateway names its interface. A gateway in no connected network
// is left out, as are all before Run has read the kernel (see [FIB.Flush]). It looks at
// every address of the namespace: not for the fast path of a host that has thousands.
func (f *FIB) Via(gateways ...netip.Addr) (hops []NextHop) {
	f.lock()
	defer f.unlock()
	for _, g := range gateways {
		if link := f.core.Connected(g); link != 0 {
			hops = append(hops, NextHop{Gateway: g.WithZone(""), IfIndex: link})
		}
	}
	return hops
}

// NextHops lists the next-hop objects of ours that are in the kernel now, by id, so that
// another process (see package bfd) can remove dead ones if this one can not.
// EventNextHops tells when the answer has changed.
func (f *FIB) NextHops() []NextHopObject {
	f.lock()
	defer f.unlock()
	list := f.core.NextHops()
	out := make([]NextHopObject, len(list))
	for i := range list {
		out[i] = NextHopObject(list[i])
	}
	return out
}

// Gateways lists the gateways of all desired routes with several next hops, sorted:
// those for which GatewayDown makes a difference. Unlike NextHops it does not
// depend on what is in the kernel at the moment: another program may have removed a
// dead next hop before word of it came.
func (f *FIB) Gateways() []Gateway {
	f.lock()
	defer f.unlock()
	list := f.core.Gateways()
	out := make([]Gateway, len(list))
	for i := range list {
		out[i] = Gateway(list[i])
	}
	return out
}

// Links lists the interfaces, by index. Empty before EventSynced.
func (f *FIB) Links() []Link {
	f.lock()
	defer f.unlock()
	list := f.core.Links()
	out := make([]Link, len(list))
	for i := range list {
		out[i] = Link(list[i])
	}
	return out
}
