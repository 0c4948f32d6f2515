package fib

import (
	"golang.org/x/sys/unix"
)

// Observing takes notifications and dump records into the model. A record of a
// dump (dump true) never counts as somebody's interference.

func (c *core) observe(m message, dump bool) {
	by := origin{port: m.pid}
	switch m.typ {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if c.rm.parse(m.body) == nil && c.rm.flags&routeCloned == 0 {
			c.observeRoute(&c.rm, m.typ == unix.RTM_DELROUTE, m.flags, dump, by)
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		var n nextHopMessage
		if n.parse(m.body) == nil {
			c.observeNextHop(&n, m.typ == unix.RTM_DELNEXTHOP, dump, by)
		}
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if m.typ == unix.RTM_NEWLINK || !bridgeMessage(m.body) {
			c.observeLink(m)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var a kernelAddress
		if a.parse(m.body) == nil {
			c.observeAddress(&a, m.typ == unix.RTM_DELADDR, by)
		}
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.observeRule(m, by)
	case unix.RTM_NEWNETCONF:
		c.observeNetconf(m.body)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		var n kernelNeighbor
		if n.parse(m.body) == nil {
			c.observeNeighbor(&n, m.typ == unix.RTM_DELNEIGH, by)
		}
	}
}

func (c *core) observeRule(m message, by origin) {
	var r kernelRule
	if r.parse(m.body) != nil || r.Family != FamilyIPv4 && r.Family != FamilyIPv6 {
		return
	}
	if m.typ == unix.RTM_NEWRULE {
		by.proto = r.proto
	}
	c.rules.heard(r.Rule, r.proto == c.config.Protocol, by, c.now())
	c.doubts.rules.raise()
}

func (c *core) observeNeighbor(n *kernelNeighbor, gone bool, by origin) {
	if !n.Addr.IsValid() {
		return
	}
	key := neighborKey{n.IfIndex, n.Addr, n.Proxy}
	if gone || !n.permanent && !n.Proxy {
		if _, ok := c.neighbors.have[key]; ok || c.neighbors.want[key] != (Neighbor{}) {
			c.neighbors.lost(key, by)
		}
		return
	}
	by.proto = n.proto
	c.neighbors.saw(key, n.Neighbor, n.proto == c.config.Protocol, by)
}
