package domain

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Announcement is a prefix of ours for the domain's reflectors. [Exports] decides when it
// is announced.
type Announcement struct {
	Prefix    netip.Prefix
	LocalPref uint32
	// Route is our route that the kernel must have. The zero Key is none: the prefix is
	// announced for somebody else's route, which is in the kernel.
	Route Key
	// Address is our address that the kernel must have; the zero Addr is none.
	Address netip.Addr
	// Alternative: another router announces the prefix, and is not about to stop.
	Alternative bool
	// GracefulShutdown: it is announced with the community GRACEFUL_SHUTDOWN. Only Exports sets
	// it.
	GracefulShutdown bool
}

// Effects is what a change calls for. A key stands in Set or Delete, not in both.
type Effects struct {
	Set      []Route
	Delete   []Key
	Announce []Announcement
	Withdraw []netip.Prefix
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	*e = Effects{Set: e.Set[:0], Delete: e.Delete[:0], Announce: e.Announce[:0], Withdraw: e.Withdraw[:0]}
}

// mark returns where the next effects will be, for sort.
func (e *Effects) mark() [4]int {
	return [4]int{len(e.Set), len(e.Delete), len(e.Announce), len(e.Withdraw)}
}

// sort puts the effects since a mark in the order of their prefixes: they came from a map.
func (e *Effects) sort(from [4]int) {
	slices.SortStableFunc(e.Set[from[0]:], func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
	slices.SortStableFunc(e.Delete[from[1]:], func(a, b Key) int { return a.Prefix.Compare(b.Prefix) })
	slices.SortFunc(e.Announce[from[2]:], func(a, b Announcement) int { return a.Prefix.Compare(b.Prefix) })
	slices.SortFunc(e.Withdraw[from[3]:], netip.Prefix.Compare)
}

// View is the part of a domain's configuration that decides about routes. It is
// comparable: a reload that leaves it alone leaves every route alone.
type View struct {
	Table    uint32
	Metric   uint32
	Spread   bool
	PrefSrc4 netip.Addr // source of BGP's IPv4 routes, the zero Addr for none
	PrefSrc6 netip.Addr
	LocalOut LocalOutView
}

// LocalOutView is local-out as one domain sees it.
type LocalOutView struct {
	Table  uint32 // 0: there is none
	All    bool   // BGP's routes are copied too
	Metric uint32 // of BGP's routes, another one for each domain
	IPv4   bool
	IPv6   bool
	Src4   netip.Addr
	Src6   netip.Addr
}

// NewView reads the configuration for the domain with this index.
func NewView(c *config.Config, index int) View {
	d := c.Domains[index]
	v := View{Table: d.Table.ID, Metric: d.Metric, Spread: d.AnycastECMP}
	src4, src6 := split(c.Loopback.Address.Addr())
	if d.Loopback {
		v.PrefSrc4, v.PrefSrc6 = src4, src6
	}
	if c.LocalOut == nil {
		return v
	}
	v.LocalOut = LocalOutView{Table: c.LocalOut.Table.ID, Src4: src4, Src6: src6,
		All: slices.Contains(c.LocalOut.Domains, d.Name), Metric: d.Metric + uint32(index)}
	for _, all := range LocalOutFamilies(c) {
		v.LocalOut.IPv4 = v.LocalOut.IPv4 || all == all4
		v.LocalOut.IPv6 = v.LocalOut.IPv6 || all == all6
	}
	return v
}

func split(a netip.Addr) (v4, v6 netip.Addr) {
	if a.Is4() {
		return a, v6
	}
	return v4, a
}

// RIB is one domain's routes by source. It is not safe for concurrent use. Methods
// append what is to be done to the Effects that they are given.
type RIB struct {
	view    View
	entries map[netip.Prefix]*entry
}

type entry struct {
	local   *Local
	learned []Learned // sorted by metric
	bgp     []NextHop
	// alternative: a router that is not drained announces the prefix.
	alternative bool
}

// Learned is a route that others put into the table.
type Learned struct {
	Metric    uint32
	NextHops  []NextHop
	LinkScope bool
}

// NewRIB makes an empty RIB.
func NewRIB(v View) *RIB { return &RIB{view: v, entries: map[netip.Prefix]*entry{}} }

// Len returns the number of prefixes.
func (r *RIB) Len() int { return len(r.entries) }

// SetLocals replaces everything that is local.
func (r *RIB) SetLocals(locals map[netip.Prefix]Local, fx *Effects) {
	from := fx.mark()
	for p, e := range r.entries {
		if _, stays := locals[p]; e.local != nil && !stays {
			r.change(p, fx, func(e *entry) { e.local = nil })
		}
	}
	for p, l := range locals {
		r.change(p, fx, func(e *entry) { e.local = &l })
	}
	fx.sort(from)
}

// SetLearned says that a foreign route is in the table.
func (r *RIB) SetLearned(p netip.Prefix, l Learned, fx *Effects) {
	r.change(p, fx, func(e *entry) {
		e.learned = append(without(e.learned, l.Metric), l)
		slices.SortFunc(e.learned, func(a, b Learned) int { return int(int64(a.Metric) - int64(b.Metric)) })
	})
}

// DropLearned says that the foreign route with this metric is gone.
func (r *RIB) DropLearned(p netip.Prefix, metric uint32, fx *Effects) {
	r.change(p, fx, func(e *entry) { e.learned = without(e.learned, metric) })
}

// SetBGP gives the next hops that BGP has for a prefix, none if it has none. The
// RIB keeps hops, which must be sorted, and never writes to it: prefixes may
// share one slice. alternative reports whether a router that is not drained announces it.
func (r *RIB) SetBGP(p netip.Prefix, hops []NextHop, alternative bool, fx *Effects) {
	r.change(p, fx, func(e *entry) { e.bgp, e.alternative = hops, alternative })
}

// SetView changes the rules of the game; every prefix is looked at again.
func (r *RIB) SetView(v View, fx *Effects) {
	if v == r.view {
		return
	}
	old := r.view
	r.view = v
	from := fx.mark()
	for p, e := range r.entries {
		fx.diff(old.outcome(p, *e), v.outcome(p, *e))
	}
	fx.sort(from)
}

// Spread reports whether a prefix that is local and remote is one multipath route of both.
func (r *RIB) Spread() bool { return r.view.Spread }

// HasBGP reports whether BGP has next hops for a prefix.
func (r *RIB) HasBGP(p netip.Prefix) bool {
	e := r.entries[p]
	return e != nil && len(e.bgp) > 0
}

// Preview returns what of the routes another view and other locals would change: for each that
// would, as it is and as it would be, nil where there is none. It changes nothing.
func (r *RIB) Preview(v View, locals map[netip.Prefix]Local, yield func(now, then *Route) bool) {
	one := func(p netip.Prefix, e entry) bool {
		now := r.view.outcome(p, e).routes()
		e.local = nil
		if l, ok := locals[p]; ok {
			e.local = &l
		}
		then := v.outcome(p, e).routes()
		return differences(now, then, yield)
	}
	for p, e := range r.entries {
		if !one(p, *e) {
			return
		}
	}
	for p := range locals {
		if r.entries[p] == nil && !one(p, entry{}) {
			return
		}
	}
}

// differences yields the routes that differ, joined by key; it reports whether it came to the
// end.
func differences(now, then []Route, yield func(now, then *Route) bool) bool {
	for _, a := range now {
		i := slices.IndexFunc(then, func(b Route) bool { return b.Key == a.Key })
		switch {
		case i < 0:
			if !yield(&a, nil) {
				return false
			}
		case !then[i].Equal(a):
			if !yield(&a, &then[i]) {
				return false
			}
		}
	}
	for _, b := range then {
		if !slices.ContainsFunc(now, func(a Route) bool { return a.Key == b.Key }) && !yield(nil, &b) {
			return false
		}
	}
	return true
}

// Prefixes yields every prefix, in no order.
func (r *RIB) Prefixes(yield func(netip.Prefix) bool) {
	for p := range r.entries {
		if !yield(p) {
			return
		}
	}
}

// Longest returns the longest prefix that covers p.
func (r *RIB) Longest(p netip.Prefix) (netip.Prefix, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		if q, err := p.Addr().Prefix(bits); err == nil && r.entries[q] != nil {
			return q, true
		}
	}
	return netip.Prefix{}, false
}

