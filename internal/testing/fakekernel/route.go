package fakekernel

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Route is a route; one of several under its key if others have appended some.
type Route struct {
	wire.RouteMessage
	body []byte // as dumped
}

func parseRoute(body []byte) (*Route, error) {
	r := &Route{body: slices.Clone(body)}
	if err := r.Parse(body); err != nil {
		return nil, err
	}
	if r.NextHopID != 0 {
		r.NextHops = nil
	}
	return r, nil
}

// equal reports whether the kernel has one fib_info for both.
func (r *Route) equal(q *Route) bool {
	return r.Facts == q.Facts && r.NextHopID == q.NextHopID && slices.Equal(r.NextHops, q.NextHops) && r.Unknown == q.Unknown
}

// via reports whether a next hop of r leaves through the link.
func (r *Route) via(link int32) bool {
	return slices.ContainsFunc(r.NextHops, func(l wire.NextHop) bool { return l.IfIndex == link })
}

// ecmp is rt6_qualify_for_ecmp.
func (r *Route) ecmp() bool {
	return r.NextHopID == 0 && len(r.NextHops) > 0 && r.NextHops[0].Gateway.IsValid() && r.Type == wire.RouteUnicast
}

// encode makes the body of a route whose next hops have changed.
func (r *Route) encode() {
	r.body = wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 0, &r.RouteMessage, true)[rtnl.SizeHeader:]
}

// named reports whether a deletion names next hops.
func (r *Route) named() bool {
	return len(r.NextHops) > 0 && (r.NextHops[0].IfIndex != 0 || r.NextHops[0].Gateway.IsValid())
}

func (k *Kernel) route(msg rtnl.Message) unix.Errno {
	r, err := parseRoute(msg.Body)
	if err != nil {
		return unix.EINVAL
	}
	if msg.Type == rtnl.RTM_DELROUTE {
		return k.deleteRoute(r)
	}
	if err := k.valid(r); err != 0 {
		return err
	}
	if r.Family == wire.FamilyIPv6 {
		return k.newRoute6(r, msg.Flags)
	}
	k.inherit(r)
	return k.newRoute4(r, msg.Flags)
}

// inherit is fib_find_info_nh: a route by a next-hop object that comes without RTA_METRICS gets those of
// another that is equal but for them and the destination. Of several the kernel takes the one that was made last, this
// one the first.
func (k *Kernel) inherit(r *Route) {
	if r.NextHopID == 0 {
		return
	}
	for typ := range rtnl.Attributes(r.body[rtnl.SizeRoute:]) {
		if typ == rtnl.RTA_METRICS {
			return
		}
	}
	for q := range k.routes.all() {
		if q.NextHopID == r.NextHopID && q.Family == r.Family && q.Protocol == r.Protocol && q.Scope == r.Scope && q.PrefSrc == r.PrefSrc &&
			q.Metric == r.Metric && q.Type == r.Type && q.Table == r.Table {
			if q.MTU != 0 || q.AdvMSS != 0 {
				r.MTU, r.AdvMSS = q.MTU, q.AdvMSS
				r.encode()
			}
			return
		}
	}
}

// valid checks what both families check.
func (k *Kernel) valid(r *Route) unix.Errno {
	if r.NextHopID != 0 {
		h := k.hops[r.NextHopID]
		if h == nil || h.Flag == rtnl.NHA_FDB || r.Family == wire.FamilyIPv6 && k.isIPv4(h) {
			return unix.EINVAL
		}
	}
	for _, l := range r.NextHops {
		switch link := k.links[l.IfIndex]; {
		case link == nil:
			return unix.ENODEV
		case !link.AdminUp:
			return unix.ENETDOWN
		case !l.Gateway.IsValid():
		case k.Refuse[l.Gateway] || !l.OnLink && !k.Reaches(l.Gateway, l.IfIndex):
			return unix.ENETUNREACH
		}
	}
	if src := r.PrefSrc; src.IsValid() && !slices.ContainsFunc(k.addrs, func(a wire.KernelAddress) bool { return a.Prefix.Addr() == src }) {
		return unix.EINVAL
	}
	return 0
}

