package fibcore

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// The audit of what is few: interfaces, addresses, rules, neighbours, next-hop objects. The dump
// is compared at its end, and if it differs once more a moment later: what then differs still is
// read again in the ordinary way.

// smallAudit is a part of which a dump is kept until it is compared.
type smallAudit struct {
	core   *Core
	dump   []byte
	reread *reread
	begin  func() // what changes from now on is not compared
	see    func(m rtnl.Message)
	// compare calls report for each difference, with Op and what names the object. absent says
	// that what the dump lacks is not there.
	compare func(absent bool, report func(Event))
	forget  func() // the part is over

	absent, concluded bool
	at                time.Time // of the first comparison, if it found something
}

func (a *smallAudit) request() []byte {
	a.begin()
	return a.dump
}

func (a *smallAudit) row(m rtnl.Message) { a.see(m) }
func (a *smallAudit) datagram()          {}
func (a *smallAudit) pause()             {}
func (a *smallAudit) full() bool         { return false }
func (a *smallAudit) pending() bool      { return !a.at.IsZero() }
func (a *smallAudit) stop()              { a.forget() }

func (a *smallAudit) conclude(o Outcome, now time.Time) (more bool) {
	if a.concluded {
		return false
	}
	a.concluded, a.absent = true, o == Complete
	a.compare(a.absent, func(Event) { a.at = now })
	return false
}

func (a *smallAudit) settle(found, _ time.Time) (wait bool) {
	if a.at.IsZero() || a.at.After(found) {
		return !a.at.IsZero()
	}
	a.at = time.Time{}
	var list []Event
	a.compare(a.absent, func(e Event) {
		a.reread.request()
		if e.Op != "" { // others' objects are no difference that matters
			list = append(list, e)
		}
	})
	slices.SortFunc(list, func(a, b Event) int {
		return cmp.Or(cmp.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)), cmp.Compare(a.Link.IfIndex, b.Link.IfIndex))
	})
	for _, e := range list {
		a.core.env.found(e)
	}
	return false
}

// auditParts are the parts of a round.
func (c *Core) auditParts() []auditPart {
	parts := []auditPart{c.linksAudit(), c.addressesAudit(), c.rulesAudit(wire.FamilyIPv4), c.rulesAudit(wire.FamilyIPv6), c.neighborsAudit()}
	if !c.env.config.RTAMultipath {
		parts = append(parts, c.nextHopsAudit())
	}
	return append(parts, c.routes.audits()...)
}

func (c *Core) linksAudit() auditPart {
	found := map[int32]wire.Link{}
	return &smallAudit{core: c, reread: &c.env.rereads.links, dump: rtnl.DumpRequest(rtnl.RTM_GETLINK, make([]byte, rtnl.SizeLink)...),
		begin:  func() { c.links.touched = map[int32]bool{} },
		forget: func() { c.links.touched = nil },
		see: func(m rtnl.Message) {
			if l, err := wire.ParseLink(m.Body); err == nil && m.Type == rtnl.RTM_NEWLINK && !bridgeMessage(m.Body) {
				found[int32(l.IfIndex)] = l
			}
		},
		compare: func(absent bool, report func(Event)) {
			compareMaps(found, c.links.byIndex, c.links.touched, absent, func(op string, _ int32, have, _ wire.Link) {
				report(Event{Op: op, Link: have})
			})
		}}
}

// compareMaps calls report for what differs in what was found and what is known.
func compareMaps[K comparable, V comparable](found, known map[K]V, touched map[K]bool, absent bool, report func(op string, k K, have, knew V)) {
	for k, have := range found {
		switch knew, ok := known[k]; {
		case touched[k]:
		case !ok:
			report(opExtra, k, have, knew)
		case knew != have:
			report(opChanged, k, have, knew)
		}
	}
	for k, knew := range known {
		if _, ok := found[k]; !ok && absent && !touched[k] {
			report(opMissing, k, knew, knew)
		}
	}
}

