package fibcore

import (
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Observing takes notifications and dump records into the model. A record of a
// dump (dump true) never counts as interference of another program.

func (c *Core) observe(m rtnl.Message, dump bool) {
	by := origin{port: m.Port}
	if dump {
		by.port = 0 // it is that of who has asked for the dump
	}
	switch m.Type {
	case rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE:
		if c.routes.rm.Parse(m.Body) == nil && c.routes.rm.Flags&rtnl.RTM_F_CLONED == 0 {
			if !dump {
				c.learners.notifyLearners(&c.routes.rm, m.Type == rtnl.RTM_DELROUTE, m.Flags)
			}
			c.routes.observeRoute(&c.routes.rm, m.Type == rtnl.RTM_DELROUTE, m.Flags, dump, by)
		}
	case rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP:
		var n wire.NextHopMessage
		if n.Parse(m.Body) == nil {
			c.nextHopSeen(&n, m.Type == rtnl.RTM_DELNEXTHOP, dump, by)
		}
	case rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK:
		if m.Type == rtnl.RTM_NEWLINK || !bridgeMessage(m.Body) {
			c.observeLink(m)
		}
	case rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR:
		var a wire.KernelAddress
		if a.Parse(m.Body) == nil {
			c.observeAddress(&a, m.Type == rtnl.RTM_DELADDR, by)
		}
	case rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE:
		c.observeRule(m, by)
	case rtnl.RTM_NEWNETCONF:
		c.observeNetconf(m.Body)
	case rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH:
		var n wire.KernelNeighbor
		if n.Parse(m.Body) == nil {
			c.observeNeighbor(&n, m.Type == rtnl.RTM_DELNEIGH, by)
		}
	}
}

func (c *Core) observeRule(m rtnl.Message, by origin) {
	var r wire.KernelRule
	if r.Parse(m.Body) != nil || r.Family != wire.FamilyIPv4 && r.Family != wire.FamilyIPv6 {
		return
	}
	if m.Type == rtnl.RTM_NEWRULE {
		by.proto = r.Protocol
	}
	c.rules.notified(r.Rule, r.Protocol == c.env.config.Protocol, by, c.env.clock)
	c.env.rereads.rules.request()
}

func (c *Core) observeNeighbor(n *wire.KernelNeighbor, gone bool, by origin) {
	if !n.Addr.IsValid() {
		return
	}
	key := wire.NeighborKey{IfIndex: n.IfIndex, Addr: n.Addr, Proxy: n.Proxy}
	if gone || !n.Permanent && !n.Proxy {
		if _, ok := c.neighbors.have[key]; ok || c.neighbors.want[key] != (wire.Neighbor{}) {
			c.neighbors.lost(key, by)
		}
		return
	}
	by.proto = n.Protocol
	c.neighbors.saw(key, n.Neighbor, n.Protocol == c.env.config.Protocol, by)
}

func (c *Core) nextHopSeen(n *wire.NextHopMessage, gone, dump bool, by origin) {
	if !c.nexthops.owns(n.ID) {
		if gone {
			c.routes.rereadForeign()
		}
		return
	}
	if k := c.nexthops.kernel[n.ID]; k != nil && !k.exists && !gone && n.Members != nil {
		c.routes.dropVanished() // the id is used again: not for the routes that had it
	}
	c.nexthops.observeNextHop(n, gone, dump, by)
}