// newRoute4 is fib_table_insert.
func (k *Kernel) newRoute4(r *Route, flags uint16) unix.Errno {
	under := k.routes.under(r)
	match := slices.IndexFunc(under, func(q *Route) bool { return q.equal(r) })
	at, notified := 0, uint16(rtnl.NLM_F_CREATE)
	switch {
	case len(under) == 0:
		notified |= rtnl.NLM_F_EXCL
	case flags&rtnl.NLM_F_EXCL != 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0 && match == 0:
		return 0
	case flags&rtnl.NLM_F_REPLACE != 0 && match > 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0:
		k.replace(r)
		return 0
	case match >= 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_APPEND != 0:
		at, notified = len(under), notified|rtnl.NLM_F_APPEND
	}
	if flags&rtnl.NLM_F_CREATE == 0 {
		return unix.ENOENT
	}
	k.routes.insert(r, at)
	k.changed(Change{NewRoute: r})
	k.notify(rtnl.RTM_NEWROUTE, notified, k.shown(r))
	return 0
}

// newRoute6 is fib6_add, and ip6_route_multipath_add for several next hops, without what
// others append to a route that is no ECMP one.
func (k *Kernel) newRoute6(r *Route, flags uint16) unix.Errno {
	under := k.routes.under(r)
	switch {
	case len(under) == 0 && flags&rtnl.NLM_F_CREATE == 0:
		return unix.ENOENT
	case len(under) == 0:
		k.routes.insert(r, 0)
	case flags&rtnl.NLM_F_EXCL != 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0:
		k.replace(r)
		return 0
	case flags&rtnl.NLM_F_APPEND != 0 && r.ecmp() && under[0].ecmp():
		q := under[0]
		if slices.Contains(q.NextHops, r.NextHops[0]) {
			return unix.EEXIST
		}
		q.NextHops = append(slices.Clone(q.NextHops), r.NextHops...)
		slices.SortFunc(q.NextHops, wire.CompareNextHops)
		q.encode()
		k.changed(Change{NewRoute: q})
		k.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_APPEND|rtnl.NLM_F_CREATE, k.shown(q))
		return 0
	default:
		return unix.EEXIST
	}
	k.changed(Change{NewRoute: r})
	k.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_CREATE, k.shown(r))
	return 0
}

// replace puts r in the place of the first route under its key.
func (k *Kernel) replace(r *Route) {
	old := k.routes.replace(r)
	k.changed(Change{OldRoute: old, NewRoute: r})
	k.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_REPLACE, k.shown(r))
}

// gone takes a route away that nobody has deleted.
func (k *Kernel) gone(r *Route) {
	k.routes.remove(r)
	k.changed(Change{OldRoute: r, Cascade: true})
}

// shown is the body of a route in a dump or a notification: one by an object that is a
// blackhole is one, too (fib_dump_info, rt6_fill_node).
func (k *Kernel) shown(r *Route) []byte {
	if h := k.hops[r.NextHopID]; h == nil || !k.isBlackhole(h) {
		return r.body
	}
	b := slices.Clone(r.body)
	b[7] = uint8(wire.RouteBlackhole)
	return b
}

// deleteRoute is fib_table_delete, and ip6_route_del: a metric of 0 is any in IPv4.
func (k *Kernel) deleteRoute(r *Route) unix.Errno {
	var best *Route
	for q := range k.routes.metrics(r.prefixKey()) {
		switch {
		case r.Metric != 0 && r.Metric != q.Metric, r.Protocol != 0 && r.Protocol != q.Protocol:
		case r.Type != 0 && r.Type != q.Type && r.Family == wire.FamilyIPv4:
		case r.Family == wire.FamilyIPv4 && r.Scope != uint8(wire.ScopeNowhere) && r.Scope != q.Scope:
		case r.NextHopID != 0 && r.NextHopID != q.NextHopID:
		case r.named() && (q.NextHopID != 0 || !slices.Equal(r.NextHops, q.NextHops)):
		case best == nil || q.Metric < best.Metric:
			best = q
		}
	}
	if best == nil {
		return unix.ESRCH
	}
	k.routes.remove(best)
	k.changed(Change{OldRoute: best})
	k.notify(rtnl.RTM_DELROUTE, 0, k.shown(best))
	return 0
}

