package fib

import (
	"cmp"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Routes and next-hop objects of the fake kernel.

// fakeHop is a next-hop object or group.
type fakeHop struct {
	nextHopMessage
	flag   uint16 // NHA_BLACKHOLE or NHA_FDB
	stolen bool   // somebody else has made it of one of ours
}

// fakeRoute is a route; one of several under its key if others have appended some.
type fakeRoute struct {
	routeMessage
	body   []byte // as dumped
	stolen bool   // somebody else has put it in the place of one of ours
}

func (r *fakeRoute) same(q *routeMessage) bool {
	return r.family == q.family && r.table == q.table && r.hi == q.hi && r.lo == q.lo && r.bits == q.bits && r.tos == q.tos && r.metric == q.metric
}

// equal reports whether the kernel has one fib_info for both.
func (r *fakeRoute) equal(q *fakeRoute) bool {
	return r.facts == q.facts && r.nhid == q.nhid && slices.Equal(r.nextHops, q.nextHops) && r.alien == q.alien
}

// via reports whether a next hop of r leaves through the link.
func (r *fakeRoute) via(link int32) bool {
	return slices.ContainsFunc(r.nextHops, func(l nextHop) bool { return l.link == link })
}

func (m *fake) route(msg rtnl.Message) unix.Errno {
	r := &fakeRoute{body: slices.Clone(msg.Body)}
	if r.parse(msg.Body) != nil {
		return unix.EINVAL
	}
	r.nextHops = slices.Clone(r.nextHops)
	if r.nhid != 0 {
		r.nextHops = nil
	}
	if msg.Type == rtnl.RTM_DELROUTE {
		return m.delRoute(r)
	}
	if err := m.valid(r); err != 0 {
		return err
	}
	if r.family == FamilyIPv6 {
		return m.newRoute6(r, msg.Flags)
	}
	return m.newRoute4(r, msg.Flags)
}

// valid checks what both families check.
func (m *fake) valid(r *fakeRoute) unix.Errno {
	if r.nhid != 0 {
		h := m.hops[r.nhid]
		if h == nil || h.flag == rtnl.NHA_FDB || r.family == FamilyIPv6 && m.isIPv4(h) {
			return unix.EINVAL
		}
	}
	for _, l := range r.nextHops {
		switch link := m.links[l.link]; {
		case link == nil:
			return unix.ENODEV
		case !link.AdminUp:
			return unix.ENETDOWN
		case !l.gateway.IsValid():
		case m.faults.refuse[l.gateway] || !l.onlink && !m.reaches(l.gateway, l.link):
			return unix.ENETUNREACH
		}
	}
	if src := r.prefSrc; src.IsValid() && !slices.ContainsFunc(m.addrs, func(a kernelAddress) bool { return a.Prefix.Addr() == src }) {
		return unix.EINVAL
	}
	return 0
}

// isIPv4 reports whether no IPv6 route may use it (fib6_check_nexthop): a route by an
// IPv6 object of an IPv4 prefix is as good as one by an IPv4 object.
func (m *fake) isIPv4(h *fakeHop) bool {
	if h.members == nil {
		return h.family == FamilyIPv4
	}
	return slices.ContainsFunc(h.members, func(x member) bool { return m.isIPv4(m.hops[x.id]) })
}

// newRoute4 is fib_table_insert.
func (m *fake) newRoute4(r *fakeRoute, flags uint16) unix.Errno {
	first, match, last := -1, -1, -1
	for i, q := range m.routes {
		if q.same(&r.routeMessage) {
			if first < 0 {
				first = i
			}
			if q.equal(r) && match < 0 {
				match = i
			}
			last = i
		}
	}
	at, told := len(m.routes), uint16(rtnl.NLM_F_CREATE)
	switch {
	case first < 0:
		told |= rtnl.NLM_F_EXCL
	case flags&rtnl.NLM_F_EXCL != 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0 && match == first:
		return 0
	case flags&rtnl.NLM_F_REPLACE != 0 && match >= 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0:
		m.replaced(m.routes[first], r)
		m.routes[first] = r
		m.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_REPLACE, m.shown(r))
		return 0
	case match >= 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_APPEND != 0:
		at, told = last+1, told|rtnl.NLM_F_APPEND
	default:
		at = first
	}
	if flags&rtnl.NLM_F_CREATE == 0 {
		return unix.ENOENT
	}
	m.routes = slices.Insert(m.routes, at, r)
	m.notify(rtnl.RTM_NEWROUTE, told, m.shown(r))
	return 0
}