// Explain returns the sources of one prefix and what the kernel is to have.
func (r *RIB) Explain(p netip.Prefix) (sources Sources, routes []Route) {
	e := r.entries[p]
	if e == nil {
		return sources, nil
	}
	return Sources{Local: e.local, Learned: e.learned, BGP: e.bgp}, r.view.outcome(p, *e).routes()
}

// Routes yields every route that the RIB wants, in no order.
func (r *RIB) Routes(yield func(Route) bool) {
	for p, e := range r.entries {
		for _, route := range r.view.outcome(p, *e).routes() {
			if !yield(route) {
				return
			}
		}
	}
}

// Announced yields every prefix that is to be announced, in no order.
func (r *RIB) Announced(yield func(Announcement) bool) {
	for p, e := range r.entries {
		if o := r.view.outcome(p, *e); o.announced && !yield(o.announce) {
			return
		}
	}
}

// Sources is where a prefix is known from.
type Sources struct {
	Local   *Local
	Learned []Learned
	BGP     []NextHop
}

func (r *RIB) change(p netip.Prefix, fx *Effects, f func(*entry)) {
	e := r.entries[p]
	if e == nil {
		e = &entry{}
		r.entries[p] = e
	}
	before := r.view.outcome(p, *e)
	f(e)
	fx.diff(before, r.view.outcome(p, *e))
	if e.local == nil && len(e.learned) == 0 && len(e.bgp) == 0 {
		delete(r.entries, p)
	}
}

func without(learned []Learned, metric uint32) []Learned {
	return slices.DeleteFunc(slices.Clone(learned), func(l Learned) bool { return l.Metric == metric })
}
