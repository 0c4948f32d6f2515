package fib

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Routes and next-hop objects of the fake kernel.

// fakeHop is a next-hop object or group.
type fakeHop struct {
	wire.NextHopMessage
	flag   uint16 // NHA_BLACKHOLE or NHA_FDB
	stolen bool   // another program has made it of one of ours
}

// fakeRoute is a route; one of several under its key if others have appended some.
type fakeRoute struct {
	wire.RouteMessage
	body   []byte // as dumped
	stolen bool   // another program has put it in the place of one of ours
}

func (r *fakeRoute) same(q *wire.RouteMessage) bool {
	return r.Family == q.Family && r.Table == q.Table && r.Hi == q.Hi && r.Lo == q.Lo && r.Bits == q.Bits && r.TOS == q.TOS && r.Metric == q.Metric
}

// equal reports whether the kernel has one fib_info for both.
func (r *fakeRoute) equal(q *fakeRoute) bool {
	return r.Facts == q.Facts && r.NextHopID == q.NextHopID && slices.Equal(r.NextHops, q.NextHops) && r.Unknown == q.Unknown
}

// via reports whether a next hop of r leaves through the link.
func (r *fakeRoute) via(link int32) bool {
	return slices.ContainsFunc(r.NextHops, func(l wire.NextHop) bool { return l.IfIndex == link })
}

func (m *fake) route(msg rtnl.Message) unix.Errno {
	r := &fakeRoute{body: slices.Clone(msg.Body)}
	if r.Parse(msg.Body) != nil {
		return unix.EINVAL
	}
	r.NextHops = slices.Clone(r.NextHops)
	if r.NextHopID != 0 {
		r.NextHops = nil
	}
	if msg.Type == rtnl.RTM_DELROUTE {
		return m.delRoute(r)
	}
	if err := m.valid(r); err != 0 {
		return err
	}
	if r.Family == wire.FamilyIPv6 {
		return m.newRoute6(r, msg.Flags)
	}
	return m.newRoute4(r, msg.Flags)
}

// valid checks what both families check.
func (m *fake) valid(r *fakeRoute) unix.Errno {
	if r.NextHopID != 0 {
		h := m.hops[r.NextHopID]
		if h == nil || h.flag == rtnl.NHA_FDB || r.Family == wire.FamilyIPv6 && m.isIPv4(h) {
			return unix.EINVAL
		}
	}
	for _, l := range r.NextHops {
		switch link := m.links[l.IfIndex]; {
		case link == nil:
			return unix.ENODEV
		case !link.AdminUp:
			return unix.ENETDOWN
		case !l.Gateway.IsValid():
		case m.faults.refuse[l.Gateway] || !l.OnLink && !m.reaches(l.Gateway, l.IfIndex):
			return unix.ENETUNREACH
		}
	}
	if src := r.PrefSrc; src.IsValid() && !slices.ContainsFunc(m.addrs, func(a wire.KernelAddress) bool { return a.Prefix.Addr() == src }) {
		return unix.EINVAL
	}
	return 0
}

// isIPv4 reports whether no IPv6 route may use it (fib6_check_nexthop): a route by an
// IPv6 object of an IPv4 prefix is as good as one by an IPv4 object.
func (m *fake) isIPv4(h *fakeHop) bool {
	if h.Members == nil {
		return h.Family == wire.FamilyIPv4
	}
	return slices.ContainsFunc(h.Members, func(x wire.Member) bool { return m.isIPv4(m.hops[x.ID]) })
}

