package fibcore

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

func (c *Core) checkRule(r wire.Rule) (wire.Rule, error) {
	if err := r.Check(); err != nil {
		return r, &Error{Op: "set", Key: r, Err: ErrInvalid, Text: err.Error()}
	}
	return r.Normal(), nil
}

// OwnTable makes the routes of one more table ours. What it has is read before anything is written
// there.
func (c *Core) OwnTable(table uint32) error {
	table = cmp.Or(table, rtnl.RT_TABLE_MAIN)
	if c.env.owns(table) {
		return nil
	}
	var list []tableFamily
	for _, f := range []wire.Family{wire.FamilyIPv4, wire.FamilyIPv6} {
		tf := tableFamily{table, f}
		if _, ok := c.routes.tables.of(tf); !ok {
			return &Error{Op: "own", Err: ErrInvalid, Text: "more than 65535 tables"}
		}
		list = append(list, tf)
	}
	c.env.owned[table] = true
	for _, tf := range list {
		c.env.rereads.table(tf)
	}
	return nil
}

// SetRule makes a rule desired.
func (c *Core) SetRule(r wire.Rule) error {
	r, err := c.checkRule(r)
	if err == nil {
		c.rules.set(r)
	}
	return err
}

// SetRuleAbsent makes the absence of a rule desired, no matter which program made it.
func (c *Core) SetRuleAbsent(r wire.Rule) error {
	r, err := c.checkRule(r)
	if err == nil {
		c.rules.setAbsent(r)
	}
	return err
}

// DeleteRule takes back SetRule or SetRuleAbsent.
func (c *Core) DeleteRule(r wire.Rule) error {
	r, err := c.checkRule(r)
	if err == nil {
		c.rules.remove(r)
	}
	return err
}

func (c *Core) keyOfAddress(a wire.Address) (wire.AddressKey, error) {
	if a.IfIndex <= 0 || !a.Prefix.IsValid() || a.Prefix.Addr().Zone() != "" || a.Prefix.Addr().Is4In6() {
		return wire.AddressKey{}, &Error{Op: "set", Key: a, Err: ErrInvalid, Text: "link and prefix"}
	}
	return wire.AddressKey{IfIndex: c.links.linkIndex(a.IfIndex), Prefix: a.Prefix}, nil
}

// SetAddress makes an address desired.
func (c *Core) SetAddress(a wire.Address) error {
	key, err := c.keyOfAddress(a)
	if err != nil {
		return err
	}
	a.Scope, a.IfIndex = cmp.Or(a.Scope, wire.ScopeUniverse), key.IfIndex
	c.addresses.set(key, a)
	if had, ok := c.addresses.have[key]; ok {
		had.value = c.comparable(had.value)
		c.addresses.have[key] = had
	}
	return nil
}

// DeleteAddress takes back SetAddress and removes the address.
func (c *Core) DeleteAddress(a wire.Address) error {
	key, err := c.keyOfAddress(a)
	if err == nil {
		c.addresses.remove(key)
	}
	return err
}

func (c *Core) keyOfNeighbor(n wire.Neighbor) (wire.NeighborKey, error) {
	if n.IfIndex <= 0 || !n.Addr.IsValid() || n.Addr.Zone() != "" {
		return wire.NeighborKey{}, &Error{Op: "set", Key: n, Err: ErrInvalid, Text: "link and address"}
	}
	return wire.NeighborKey{IfIndex: c.links.linkIndex(n.IfIndex), Addr: n.Addr, Proxy: n.Proxy}, nil
}

// SetNeighbor makes a permanent or proxy neighbour desired.
func (c *Core) SetNeighbor(n wire.Neighbor) error {
	key, err := c.keyOfNeighbor(n)
	if err != nil {
		return err
	}
	if n.Proxy {
		n.MAC = [6]byte{}
	}
	n.IfIndex = key.IfIndex
	c.neighbors.set(key, n)
	return nil
}