// sourceGone: routes of the main table that prefer the address go (fib_sync_down_addr),
// with a notification; IPv6 routes lose the preference without one.
func (k *Kernel) sourceGone(addr netip.Addr) {
	for r := range k.routes.all() {
		switch {
		case r.PrefSrc != addr:
		case r.Family == wire.FamilyIPv6:
			r.PrefSrc = netip.Addr{}
			r.encode()
		case r.Table == rtnl.RT_TABLE_MAIN:
			k.notify(rtnl.RTM_DELROUTE, 0, k.shown(r))
			k.gone(r)
		}
	}
}

// disable takes away the routes of an interface that goes down or loses its last
// address: in IPv4 those that have no other, without a notification. One with other next
// hops stays, with a dead next hop.
func (k *Kernel) disable(link int32, f wire.Family) {
	for r := range k.routes.all() {
		if r.Family != f || !r.via(link) || slices.ContainsFunc(r.NextHops, func(l wire.NextHop) bool {
			up := k.links[l.IfIndex] != nil && k.links[l.IfIndex].AdminUp
			return up && (f != wire.FamilyIPv4 || l.IfIndex != link)
		}) {
			continue
		}
		if f == wire.FamilyIPv6 {
			k.notifyNextHops(r, r.NextHops)
		}
		k.gone(r)
	}
}

// notifyNextHops notifies the deletion of next hops of an IPv6 route that the kernel has deleted by
// itself: one by one (fib6_del_route).
func (k *Kernel) notifyNextHops(r *Route, nextHops []wire.NextHop) {
	for _, l := range nextHops {
		one := &Route{RouteMessage: r.RouteMessage}
		one.NextHops = []wire.NextHop{l}
		one.encode()
		k.notify(rtnl.RTM_DELROUTE, 0, one.body)
	}
}

// unregister takes away the routes with a next hop on an interface that is deleted: in IPv4
// the whole route, in IPv6 the next hop.
func (k *Kernel) unregister(link int32) {
	for r := range k.routes.all() {
		switch {
		case !r.via(link):
			continue
		case r.Family == wire.FamilyIPv4:
			k.gone(r)
			continue
		}
		var lost, rest []wire.NextHop
		for _, l := range r.NextHops {
			if l.IfIndex == link {
				lost = append(lost, l)
			} else {
				rest = append(rest, l)
			}
		}
		k.notifyNextHops(r, lost)
		if r.NextHops = rest; len(rest) == 0 {
			k.gone(r)
			continue
		}
		r.encode()
		k.changed(Change{NewRoute: r})
	}
}

// Complete fills in what iproute2 would: the main table, the type unicast, weights of 1, the
// scope unless it is given, and the metric that IPv6 has in the place of 0. Next hops are
// sorted, and duplicates merged.
func Complete(m *wire.RouteMessage, scope wire.Scope) {
	m.Table, m.Type = cmp.Or(m.Table, rtnl.RT_TABLE_MAIN), cmp.Or(m.Type, wire.RouteUnicast)
	direct := m.Type == wire.RouteUnicast && len(m.NextHops) > 0
	for i := range m.NextHops {
		h := &m.NextHops[i]
		h.Weight = cmp.Or(h.Weight, 1)
		direct = direct && !h.Gateway.IsValid()
	}
	slices.SortFunc(m.NextHops, wire.CompareNextHops)
	m.NextHops = slices.Compact(m.NextHops)
	switch {
	case m.Family == wire.FamilyIPv6:
		m.Metric = cmp.Or(m.Metric, metricIPv6)
	case scope != wire.ScopeAuto:
		m.Scope = scope.Kernel()
	case m.Type == wire.RouteLocal:
		m.Scope = wire.ScopeHost.Kernel()
	case direct:
		m.Scope = wire.ScopeLink.Kernel()
	}
}

// metricIPv6 is IP6_RT_PRIO_USER.
const metricIPv6 = 1024