func (c *Core) addressesAudit() auditPart {
	found, t := map[wire.AddressKey]wire.KernelAddress{}, &c.addresses
	return &smallAudit{core: c, reread: &c.env.rereads.addresses, dump: rtnl.DumpRequest(rtnl.RTM_GETADDR, make([]byte, rtnl.SizeAddress)...),
		begin:  func() { t.touched = map[wire.AddressKey]bool{} },
		forget: func() { t.touched = nil },
		see: func(m rtnl.Message) {
			var a wire.KernelAddress
			if m.Type == rtnl.RTM_NEWADDR && a.Parse(m.Body) == nil {
				found[a.Key()] = a
			}
		},
		compare: func(absent bool, report func(Event)) {
			values := map[wire.AddressKey]had[wire.Address]{}
			for k, a := range found {
				values[k] = t.unlessWanted(k, had[wire.Address]{c.comparable(a.Address), a.Protocol == c.env.config.Protocol})
			}
			compareMaps(values, t.known(nil), t.touched, absent, func(op string, k wire.AddressKey, have, _ had[wire.Address]) {
				have.value.IfIndex, have.value.Prefix = k.IfIndex, k.Prefix
				report(Event{Op: op, Key: have.value, Protocol: found[k].Protocol})
			})
		}}
}

// unlessWanted is v, for what is desired as if it had our protocol number: it counts whoever has made it.
func (t *desired[K, V]) unlessWanted(k K, v had[V]) had[V] {
	_, wanted := t.want[k]
	return had[V]{v.value, v.ours || wanted}
}

// known is what the kernel is known to have, but for what is left out.
func (t *desired[K, V]) known(without func(K) bool) map[K]had[V] {
	values := make(map[K]had[V], len(t.have))
	for k, v := range t.have {
		if without == nil || !without(k) {
			values[k] = t.unlessWanted(k, v)
		}
	}
	return values
}

// neighborsAudit is about permanent entries: proxy entries, of which the kernel notifies nothing, are
// read again more often.
func (c *Core) neighborsAudit() auditPart {
	found, t := map[wire.NeighborKey]wire.KernelNeighbor{}, &c.neighbors
	return &smallAudit{core: c, reread: &c.env.rereads.neighbors, dump: rtnl.DumpRequest(rtnl.RTM_GETNEIGH, make([]byte, rtnl.SizeNeighbor)...),
		begin:  func() { t.touched = map[wire.NeighborKey]bool{} },
		forget: func() { t.touched = nil },
		see: func(m rtnl.Message) {
			var n wire.KernelNeighbor
			if m.Type == rtnl.RTM_NEWNEIGH && n.Parse(m.Body) == nil && n.Permanent && !n.Proxy && n.Addr.IsValid() {
				found[wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr}] = n
			}
		},
		compare: func(absent bool, report func(Event)) {
			values, proxy := map[wire.NeighborKey]had[wire.Neighbor]{}, func(k wire.NeighborKey) bool { return k.Proxy }
			for k, n := range found {
				values[k] = t.unlessWanted(k, had[wire.Neighbor]{n.Neighbor, n.Protocol == c.env.config.Protocol})
			}
			compareMaps(values, t.known(proxy), t.touched, absent, func(op string, k wire.NeighborKey, have, knew had[wire.Neighbor]) {
				if !have.ours && !knew.ours {
					op = ""
				}
				have.value.IfIndex, have.value.Addr = k.IfIndex, k.Addr
				report(Event{Op: op, Key: have.value, Protocol: found[k].Protocol})
			})
		}}
}

