package fib

import (
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Observing takes notifications and dump records into the model. A record of a
// dump (dump true) never counts as somebody's interference.

func (c *core) observe(m rtnl.Message, dump bool) {
	by := origin{port: m.Port}
	switch m.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		if c.rm.parse(m.Body) == nil && c.rm.flags&rtnl.RTM_F_CLONED == 0 {
			c.observeRoute(&c.rm, m.Type == rtnl.RTM_DELROUTE, m.Flags, dump, by)
		}
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n nextHopMessage
		if n.parse(m.Body) == nil {
			c.observeNextHop(&n, m.Type == rtnl.RTM_DELNEXTHOP, dump, by)
		}
	case rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK:
		if m.Type == rtnl.RTM_NEWLINK || !bridgeMessage(m.Body) {
			c.observeLink(m)
		}
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a kernelAddress
		if a.parse(m.Body) == nil {
			c.observeAddress(&a, m.Type == rtnl.RTM_DELADDR, by)
		}
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		c.observeRule(m, by)
	case rtnl.RTM_NEWNETCONF:
		c.observeNetconf(m.Body)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n kernelNeighbor
		if n.parse(m.Body) == nil {
			c.observeNeighbor(&n, m.Type == rtnl.RTM_DELNEIGH, by)
		}
	}
}

func (c *core) observeRule(m rtnl.Message, by origin) {
	var r kernelRule
	if r.parse(m.Body) != nil || r.Family != FamilyIPv4 && r.Family != FamilyIPv6 {
		return
	}
	if m.Type == rtnl.RTM_NEWRULE {
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