// newRoute6 is fib6_add, and ip6_route_multipath_add for several next hops, without what
// others append to a route that is no ECMP one.
func (m *fake) newRoute6(r *fakeRoute, flags uint16) unix.Errno {
	i := slices.IndexFunc(m.routes, func(q *fakeRoute) bool { return q.same(&r.routeMessage) })
	switch {
	case i < 0 && flags&rtnl.NLM_F_CREATE == 0:
		return unix.ENOENT
	case i < 0:
		m.routes = append(m.routes, r)
	case flags&rtnl.NLM_F_EXCL != 0:
		return unix.EEXIST
	case flags&rtnl.NLM_F_REPLACE != 0:
		m.replaced(m.routes[i], r)
		m.routes[i] = r
		m.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_REPLACE, m.shown(r))
		return 0
	case flags&rtnl.NLM_F_APPEND != 0 && r.ecmp() && m.routes[i].ecmp():
		q := m.routes[i]
		if slices.Contains(q.nextHops, r.nextHops[0]) {
			return unix.EEXIST
		}
		q.nextHops = append(slices.Clone(q.nextHops), r.nextHops...)
		slices.SortFunc(q.nextHops, compareNextHops)
		m.encode(q)
		m.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_APPEND|rtnl.NLM_F_CREATE, m.shown(q))
		return 0
	default:
		return unix.EEXIST
	}
	m.notify(rtnl.RTM_NEWROUTE, rtnl.NLM_F_CREATE, m.shown(r))
	return 0
}

// replaced notes whose route takes the place of whose.
func (m *fake) replaced(old, r *fakeRoute) {
	if m.port != fakePort {
		r.stolen = m.running && m.guard.desires(r) && (old.proto == DefaultProtocol || old.proto == DefaultPersistentProtocol || old.stolen)
	} else if m.guard != nil {
		m.guard.route(old)
	}
}

// ecmp is rt6_qualify_for_ecmp.
func (r *fakeRoute) ecmp() bool {
	return r.nhid == 0 && len(r.nextHops) > 0 && r.nextHops[0].gateway.IsValid() && r.typ == RouteUnicast
}

// encode makes the body of a route whose next hops have changed.
func (m *fake) encode(r *fakeRoute) {
	key := rkey{hi: r.hi, lo: r.lo, metric: r.metric, bits: r.bits, tos: r.tos}
	f := form{facts: r.facts, nhid: r.nhid, nextHops: r.nextHops}
	r.body = appendRoute(nil, rtnl.RTM_NEWROUTE, 0, 0, &key, tableFamily{r.table, r.family}, &f, true)[rtnl.SizeHeader:]
}

// shown is the body of a route in a dump or a notification: one by an object that is a
// blackhole is one, too (fib_dump_info, rt6_fill_node).
func (m *fake) shown(r *fakeRoute) []byte {
	if h := m.hops[r.nhid]; h == nil || !m.isBlackhole(h) {
		return r.body
	}
	b := slices.Clone(r.body)
	b[7] = uint8(RouteBlackhole)
	return b
}

func (m *fake) isBlackhole(h *fakeHop) bool {
	if len(h.members) == 1 {
		h = m.hops[h.members[0].id]
	}
	return h.flag == rtnl.NHA_BLACKHOLE
}

// delRoute is fib_table_delete, and ip6_route_del: a metric of 0 is any in IPv4.
func (m *fake) delRoute(r *fakeRoute) unix.Errno {
	best := -1
	for i, q := range m.routes {
		if q.family != r.family || q.table != r.table || q.hi != r.hi || q.lo != r.lo || q.bits != r.bits || q.tos != r.tos {
			continue
		}
		switch {
		case r.metric != 0 && r.metric != q.metric, r.proto != 0 && r.proto != q.proto:
		case r.typ != 0 && r.typ != q.typ && r.family == FamilyIPv4:
		case r.family == FamilyIPv4 && r.scope != uint8(ScopeNowhere) && r.scope != q.scope:
		case r.nhid != 0 && r.nhid != q.nhid:
		case r.named() && (q.nhid != 0 || !slices.Equal(r.nextHops, q.nextHops)):
		case best < 0 || q.metric < m.routes[best].metric:
			best = i
		}
	}
	if best < 0 {
		return unix.ESRCH
	}
	q := m.routes[best]
	if m.guard != nil && m.port == fakePort {
		m.guard.route(q)
	}
	m.routes = slices.Delete(m.routes, best, best+1)
	m.notify(rtnl.RTM_DELROUTE, 0, m.shown(q))
	return 0
}