// DeleteNeighbor takes back SetNeighbor and removes the entry.
func (c *Core) DeleteNeighbor(n wire.Neighbor) error {
	key, err := c.keyOfNeighbor(n)
	if err == nil {
		c.neighbors.remove(key)
	}
	return err
}

// SetSysctl makes a value desired.
func (c *Core) SetSysctl(s Sysctl) error {
	if err := checkSysctl(s); err != nil {
		return err
	}
	c.sysctls.set(s)
	return nil
}

// DeleteSysctl forgets it; the value stays as it is.
func (c *Core) DeleteSysctl(path string) error {
	if err := checkSysctl(Sysctl{Path: path, Value: "0"}); err != nil {
		return err
	}
	if dir := c.sysctls.forget(path); dir != "" {
		c.forgotten = append(c.forgotten, dir)
	}
	return nil
}

// Probe has the kernel look for a neighbour again, once.
func (c *Core) Probe(n wire.Neighbor) {
	if n.IfIndex > 0 && n.Addr.IsValid() {
		n.Addr = n.Addr.WithZone("")
		c.nexthops.probe(n)
	}
}

// SetGateway says that gateway on an interface is dead, or that it is not.
func (c *Core) SetGateway(ifindex int, gateway netip.Addr, down bool) {
	c.setGateway(gatewayKey{int32(c.links.linkIndex(ifindex)), gateway.WithZone("")}, down)
}

// Sweep ends the time in which nothing of ours is deleted that is not desired.
func (c *Core) Sweep() {
	if c.env.swept {
		return
	}
	c.env.swept, c.rules.dirty, c.nexthops.garbage = true, true, true
	if c.routes.extrasLeft {
		c.env.rereads.routes.request()
	}
	c.addresses.sweep()
	c.neighbors.sweep()
	c.routes.store.all(func(i uint32, e *entry) {
		if e.want == nil {
			c.routes.touchRoute(i, e)
		}
	})
}

// ReportWrites decides whether there is an EventWrite for every change that is written.
func (c *Core) ReportWrites(on bool) { c.env.writes = on }

// NotificationsLost asks for everything to be read again: notifications were lost. What is
// read quickly is asked for by itself, too: routes may be so many that everything can not be
// read again soon, and until then an object is not deleted by an id or a key that may be
// another program's by now.
func (c *Core) NotificationsLost() {
	d := &c.env.rereads
	for _, one := range []*reread{&d.everything, &d.links, &d.addresses, &d.rules, &d.neighbors, &d.proxies, &d.nextHops} {
		one.request()
	}
}

// Notification takes a notification in.
func (c *Core) Notification(m rtnl.Message, now time.Time) {
	c.env.clock = now
	c.env.stats.Notifications++
	c.observe(m, false)
}

// Synced reports whether everything has been read once.
func (c *Core) Synced() bool { return c.env.synced }

// Snapshot returns the events that have led to what is known of interfaces and addresses,
// with EventSynced at their end; nil before everything has been read.
func (c *Core) Snapshot(now time.Time) (events []Event) {
	if !c.env.synced {
		return nil
	}
	for _, l := range c.links.linkList() {
		events = append(events, Event{Kind: EventLink, Time: now, Link: l})
	}
	for key, a := range c.addresses.have {
		events = append(events, Event{Kind: EventAddress, Time: now, Link: c.links.byIndex[int32(key.IfIndex)], Addr: key.Prefix, Scope: a.value.Scope, Permanent: !c.temporary[key]})
	}
	return append(events, Event{Kind: EventSynced, Time: now})
}

// SetRoute makes r desired. It does not retain r.NextHops.
func (c *Core) SetRoute(r *Route) error { return c.routes.setRoute(r) }

// DeleteRoute takes SetRoute back: the route is deleted if it is ours, even before Sweep.
func (c *Core) DeleteRoute(k wire.RouteKey) error { return c.routes.deleteRoute(k) }

