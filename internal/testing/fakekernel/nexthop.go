package fakekernel

import (
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// NextHop is a next-hop object or group.
type NextHop struct {
	wire.NextHopMessage
	Flag uint16 // NHA_BLACKHOLE or NHA_FDB; 0: neither
}

// parse decodes the body of a message.
func (h *NextHop) parse(body []byte) error {
	if err := h.Parse(body); err != nil {
		return err
	}
	h.Members = slices.Clone(h.Members)
	for typ := range rtnl.Attributes(body[rtnl.SizeNextHop:]) {
		if typ == rtnl.NHA_BLACKHOLE || typ == rtnl.NHA_FDB {
			h.Flag = typ
		}
	}
	return nil
}

// Has reports whether the group has a member with an id.
func (h *NextHop) Has(id uint32) bool {
	return slices.ContainsFunc(h.Members, func(x wire.Member) bool { return x.ID == id })
}

func (h *NextHop) body() []byte {
	if h.Members != nil || h.Flag == 0 {
		return wire.AppendNextHop(nil, 0, 0, &h.NextHopMessage)[rtnl.SizeHeader:]
	}
	b := append([]byte{}, byte(h.Family), 0, h.Protocol, 0, 0, 0, 0, 0)
	b = rtnl.AppendUint32(b, rtnl.NHA_ID, h.ID)
	if h.Gateway.IsValid() {
		b = rtnl.AppendAddr(b, rtnl.NHA_GATEWAY, h.Gateway)
	}
	return rtnl.AppendBytes(b, h.Flag, nil)
}

// nextHop is rtm_new_nexthop and rtm_del_nexthop.
func (k *Kernel) nextHop(msg rtnl.Message) unix.Errno {
	h := &NextHop{}
	if h.parse(msg.Body) != nil {
		return unix.EINVAL
	}
	old := k.hops[h.ID]
	if msg.Type == rtnl.RTM_DELNEXTHOP {
		if old == nil {
			return unix.ENOENT
		}
		k.deleteHop(old, false, true, msg.Flags)
		return 0
	}
	if err := k.validHop(h); err != 0 {
		return err
	}
	switch {
	case old == nil && msg.Flags&rtnl.NLM_F_REPLACE != 0 && msg.Flags&rtnl.NLM_F_CREATE == 0:
		return unix.ENOENT
	case old != nil && msg.Flags&rtnl.NLM_F_REPLACE == 0:
		return unix.EEXIST
	case old != nil && !k.replaceable(old, h):
		return unix.EINVAL
	}
	if old != nil && h.Members != nil {
		h.Protocol = old.Protocol // replace_nexthop_grp does not change it
	}
	k.setHop(h)
	k.changed(Change{OldNextHop: old, NewNextHop: h})
	k.notify(rtnl.RTM_NEWNEXTHOP, msg.Flags, h.body())
	return 0
}

// setHop puts an object or a group in the place of what has its id.
func (k *Kernel) setHop(h *NextHop) {
	k.unsetHop(h.ID)
	k.hops[h.ID] = h
	for _, m := range h.Members {
		if k.groups[m.ID] == nil {
			k.groups[m.ID] = map[uint32]struct{}{}
		}
		k.groups[m.ID][h.ID] = struct{}{}
	}
}

// unsetHop takes what has an id away.
func (k *Kernel) unsetHop(id uint32) {
	if old := k.hops[id]; old != nil {
		for _, m := range old.Members {
			k.leaves(m.ID, id)
		}
		delete(k.hops, id)
	}
}

// leaves notes that an object is not in a group any more.
func (k *Kernel) leaves(id, group uint32) {
	delete(k.groups[id], group)
	if len(k.groups[id]) == 0 {
		delete(k.groups, id)
	}
}

// groupsOf returns the groups that have an object, by id.
func (k *Kernel) groupsOf(id uint32) (list []*NextHop) {
	for _, g := range slices.Sorted(maps.Keys(k.groups[id])) {
		list = append(list, k.hops[g])
	}
	return list
}

// validHop is rtm_to_nh_config and nh_check_attr_group.
func (k *Kernel) validHop(h *NextHop) unix.Errno {
	for i, g := range h.Members {
		b := k.hops[g.ID]
		if b == nil || b.Members != nil || b.Flag == rtnl.NHA_FDB || b.Flag == rtnl.NHA_BLACKHOLE && len(h.Members) > 1 {
			return unix.EINVAL
		}
		if slices.ContainsFunc(h.Members[:i], func(o wire.Member) bool { return o.ID == g.ID }) {
			return unix.EINVAL
		}
	}
	if h.Members != nil || h.Flag != 0 {
		return 0
	}
	switch l := k.links[h.IfIndex]; {
	case l == nil:
		return unix.EINVAL
	case !l.Up():
		return unix.ENETDOWN
	case h.Gateway.IsValid() && (k.Refuse[h.Gateway] || !h.OnLink && !k.Reaches(h.Gateway, h.IfIndex)):
		return unix.ENETUNREACH
	}
	return 0
}

// replaceable is what replace_nexthop checks: also whether each route that uses the object,
// by itself or in a group, may use h (fib_check_nh_list, fib6_check_nh_list).
func (k *Kernel) replaceable(old, h *NextHop) bool {
	if (old.Members != nil) != (h.Members != nil) || old.Buckets != h.Buckets {
		return false
	}
	users := []uint32{h.ID}
	for _, g := range k.groupsOf(h.ID) {
		users = append(users, g.ID)
		if h.Flag == rtnl.NHA_FDB || h.Flag == rtnl.NHA_BLACKHOLE && len(g.Members) > 1 {
			return false
		}
	}
	for _, id := range users {
		used4, used6 := k.routes.users[use{id, wire.FamilyIPv4}] > 0, k.routes.users[use{id, wire.FamilyIPv6}] > 0
		if h.Flag == rtnl.NHA_FDB && (used4 || used6) || used6 && k.isIPv4(h) {
			return false
		}
	}
	return true
}

// isIPv4 reports whether no IPv6 route may use it (fib6_check_nexthop): a route by an
// IPv6 object of an IPv4 prefix is as good as one by an IPv4 object.
func (k *Kernel) isIPv4(h *NextHop) bool {
	if h.Members == nil {
		return h.Family == wire.FamilyIPv4
	}
	return slices.ContainsFunc(h.Members, func(x wire.Member) bool { return k.isIPv4(k.hops[x.ID]) })
}

func (k *Kernel) isBlackhole(h *NextHop) bool {
	if len(h.Members) == 1 {
		h = k.hops[h.Members[0].ID]
	}
	return h.Flag == rtnl.NHA_BLACKHOLE
}

// deleteHop is remove_nexthop: the object, its memberships, emptied groups, and their
// routes: in IPv4 without RTM_DELROUTE, in IPv6 with one that names nobody. Without notify (an
// interface went down) there is no notification about objects and groups, either. cascade says
// that it goes with something else.
func (k *Kernel) deleteHop(h *NextHop, cascade, notify bool, flags uint16) {
	if notify {
		k.notify(rtnl.RTM_DELNEXTHOP, flags, h.body())
	}
	k.changed(Change{OldNextHop: h, Cascade: cascade})
	if k.routes.users[use{h.ID, wire.FamilyIPv4}]+k.routes.users[use{h.ID, wire.FamilyIPv6}] > 0 {
		for r := range k.routes.all() {
			if r.NextHopID != h.ID {
				continue
			}
			if r.Family == wire.FamilyIPv6 {
				k.as(0, func() { k.notify(rtnl.RTM_DELROUTE, 0, k.shown(r)) })
			}
			k.gone(r)
		}
	}
	defer k.unsetHop(h.ID)
	for _, g := range k.groupsOf(h.ID) {
		rest := slices.DeleteFunc(slices.Clone(g.Members), func(x wire.Member) bool { return x.ID == h.ID })
		if len(rest) == 0 {
			k.deleteHop(g, true, notify, flags)
			continue
		}
		old := *g
		g.Members = rest
		k.leaves(h.ID, g.ID)
		k.changed(Change{OldNextHop: &old, NewNextHop: g, Cascade: true})
		if notify {
			k.notify(rtnl.RTM_NEWNEXTHOP, flags, g.body())
		}
	}
}

// flushHops is nexthop_flush_dev.
func (k *Kernel) flushHops(link int32) {
	for _, h := range k.NextHops() {
		if k.hops[h.ID] == h && h.Members == nil && h.Flag == 0 && h.IfIndex == link {
			k.deleteHop(h, true, false, 0)
		}
	}
}