// newRoute4 is fib_table_insert.
func (m *fake) newRoute4(r *fakeRoute, flags uint16) unix.Errno {
	first, match, last := -1, -1, -1
	for i, q := range m.routes {
		if q.same(&r.RouteMessage) {
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
	i := slices.IndexFunc(m.routes, func(q *fakeRoute) bool { return q.same(&r.RouteMessage) })
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
		if slices.Contains(q.NextHops, r.NextHops[0]) {
			return unix.EEXIST
		}
		q.NextHops = append(slices.Clone(q.NextHops), r.NextHops...)
		slices.SortFunc(q.NextHops, wire.CompareNextHops)
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
		r.stolen = m.running && m.guard.desires(r) && (old.Protocol == DefaultProtocol || old.Protocol == DefaultPersistentProtocol || old.stolen)
	} else if m.guard != nil {
		m.guard.route(old)
	}
}

// ecmp is rt6_qualify_for_ecmp.
func (r *fakeRoute) ecmp() bool {
	return r.NextHopID == 0 && len(r.NextHops) > 0 && r.NextHops[0].Gateway.IsValid() && r.Type == wire.RouteUnicast
}

// encode makes the body of a route whose next hops have changed.
func (m *fake) encode(r *fakeRoute) {
	r.body = wire.AppendRoute(nil, rtnl.RTM_NEWROUTE, 0, 0, &r.RouteMessage, true)[rtnl.SizeHeader:]
}

// shown is the body of a route in a dump or a notification: one by an object that is a
// blackhole is one, too (fib_dump_info, rt6_fill_node).
func (m *fake) shown(r *fakeRoute) []byte {
	if h := m.hops[r.NextHopID]; h == nil || !m.isBlackhole(h) {
		return r.body
	}
	b := slices.Clone(r.body)
	b[7] = uint8(wire.RouteBlackhole)
	return b
}

func (m *fake) isBlackhole(h *fakeHop) bool {
	if len(h.Members) == 1 {
		h = m.hops[h.Members[0].ID]
	}
	return h.flag == rtnl.NHA_BLACKHOLE
}

// delRoute is fib_table_delete, and ip6_route_del: a metric of 0 is any in IPv4.
func (m *fake) delRoute(r *fakeRoute) unix.Errno {
	best := -1
	for i, q := range m.routes {
		if q.Family != r.Family || q.Table != r.Table || q.Hi != r.Hi || q.Lo != r.Lo || q.Bits != r.Bits || q.TOS != r.TOS {
			continue
		}
		switch {
		case r.Metric != 0 && r.Metric != q.Metric, r.Protocol != 0 && r.Protocol != q.Protocol:
		case r.Type != 0 && r.Type != q.Type && r.Family == wire.FamilyIPv4:
		case r.Family == wire.FamilyIPv4 && r.Scope != uint8(wire.ScopeNowhere) && r.Scope != q.Scope:
		case r.NextHopID != 0 && r.NextHopID != q.NextHopID:
		case r.named() && (q.NextHopID != 0 || !slices.Equal(r.NextHops, q.NextHops)):
		case best < 0 || q.Metric < m.routes[best].Metric:
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
	return len(r.NextHops) > 0 && (r.NextHops[0].IfIndex != 0 || r.NextHops[0].Gateway.IsValid())
}

// sourceGone: routes of the main table that prefer the address go (fib_sync_down_addr),
// with a notification; IPv6 routes lose the preference without one.
func (m *fake) sourceGone(addr netip.Addr) {
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		if r.PrefSrc != addr {
			return false
		}
		if r.Family == wire.FamilyIPv6 {
			r.PrefSrc = netip.Addr{}
			m.encode(r)
			return false
		}
		if r.Table == rtnl.RT_TABLE_MAIN {
			m.notify(rtnl.RTM_DELROUTE, 0, m.shown(r))
		}
		return r.Table == rtnl.RT_TABLE_MAIN
	})
}

// disable takes away the routes of an interface that goes down or loses its last
// address: in IPv4 those that have no other, without a word. One with other next hops stays,
// with a dead next hop.
func (m *fake) disable(link int32, f wire.Family) {
	m.routes = slices.DeleteFunc(m.routes, func(r *fakeRoute) bool {
		dead := r.Family == f && len(r.NextHops) > 0
		for _, l := range r.NextHops {
			up := m.links[l.IfIndex] != nil && m.links[l.IfIndex].AdminUp
			if f == wire.FamilyIPv4 && l.IfIndex == link {
				up = false
			}
			dead = dead && !up
		}
		if !dead || !r.via(link) {
			return false
		}
		if f == wire.FamilyIPv6 {
			m.notifyNextHops(r, r.NextHops)
		}
		return true
	})
}

// notifyNextHops notifies the deletion of next hops of an IPv6 route that the kernel has deleted by
// itself: one by one (fib6_del_route).
func (m *fake) notifyNextHops(r *fakeRoute, nextHops []wire.NextHop) {
	for _, l := range nextHops {
		one := &fakeRoute{RouteMessage: r.RouteMessage}
		one.NextHops = []wire.NextHop{l}
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
		case r.Family == wire.FamilyIPv4:
			return true
		}
		var lost []wire.NextHop
		r.NextHops = slices.DeleteFunc(slices.Clone(r.NextHops), func(l wire.NextHop) bool {
			if l.IfIndex == link {
				lost = append(lost, l)
			}
			return l.IfIndex == link
		})
		m.notifyNextHops(r, lost)
		if len(r.NextHops) > 0 {
			m.encode(r)
		}
		return len(r.NextHops) == 0
	})
}