// named reports whether a deletion names next hops.
func (r *fakeRoute) named() bool {
	return len(r.nextHops) > 0 && (r.nextHops[0].link != 0 || r.nextHops[0].gateway.IsValid())
}

// sourceGone: routes of the main table that prefer the address go (fib_sync_down_addr),
// with a notification; IPv6 routes lose the preference without one.
func (m *fake) sourceGone(addr netip.Addr) {
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		if r.prefSrc != addr {
			return false
		}
		if r.family == FamilyIPv6 {
			r.prefSrc = netip.Addr{}
			m.encode(r)
			return false
		}
		if r.table == rtnl.RT_TABLE_MAIN {
			m.notify(rtnl.RTM_DELROUTE, 0, m.shown(r))
		}
		return r.table == rtnl.RT_TABLE_MAIN
	})
}

// disable takes away the routes of an interface that goes down or loses its last
// address: in IPv4 those that have no other, without a word. One with other next hops stays,
// with a dead next hop.
func (m *fake) disable(link int32, f Family) {
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		dead := r.family == f && len(r.nextHops) > 0
		for _, l := range r.nextHops {
			up := m.links[l.link] != nil && m.links[l.link].AdminUp
			if f == FamilyIPv4 && l.link == link {
				up = false
			}
			dead = dead && !up
		}
		if !dead || !r.via(link) {
			return false
		}
		if f == FamilyIPv6 {
			m.notifyNextHops(r, r.nextHops)
		}
		return true
	})
}

// notifyNextHops notifies the deletion of next hops of an IPv6 route that the kernel has deleted by
// itself: one by one (fib6_del_route).
func (m *fake) notifyNextHops(r *fakeRoute, nextHops []nextHop) {
	for _, l := range nextHops {
		one := &fakeRoute{routeMessage: r.routeMessage}
		one.nextHops = []nextHop{l}
		m.encode(one)
		m.notify(rtnl.RTM_DELROUTE, 0, one.body)
	}
}

// unregister takes away the routes with a next hop on an interface that is deleted: in IPv4
// the whole route, in IPv6 the next hop.
func (m *fake) unregister(link int32) {
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		switch {
		case !r.via(link):
			return false
		case r.family == FamilyIPv4:
			return true
		}
		var lost []nextHop
		r.nextHops = slices.DeleteFunc(slices.Clone(r.nextHops), func(l nextHop) bool {
			if l.link == link {
				lost = append(lost, l)
			}
			return l.link == link
		})
		m.notifyNextHops(r, lost)
		if len(r.nextHops) > 0 {
			m.encode(r)
		}
		return len(r.nextHops) == 0
	})
}

// read takes a message apart.
func (h *fakeHop) read(body []byte) error {
	if err := h.parse(body); err != nil {
		return err
	}
	for a := rtnl.ParseAttributes(body[rtnl.SizeNextHop:]); a.Next(); {
		if a.Type == rtnl.NHA_BLACKHOLE || a.Type == rtnl.NHA_FDB {
			h.flag = a.Type
		}
	}
	return nil
}

// nextHop is rtm_new_nexthop and rtm_del_nexthop.
func (m *fake) nextHop(msg rtnl.Message) unix.Errno {
	h := &fakeHop{}
	if h.read(msg.Body) != nil {
		return unix.EINVAL
	}
	if msg.Type == rtnl.RTM_DELNEXTHOP {
		if m.hops[h.id] == nil {
			return unix.ENOENT
		}
		if m.guard != nil && m.port == fakePort {
			m.guard.hop(m.hops[h.id])
		}
		m.delHop(h.id, true, msg.Flags)
		return 0
	}
	if err := m.validHop(h); err != 0 {
		return err
	}
	old := m.hops[h.id]
	switch {
	case old == nil && msg.Flags&rtnl.NLM_F_REPLACE != 0 && msg.Flags&rtnl.NLM_F_CREATE == 0:
		return unix.ENOENT
	case old != nil && msg.Flags&rtnl.NLM_F_REPLACE == 0:
		return unix.EEXIST
	case old != nil && !m.replaceable(old, h):
		return unix.EINVAL
	}
	switch {
	case old == nil:
	case m.port != fakePort:
		h.stolen = m.running && (old.proto == DefaultProtocol || old.stolen)
	case m.guard != nil:
		m.guard.hop(old)
	}
	if old != nil && h.members != nil {
		h.proto = old.proto // replace_nexthop_grp does not change it
	}
	m.hops[h.id] = h
	m.notify(rtnl.RTM_NEWNEXTHOP, msg.Flags, m.hopBody(h))
	return 0
}

