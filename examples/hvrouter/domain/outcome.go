package domain

import "net/netip"

// outcome is what the sources of one prefix come to.
type outcome struct {
	table     Route // in the domain's table
	copied    Route // in local-out
	hasTable  bool
	hasCopy   bool
	announced bool
	announce  Announcement
}

// outcome decides. This is the whole policy of R4, R6 and R8.
func (v View) outcome(p netip.Prefix, e entry) outcome {
	var o outcome
	switch {
	case e.local != nil:
		o.setTable(v.localRoute(p, e))
		o.setCopy(v.LocalOut, p, o.table, e.local.Metric, true)
		o.announced, o.announce = true, Announcement{Prefix: p, LocalPref: e.local.LocalPref, Route: o.table.Key, Address: e.local.Address, Alternative: e.alternative}
	case len(e.learned) > 0:
		l := e.learned[0]
		o.setCopy(v.LocalOut, p, Route{NextHops: l.NextHops, LinkScope: l.LinkScope}, l.Metric, true)
		o.announced, o.announce = true, Announcement{Prefix: p, LocalPref: 100, Alternative: e.alternative}
	case len(e.bgp) > 0:
		src := v.PrefSrc4
		if p.Addr().Is6() {
			src = v.PrefSrc6
		}
		o.setTable(Route{Key: Key{v.Table, p, v.Metric}, NextHops: e.bgp, PrefSrc: src})
		o.setCopy(v.LocalOut, p, o.table, v.LocalOut.Metric, v.LocalOut.All)
	}
	return o
}

func (v View) localRoute(p netip.Prefix, e entry) Route {
	r := Route{Key: Key{v.Table, p, e.local.Metric}, NextHops: e.local.NextHops, LinkScope: e.local.LinkScope}
	if v.Spread && len(e.bgp) > 0 {
		r.NextHops = sortHops(append(append([]NextHop(nil), r.NextHops...), e.bgp...))
		r.LinkScope = false
	}
	return r
}

func (o *outcome) setTable(r Route) { o.table, o.hasTable = r, true }

func (o *outcome) setCopy(lo LocalOutView, p netip.Prefix, r Route, metric uint32, wanted bool) {
	v4 := p.Addr().Is4()
	if !wanted || lo.Table == 0 || v4 && !lo.IPv4 || !v4 && !lo.IPv6 {
		return
	}
	r.Key, r.PrefSrc = Key{lo.Table, p, metric}, lo.Src6
	if v4 {
		r.PrefSrc = lo.Src4
	}
	o.copied, o.hasCopy = r, true
}

func (o outcome) routes() (routes []Route) {
	if o.hasTable {
		routes = append(routes, o.table)
	}
	if o.hasCopy {
		routes = append(routes, o.copied)
	}
	return routes
}

// diff appends what leads from one outcome to the other.
func (fx *Effects) diff(from, to outcome) {
	fx.route(from.hasTable, from.table, to.hasTable, to.table)
	fx.route(from.hasCopy, from.copied, to.hasCopy, to.copied)
	switch {
	case to.announced && (!from.announced || from.announce != to.announce):
		fx.Announce = append(fx.Announce, to.announce)
	case from.announced && !to.announced:
		fx.Withdraw = append(fx.Withdraw, from.announce.Prefix)
	}
}

func (fx *Effects) route(had bool, from Route, has bool, to Route) {
	if has && (!had || !from.Equal(to)) {
		fx.Set = append(fx.Set, to)
	}
	if had && (!has || from.Key != to.Key) {
		fx.Delete = append(fx.Delete, from.Key)
	}
}