// rulesAudit compares the rules of a family with what the last dump had: any notification and any
// write of ours makes another dump, and this one void.
func (c *Core) rulesAudit(f wire.Family) auditPart {
	var found []wire.KernelRule
	var version uint64
	var body [rtnl.SizeRule]byte
	body[0] = byte(f)
	return &smallAudit{core: c, reread: &c.env.rereads.rules, dump: rtnl.DumpRequest(rtnl.RTM_GETRULE, body[:]...),
		begin:  func() { version = c.rules.version },
		forget: func() {},
		see: func(m rtnl.Message) {
			var r wire.KernelRule
			if m.Type == rtnl.RTM_NEWRULE && r.Parse(m.Body) == nil {
				found = append(found, r)
			}
		},
		compare: func(absent bool, report func(Event)) {
			known := slices.DeleteFunc(slices.Clone(c.rules.kernel), func(k wire.KernelRule) bool { return k.Family != f })
			if !absent || version != c.rules.version || c.env.rereads.rules.needed || slices.Equal(found, known) {
				return
			}
			report(Event{}) // the order may be another
			left := map[wire.KernelRule]int{}
			for _, k := range known {
				left[k]++
			}
			for _, k := range found {
				if left[k]--; left[k] < 0 {
					c.ruleDiffers(opExtra, k, report)
				}
			}
			for _, k := range known {
				if left[k] > 0 {
					left[k]--
					c.ruleDiffers(opMissing, k, report)
				}
			}
		}}
}

// ruleDiffers reports a difference, if the rule is ours, desired or banned. What is written for it is a
// repair.
func (c *Core) ruleDiffers(op string, k wire.KernelRule, report func(Event)) {
	if k.Protocol != c.env.config.Protocol && !c.rules.want[k.Rule] && !c.rules.banned[k.Rule] {
		return
	}
	by := origin{}
	if op == opExtra {
		by.proto = k.Protocol
	}
	report(Event{Op: op, Key: k.Rule, Protocol: by.proto})
	if _, ok := c.rules.by[k.Rule]; !ok {
		c.rules.by[k.Rule] = by
	}
}

// nextHopsAudit is about the objects and groups of our range. As of rules, any notification makes
// another dump.
func (c *Core) nextHopsAudit() auditPart {
	found, t := map[uint32]*wire.NextHopMessage{}, &c.nexthops
	var version uint64
	return &smallAudit{core: c, reread: &c.env.rereads.nextHops, dump: rtnl.DumpRequest(rtnl.RTM_GETNEXTHOP, make([]byte, rtnl.SizeNextHop)...),
		begin:  func() { version = t.version },
		forget: func() {},
		see: func(m rtnl.Message) {
			n := &wire.NextHopMessage{}
			if m.Type == rtnl.RTM_NEWNEXTHOP && n.Parse(m.Body) == nil && t.owns(n.ID) {
				sortMembers(n.Members)
				found[n.ID] = n
			}
		},
		compare: func(absent bool, report func(Event)) {
			if version != t.version || c.env.rereads.nextHops.needed {
				return
			}
			for id, n := range found {
				op := ""
				switch known, there := t.nextHopAs(n); {
				case known:
					continue
				case there:
					op = opChanged
				default:
					op = opExtra
				}
				report(Event{Op: op, Key: NextHopID(id), Protocol: n.Protocol})
			}
			for id := range t.hops {
				if found[id] == nil && absent {
					report(Event{Op: opMissing, Key: NextHopID(id)})
				}
			}
			for id, k := range t.kernel {
				if found[id] == nil && absent && k.exists {
					report(Event{Op: opMissing, Key: NextHopID(id)})
				}
			}
		}}
}

// nextHopAs reports whether what a dump has under an id is as known, and whether anything is
// known under it.
func (c *nexthops) nextHopAs(m *wire.NextHopMessage) (known, there bool) {
	h, single := c.hops[m.ID]
	k := c.kernel[m.ID]
	grouped := k != nil && k.exists
	if m.Members == nil {
		return single && h == (hop{objectKey{family: m.Family, gateway: m.Gateway, link: m.IfIndex, onlink: m.OnLink}, m.Protocol, m.Unknown}), single || grouped
	}
	now := shape{m.Members, m.Buckets, m.Idle, m.Unbalanced}
	return grouped && k.equal(&now) && k.proto == m.Protocol && k.alien == m.Unknown, single || grouped
}
