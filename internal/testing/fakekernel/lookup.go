package fakekernel

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Packet is what a forwarding decision looks at.
type Packet struct {
	Dst, Src netip.Addr // Src may be invalid: it matches rules without From only
	Mark     uint32     // of the firewall
	// IIF is the interface that the packet came in by. 0 is a packet of this host's own,
	// which rules match as from lo.
	IIF int
	// OIF is the interface that its socket is bound to; 0 for none.
	OIF              int
	TOS              uint8
	IPProto          uint8
	SrcPort, DstPort uint16
	UID              uint32 // of its socket; what is forwarded counts as root's
}

// Decision is where a packet goes.
type Decision struct {
	// Type is RouteUnicast, RouteLocal (to this host), RouteBlackhole, RouteUnreachable or
	// RouteProhibit. Without any route it is RouteUnreachable, and Table is 0.
	Type wire.RouteType
	// Table is the table in which the route was found; 0: a rule decided, or nothing did.
	Table uint32
	// Prefix and Metric are those of the route.
	Prefix netip.Prefix
	Metric uint32
	// Rule is the priority of the rule that decided.
	Rule uint32
	// NextHops of RouteUnicast are all that the kernel chooses from; those on an interface
	// without a carrier are among them, as in Linux without ignore_routes_with_linkdown.
	// A next hop without Gateway is Dst itself. They must not be changed.
	NextHops []wire.NextHop
	// Route is nil for a connected or local route, which are the kernel's own.
	Route *Route
	// PassedOver says that a route was found and did not decide: none of its next hops has an
	// interface that is up, or the rule suppresses it.
	PassedOver bool
}

// Lookup decides where a packet goes, as fib_lookup and fib6_rule_lookup do: the rules by
// priority, in their tables the longest prefix, of its routes the lowest metric. A route
// whose next hops are all on interfaces that are down does not count.
func (k *Kernel) Lookup(p Packet) Decision {
	family := wire.FamilyOf(p.Dst)
	passed := false
	after := int64(-1) // of the rule that a goto has come from: the next is at least Target
	for i := range k.rules {
		r := &k.rules[i]
		if r.Family != family || int64(r.Priority) < after || k.matches(&r.Rule, &p) == r.Not {
			continue
		}
		d := Decision{Rule: r.Priority, PassedOver: passed}
		table := r.Table
		switch r.Action {
		case wire.RuleGoto:
			if slices.ContainsFunc(k.rules, func(t wire.KernelRule) bool { return t.Family == family && t.Priority == r.Target }) {
				after = int64(r.Target)
			}
			continue // without a target it does nothing
		case wire.RuleNop:
			continue
		case wire.RuleBlackhole, wire.RuleUnreachable, wire.RuleProhibit:
			d.Type = wire.RouteType(r.Action) // the numbers are the same
			return d
		}
		if r.L3MDev {
			if table = k.vrf(&p); table == 0 {
				continue
			}
		}
		found := k.lookup(table, &p, &d)
		passed = d.PassedOver
		if !found {
			continue
		}
		forwards := d.Type == wire.RouteUnicast || d.Type == wire.RouteLocal
		if r.Suppress && forwards && d.Prefix.Bits() <= int(r.SuppressLength) {
			passed = true
			continue
		}
		return d
	}
	return Decision{Type: wire.RouteUnreachable, PassedOver: passed}
}

// vrf returns the table of the VRF of a packet, 0 if it is in none.
func (k *Kernel) vrf(p *Packet) uint32 {
	return cmp.Or(k.tables[int32(p.OIF)], k.tables[int32(p.IIF)])
}

// matches is fib_rule_match, before FIB_RULE_INVERT.
func (k *Kernel) matches(r *wire.Rule, p *Packet) bool {
	within := func(prefix netip.Prefix, a netip.Addr) bool {
		return !prefix.IsValid() || a.IsValid() && prefix.Contains(a)
	}
	ports := func(q wire.Range, port uint16) bool { return q == wire.Range{} || port >= q.Low && port <= q.High }
	iif := k.NameOf(int32(cmp.Or(p.IIF, 1)))
	switch {
	case r.IIF != "" && r.IIF != iif:
	case r.OIF != "" && (p.OIF == 0 || r.OIF != k.NameOf(int32(p.OIF))):
	case (r.Mark^p.Mark)&r.Mask != 0:
	case r.L3MDev && k.vrf(p) == 0:
	case r.UIDs.Set && (p.UID < r.UIDs.Low || p.UID > r.UIDs.High):
	case r.IPProto != 0 && r.IPProto != p.IPProto:
	case !ports(r.SourcePorts, p.SrcPort) || !ports(r.DestPorts, p.DstPort):
	case r.TOS != 0 && r.TOS != p.TOS:
	case !within(r.From, p.Src) || !within(r.To, p.Dst):
	default:
		return true
	}
	return false
}

// candidate is a route that may decide.
type candidate struct {
	typ    wire.RouteType
	tos    uint8
	metric uint32
	hops   []wire.NextHop
	route  *Route
}