// Follow begins to collect the routes whose status changes. tables nil is all of them; accept
// may be nil. wake is called when there is something to take: it must not block.
func (c *Core) Follow(tables []uint32, accept func(wire.RouteKey) bool, wake func()) *Follower {
	return c.routes.follow(tables, accept, wake)
}

// Unfollow ends it.
func (c *Core) Unfollow(w *Follower) { c.routes.unfollow(w) }

// Page appends the status of the routes from number start on, a page of them, and returns
// where the next page starts; 0 if this was the last.
func (c *Core) Page(start uint32, page []RouteStatus, now time.Time) ([]RouteStatus, uint32) {
	c.env.clock = now
	return c.routes.page(start, page)
}

// Learn begins to collect foreign routes. wake is called when there is something to take: it
// must not block.
func (c *Core) Learn(filter LearnFilter, wake func()) *Learner { return c.learners.learn(filter, wake) }

// Unlearn ends it.
func (c *Core) Unlearn(l *Learner) { c.learners.unlearn(l) }

// NextHops lists the next-hop objects of ours that are in the kernel now, by id. The list is
// valid until the next call of another method, and must not be changed.
func (c *Core) NextHops() []NextHopObject { return c.nexthops.nextHopList() }

// Needs reports whether a next-hop object or group with this id in the kernel is of use for
// a desired route.
func (c *Core) Needs(id uint32) bool { return c.nexthops.needs(id) }

// Gateways lists the gateways of all desired routes with several next hops, sorted.
func (c *Core) Gateways() []Gateway { return c.contents.gatewayList() }

// Links lists the interfaces, by index.
func (c *Core) Links() []wire.Link { return c.links.linkList() }

// LinkNamed returns the index of the interface of that name, or if it is gone the last one
// that it had; 0 if there has never been one.
func (c *Core) LinkNamed(name string) int { return c.links.linkNamed(name) }

// Urgent reports whether StepFailover has something to do, or will have.
func (c *Core) Urgent() bool { return c.nexthops.urgent() }

// setGateway records that a gateway died or came back.
func (c *Core) setGateway(k gatewayKey, down bool) {
	if c.nexthops.down[k] == down {
		return
	}
	if !down {
		delete(c.nexthops.down, k)
	} else {
		c.nexthops.down[k] = true
	}
	for _, b := range c.nexthops.objectsOf(k) {
		if down {
			b.foreign = false // who deleted it knew before us
			if _, there := c.nexthops.hops[b.id]; there && !b.key.clone {
				c.nexthops.toDelete = append(c.nexthops.toDelete, b)
			}
			continue
		}
		b.next, b.step = time.Time{}, 0
	}
	for g := range c.nexthops.wanting[k] {
		c.nexthops.touch(g)
	}
	c.routes.resolveMultipath(func(l wire.NextHop) bool { return gatewayOf(&l) == k })
}

// Connected returns the index of the interface that a gateway is on; 0 is none. It looks at
// every address.
func (c *Core) Connected(gateway netip.Addr) (link int) {
	if zone := gateway.Zone(); zone != "" {
		for _, l := range c.links.byIndex {
			if l.Interface == zone {
				return l.IfIndex
			}
		}
		return 0
	}
	if gateway.IsLinkLocalUnicast() && gateway.Is6() {
		return 0 // every interface has that network
	}
	longest := -1
	for key, a := range c.addresses.have {
		network := key.Prefix
		if key.Peer.IsValid() { // point-to-point: the network is the other end
			network = netip.PrefixFrom(key.Peer, key.Peer.BitLen())
		}
		bits := network.Bits()
		if a.value.NoPrefixRoute || !network.Contains(gateway) || bits < longest || bits == longest && key.IfIndex > link {
			continue
		}
		longest, link = bits, key.IfIndex
	}
	return link
}
