package fibcore

import (
	"cmp"
	"net/netip"
	"slices"
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

// SetRule makes a rule desired.
func (c *Core) SetRule(r wire.Rule) error {
	r, err := c.checkRule(r)
	if err == nil {
		c.rules.set(r)
	}
	return err
}

// SetRuleAbsent makes the absence of a rule desired, whoever made it.
func (c *Core) SetRuleAbsent(r wire.Rule) error {
	r, err := c.checkRule(r)
	if err == nil {
		c.rules.forbid(r)
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
	return wire.AddressKey{IfIndex: c.linkIndex(a.IfIndex), Prefix: a.Prefix}, nil
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
	return wire.NeighborKey{IfIndex: c.linkIndex(n.IfIndex), Addr: n.Addr, Proxy: n.Proxy}, nil
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
	c.sysctls.wish(s)
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
		c.probe(n)
	}
}

// probe notes a neighbour to be probed. There are as many as gateways and guests at most.
func (c *Core) probe(n wire.Neighbor) {
	c.probes[wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr}] = n
}

// SetGateway says that gateway on an interface is dead, or that it is not.
func (c *Core) SetGateway(ifindex int, gateway netip.Addr, down bool) {
	c.setGateway(gatewayKey{int32(c.linkIndex(ifindex)), gateway.WithZone("")}, down)
}

// Sweep ends the time in which nothing of ours is deleted that is not desired.
func (c *Core) Sweep() {
	if c.swept {
		return
	}
	c.swept, c.rules.dirty, c.garbage = true, true, true
	if c.extrasLeft {
		c.rereads.routes.request()
	}
	c.addresses.sweep()
	c.neighbors.sweep()
	c.store.all(func(i uint32, e *entry) {
		if e.want == nil {
			c.touchRoute(i, e)
		}
	})
}

// ReportWrites decides whether there is an EventWrite for every change that is written.
func (c *Core) ReportWrites(on bool) { c.writes = on }

// NotificationsLost asks for everything to be read again: notifications were lost.
func (c *Core) NotificationsLost() { c.rereads.everything.request() }

// Notification takes a notification in.
func (c *Core) Notification(m rtnl.Message, now time.Time) {
	c.clock = now
	c.stats.Notifications++
	c.observe(m, false)
}

// Links lists the interfaces, by index.
func (c *Core) Links() []wire.Link {
	links := make([]wire.Link, 0, len(c.links))
	for _, l := range c.links {
		links = append(links, l)
	}
	slices.SortFunc(links, func(a, b wire.Link) int { return a.IfIndex - b.IfIndex })
	return links
}

// LinkNamed returns the index of the interface of that name, or if it is gone the last one
// that it had; 0 if there has never been one.
func (c *Core) LinkNamed(name string) int {
	for _, l := range c.links {
		if l.Interface == name {
			return l.IfIndex
		}
	}
	return int(c.bygone[name])
}

// Synced reports whether everything has been read once.
func (c *Core) Synced() bool { return c.synced }

// Snapshot returns the events that have led to what is known of interfaces and addresses,
// with EventSynced at their end; nil before everything has been read.
func (c *Core) Snapshot(now time.Time) (events []Event) {
	if !c.synced {
		return nil
	}
	for _, l := range c.Links() {
		events = append(events, Event{Kind: EventLink, Time: now, Link: l})
	}
	for key, a := range c.addresses.have {
		events = append(events, Event{Kind: EventAddress, Time: now, Link: c.links[int32(key.IfIndex)], Addr: key.Prefix, Scope: a.value.Scope, Permanent: !c.temporary[key]})
	}
	return append(events, Event{Kind: EventSynced, Time: now})
}