// lookup is fib_table_lookup: the longest prefix, and of its routes those with the TOS of
// the packet first, then the lowest metric. It reports false if nothing was found, or a
// throw route.
func (k *Kernel) lookup(table uint32, p *Packet, d *Decision) bool {
	family := wire.FamilyOf(p.Dst)
	lengths := k.routes.masks[tableKey{family, table}]
	k.ownLengths(p.Dst, &lengths)
	for bits := lengths.downFrom(p.Dst.BitLen()); bits >= 0; bits = lengths.downFrom(bits - 1) {
		k.found = k.candidates(k.found[:0], table, family, p, bits)
		for _, c := range k.found {
			if c.typ == wire.RouteThrow {
				return false
			}
			if c.typ == wire.RouteUnicast {
				if c.hops = k.alive(c.hops, p.OIF); len(c.hops) == 0 {
					d.PassedOver = true
					continue
				}
				d.NextHops = c.hops
			}
			d.Type, d.Table, d.Metric, d.Route = c.typ, table, c.metric, c.route
			d.Prefix, _ = p.Dst.Prefix(bits)
			return true
		}
	}
	return false
}

// alive returns the next hops whose interface is up, and is the one that the packet is
// bound to.
func (k *Kernel) alive(hops []wire.NextHop, oif int) (list []wire.NextHop) {
	dead := func(h wire.NextHop) bool {
		l := k.links[h.IfIndex]
		return l == nil || !l.AdminUp || oif != 0 && oif != int(h.IfIndex)
	}
	if !slices.ContainsFunc(hops, dead) {
		return hops
	}
	return slices.DeleteFunc(slices.Clone(hops), dead)
}

// candidates appends the routes of a table to the destination with a prefix length, in the
// order in which the kernel looks at them.
func (k *Kernel) candidates(list []candidate, table uint32, family wire.Family, p *Packet, bits int) []candidate {
	list = k.own(list, table, p.Dst, bits)
	prefix, _ := p.Dst.Prefix(bits)
	hi, lo := wire.PackAddr(prefix.Addr())
	for tos, last := p.TOS, false; !last; tos = 0 {
		last = tos == 0
		for r := range k.routes.metrics(newPrefixKey(family, table, hi, lo, uint8(bits), tos)) {
			c := candidate{r.Type, r.TOS, r.Metric, r.NextHops, r}
			if h := k.hops[r.NextHopID]; h != nil {
				if c.hops = k.Resolve(r).NextHops; k.isBlackhole(h) {
					c.typ = wire.RouteBlackhole
				}
			}
			list = append(list, c)
		}
	}
	if len(list) > 1 {
		slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.tos, a.tos), cmp.Compare(a.metric, b.metric)) })
	}
	return list
}

// metricAddrconf is the metric of the connected routes of IPv6 (IP6_RT_PRIO_ADDRCONF).
const metricAddrconf = 256

// ownLengths adds the prefix lengths of the kernel's own routes that a destination may match.
func (k *Kernel) ownLengths(dst netip.Addr, lengths *mask) {
	for i := range k.addrs {
		a := k.addrs[i].Prefix
		if a.Contains(dst) {
			lengths.set(a.Bits())
			if a.Addr() == dst {
				lengths.set(dst.BitLen())
			}
		}
	}
}

// own appends the kernel's own routes: the local ones of the addresses, and the connected
// ones of their prefixes. The former stay when the interface goes down (fib_sync_down_dev
// skips RT_SCOPE_NOWHERE); IPv6 addresses go themselves.
func (k *Kernel) own(list []candidate, table uint32, dst netip.Addr, bits int) []candidate {
	if len(k.tables) == 0 && table != rtnl.RT_TABLE_MAIN && (table != tableLocal || bits != dst.BitLen()) {
		return list // without a VRF they are in these two
	}
	for _, a := range k.addrs {
		addr := a.Prefix.Addr()
		if (bits != addr.BitLen() || dst != addr) && (bits != a.Prefix.Bits() || !a.Prefix.Contains(dst)) {
			continue // most of them: no map is asked
		}
		l := k.links[int32(a.IfIndex)]
		if l == nil {
			continue
		}
		vrf := k.tables[int32(a.IfIndex)]
		if bits == addr.BitLen() && dst == addr && table == cmp.Or(vrf, tableLocal) {
			list = append(list, candidate{typ: wire.RouteLocal})
		}
		if bits != a.Prefix.Bits() || !l.AdminUp || a.NoPrefixRoute || !a.Prefix.Contains(dst) || table != cmp.Or(vrf, rtnl.RT_TABLE_MAIN) || bits == addr.BitLen() && addr.Is4() {
			continue
		}
		c := candidate{typ: wire.RouteUnicast, hops: []wire.NextHop{{IfIndex: int32(a.IfIndex), Weight: 1}}}
		if addr.Is6() {
			c.metric = metricAddrconf
		}
		list = append(list, c)
	}
	return list
}