// validHop is rtm_to_nh_config and nh_check_attr_group.
func (m *fake) validHop(h *fakeHop) unix.Errno {
	for i, g := range h.members {
		b := m.hops[g.id]
		if b == nil || b.members != nil || b.flag == rtnl.NHA_FDB || b.flag == rtnl.NHA_BLACKHOLE && len(h.members) > 1 {
			return unix.EINVAL
		}
		if slices.ContainsFunc(h.members[:i], func(o member) bool { return o.id == g.id }) {
			return unix.EINVAL
		}
	}
	if h.members != nil || h.flag != 0 {
		return 0
	}
	switch l := m.links[h.link]; {
	case l == nil:
		return unix.EINVAL
	case !l.Up():
		return unix.ENETDOWN
	case h.gateway.IsValid() && (m.faults.refuse[h.gateway] || !h.onlink && !m.reaches(h.gateway, h.link)):
		return unix.ENETUNREACH
	}
	return 0
}

// replaceable is what replace_nexthop checks: also whether each route that uses the object,
// by itself or in a group, may use h (fib_check_nh_list, fib6_check_nh_list).
func (m *fake) replaceable(old, h *fakeHop) bool {
	if (old.members != nil) != (h.members != nil) || old.buckets != h.buckets {
		return false
	}
	users := map[uint32]bool{h.id: true}
	for _, g := range m.hops {
		if g.has(h.id) {
			users[g.id] = true
			if h.flag == rtnl.NHA_FDB || h.flag == rtnl.NHA_BLACKHOLE && len(g.members) > 1 {
				return false
			}
		}
	}
	return !slices.ContainsFunc(m.routes, func(r *fakeRoute) bool {
		return users[r.nhid] && (h.flag == rtnl.NHA_FDB || r.family == FamilyIPv6 && m.isIPv4(h))
	})
}

func (h *fakeHop) has(id uint32) bool {
	return slices.ContainsFunc(h.members, func(x member) bool { return x.id == id })
}

func (m *fake) hopBody(h *fakeHop) []byte {
	if h.members != nil {
		return appendGroup(nil, 0, 0, h.id, h.proto, &shape{h.members, h.buckets, h.idle, h.unbal})[rtnl.SizeHeader:]
	}
	if h.flag == 0 {
		return appendNextHop(nil, 0, 0, h.id, h.proto, objectKey{family: h.family, gateway: h.gateway, link: h.link, onlink: h.onlink})[rtnl.SizeHeader:]
	}
	b := append([]byte{}, byte(h.family), 0, h.proto, 0, 0, 0, 0, 0)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, h.id)
	if h.gateway.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, h.gateway)
	}
	return rtnl.AppendBytes(b, h.flag, nil)
}

// delHop is remove_nexthop: the object, its memberships, emptied groups, and their
// routes: in IPv4 without RTM_DELROUTE, and with told false (an interface went down)
// without a word about objects and groups, either.
func (m *fake) delHop(id uint32, told bool, flags uint16) {
	if told {
		m.notify(rtnl.RTM_DELNEXTHOP, flags, m.hopBody(m.hops[id]))
	}
	before := len(m.routes)
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		if r.nhid == id && r.family == FamilyIPv6 {
			m.notify(rtnl.RTM_DELROUTE, 0, m.shown(r))
		}
		return r.nhid == id
	})
	defer delete(m.hops, id)
	if m.port == fakePort {
		m.orphans += before - len(m.routes)
	}
	for _, gid := range sortedKeys(m.hops) {
		g := m.hops[gid]
		if g == nil || !g.has(id) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(g.members), func(x member) bool { return x.id == id })
		if len(rest) == 0 {
			m.delHop(gid, told, flags)
			continue
		}
		g.members = rest
		if told {
			m.notify(rtnl.RTM_NEWNEXTHOP, flags, m.hopBody(g))
		}
	}
}

// flushHops is nexthop_flush_dev.
func (m *fake) flushHops(link int32) {
	for _, id := range sortedKeys(m.hops) {
		if h := m.hops[id]; h != nil && h.members == nil && h.flag == 0 && h.link == link {
			m.delHop(id, false, 0)
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