// read takes a message apart.
func (h *fakeHop) read(body []byte) error {
	if err := h.Parse(body); err != nil {
		return err
	}
	for typ := range rtnl.Attributes(body[rtnl.SizeNextHop:]) {
		if typ == rtnl.NHA_BLACKHOLE || typ == rtnl.NHA_FDB {
			h.flag = typ
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
		if m.hops[h.ID] == nil {
			return unix.ENOENT
		}
		if m.guard != nil && m.port == fakePort {
			m.guard.hop(m.hops[h.ID])
		}
		m.delHop(h.ID, true, msg.Flags)
		return 0
	}
	if err := m.validHop(h); err != 0 {
		return err
	}
	old := m.hops[h.ID]
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
		h.stolen = m.running && (old.Protocol == DefaultProtocol || old.stolen)
	case m.guard != nil:
		m.guard.hop(old)
	}
	if old != nil && h.Members != nil {
		h.Protocol = old.Protocol // replace_nexthop_grp does not change it
	}
	m.hops[h.ID] = h
	m.notify(rtnl.RTM_NEWNEXTHOP, msg.Flags, m.hopBody(h))
	return 0
}

// validHop is rtm_to_nh_config and nh_check_attr_group.
func (m *fake) validHop(h *fakeHop) unix.Errno {
	for i, g := range h.Members {
		b := m.hops[g.ID]
		if b == nil || b.Members != nil || b.flag == rtnl.NHA_FDB || b.flag == rtnl.NHA_BLACKHOLE && len(h.Members) > 1 {
			return unix.EINVAL
		}
		if slices.ContainsFunc(h.Members[:i], func(o wire.Member) bool { return o.ID == g.ID }) {
			return unix.EINVAL
		}
	}
	if h.Members != nil || h.flag != 0 {
		return 0
	}
	switch l := m.links[h.IfIndex]; {
	case l == nil:
		return unix.EINVAL
	case !l.Up():
		return unix.ENETDOWN
	case h.Gateway.IsValid() && (m.faults.refuse[h.Gateway] || !h.OnLink && !m.reaches(h.Gateway, h.IfIndex)):
		return unix.ENETUNREACH
	}
	return 0
}

// replaceable is what replace_nexthop checks: also whether each route that uses the object,
// by itself or in a group, may use h (fib_check_nh_list, fib6_check_nh_list).
func (m *fake) replaceable(old, h *fakeHop) bool {
	if (old.Members != nil) != (h.Members != nil) || old.Buckets != h.Buckets {
		return false
	}
	users := map[uint32]bool{h.ID: true}
	for _, g := range m.hops {
		if g.has(h.ID) {
			users[g.ID] = true
			if h.flag == rtnl.NHA_FDB || h.flag == rtnl.NHA_BLACKHOLE && len(g.Members) > 1 {
				return false
			}
		}
	}
	return !slices.ContainsFunc(m.routes, func(r *fakeRoute) bool {
		return users[r.NextHopID] && (h.flag == rtnl.NHA_FDB || r.Family == wire.FamilyIPv6 && m.isIPv4(h))
	})
}

func (h *fakeHop) has(id uint32) bool {
	return slices.ContainsFunc(h.Members, func(x wire.Member) bool { return x.ID == id })
}

func (m *fake) hopBody(h *fakeHop) []byte {
	if h.Members != nil || h.flag == 0 {
		return wire.AppendNextHop(nil, 0, 0, &h.NextHopMessage)[rtnl.SizeHeader:]
	}
	b := append([]byte{}, byte(h.Family), 0, h.Protocol, 0, 0, 0, 0, 0)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, h.ID)
	if h.Gateway.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, h.Gateway)
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
		if r.NextHopID == id && r.Family == wire.FamilyIPv6 {
			m.notify(rtnl.RTM_DELROUTE, 0, m.shown(r))
		}
		return r.NextHopID == id
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
		rest := slices.DeleteFunc(slices.Clone(g.Members), func(x wire.Member) bool { return x.ID == id })
		if len(rest) == 0 {
			m.delHop(gid, told, flags)
			continue
		}
		g.Members = rest
		if told {
			m.notify(rtnl.RTM_NEWNEXTHOP, flags, m.hopBody(g))
		}
	}
}

// flushHops is nexthop_flush_dev.
func (m *fake) flushHops(link int32) {
	for _, id := range sortedKeys(m.hops) {
		if h := m.hops[id]; h != nil && h.Members == nil && h.flag == 0 && h.IfIndex == link {
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
