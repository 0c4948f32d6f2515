package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// Findings is what was found: routes, and addresses that guests send from. The zero value is
// ready.
type Findings struct {
	routes map[routeKey]via
	seen   map[netip.Addr]*Address
	count  uint64 // of everything that was ever found, for its order
}

// routeKey identifies a foreign route of the guests' table.
type routeKey struct {
	prefix netip.Prefix
	metric uint32
}

// via is the interface that a foreign route leads over.
type via struct {
	ifindex int
	routed  bool // through a gateway
}

// Address is an address that a guest sends from.
type Address struct {
	Addr    netip.Addr
	IfIndex int
	MAC     [6]byte // zero: known from before a restart, and not seen yet
	Since   time.Time
	// Conflict is the last claim to the address by another one, nil if there was none, and
	// ConflictTime is when that was.
	Conflict     *edge.Sighting
	ConflictTime time.Time

	order uint64 // of the first sighting
}

// Route takes a foreign route of the guests' table. uplink reports whether an interface is known
// to be none of a guest's: routes over it are none of a guest's, either. A route may be known
// before its interface is. It returns the interfaces for which something is different: what
// was over one may be over the other now; 0 is none.
func (f *Findings) Route(c fib.LearnChange, uplink func(ifindex int) bool) (before, now int) {
	k := routeKey{c.Prefix, c.Metric}
	old, had := f.routes[k]
	delete(f.routes, k)
	if !c.Gone && len(c.NextHops) == 1 && !uplink(c.NextHops[0].IfIndex) {
		if f.routes == nil {
			f.routes = map[routeKey]via{}
		}
		f.routes[k] = via{c.NextHops[0].IfIndex, c.NextHops[0].Gateway.IsValid()}
	}
	if is, has := f.routes[k]; is != old || has != had {
		return old.ifindex, is.ifindex
	}
	return 0, 0
}

// Sighting takes what was seen of an address. It reports whether that is worth a line of the log,
// and whether guests have other addresses now.
func (f *Findings) Sighting(s edge.Sighting, now time.Time) (log, changed bool) {
	old := f.seen[s.IP]
	switch s.Kind {
	case arp.EventConflict:
		if old != nil {
			old.Conflict, old.ConflictTime = &s, now
		}
		return old != nil, false
	case arp.EventGone:
		if old == nil || old.IfIndex != s.IfIndex {
			return false, false
		}
		delete(f.seen, s.IP)
	default: // seen or moved
		next := f.add(s.IP, s.IfIndex, now)
		next.MAC = s.MAC
		if old != nil && old.IfIndex == s.IfIndex {
			next.order, next.Conflict, next.ConflictTime = old.order, old.Conflict, old.ConflictTime
		}
	}
	return true, true
}

func (f *Findings) add(a netip.Addr, ifindex int, now time.Time) *Address {
	if f.seen == nil {
		f.seen = map[netip.Addr]*Address{}
	}
	f.count++
	f.seen[a] = &Address{Addr: a, IfIndex: ifindex, Since: now, order: f.count}
	return f.seen[a]
}

// Seed takes an address that a guest was found to have by an earlier run: it stays until it is
// seen, or is not.
func (f *Findings) Seed(a netip.Addr, ifindex int, now time.Time) { f.add(a, ifindex, now) }

// compare orders addresses as they were first seen.
func (f *Findings) compare(a, b netip.Addr) int {
	return cmp.Compare(f.seen[a].order, f.seen[b].order)
}

// Seeded returns the addresses that were not seen in this run, by interface.
func (f *Findings) Seeded() map[int][]netip.Addr {
	out := map[int][]netip.Addr{}
	for a, s := range f.seen {
		if s.MAC == [6]byte{} {
			out[s.IfIndex] = append(out[s.IfIndex], a)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, f.compare)
	}
	return out
}

// Addresses returns the addresses that were found, in no particular order.
func (f *Findings) Addresses() (list []Address) {
	for _, s := range f.seen {
		list = append(list, *s)
	}
	return list
}

// Routes returns the foreign routes over each interface, in no particular order.
func (f *Findings) Routes() map[int][]netns.FoundRoute {
	out := map[int][]netns.FoundRoute{}
	for k, v := range f.routes {
		out[v.ifindex] = append(out[v.ifindex], netns.FoundRoute{Prefix: k.prefix, Routed: v.routed})
	}
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// ByLink returns a lookup of what was found behind an interface: routes in the order of their
// prefixes, then addresses in the order in which they were first seen.
func (f *Findings) ByLink() func(ifindex int) []guest.Finding {
	routes, seen := map[int][]guest.Finding{}, map[int][]netip.Addr{}
	for k, v := range f.routes {
		v4 := k.prefix.Addr().Is4()
		routes[v.ifindex] = append(routes[v.ifindex], guest.Finding{Prefix: k.prefix, Learned: true, Routed: v4 && (v.routed || !k.prefix.IsSingleIP())})
	}
	for a, s := range f.seen {
		seen[s.IfIndex] = append(seen[s.IfIndex], a)
	}
	return func(ifindex int) []guest.Finding {
		out := routes[ifindex]
		slices.SortFunc(out, func(a, b guest.Finding) int {
			return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), compareBool(a.Routed, b.Routed))
		})
		out = slices.CompactFunc(out, func(a, b guest.Finding) bool { return a.Prefix == b.Prefix })
		addrs := seen[ifindex]
		slices.SortFunc(addrs, f.compare)
		for _, a := range addrs {
			out = append(out, guest.Finding{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
		return out
	}
}
