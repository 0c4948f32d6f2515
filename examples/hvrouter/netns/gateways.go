package netns

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
)

// A gateway of an overlay comes after the firewall, without which guests would reach the hypervisor by it. As long as the
// kernel has refused each firewall with it, its overlay is as one without a gateway. One that is there stays, whatever the
// kernel says of a later firewall: of an earlier run, whose firewall outlives it as the gateway does, or of this one.

// waiting returns the overlays of which the gateways wait for the firewall.
func (n *Namespace) waiting() (names []string) {
	if n.shield.firewall == nil {
		return nil
	}
	for _, o := range n.part.Gateways() {
		if !n.shield.guards(o.Bridge) && !n.hasGateway(o) {
			names = append(names, o.Name)
		}
	}
	return names
}

// guards reports whether the kernel has taken a firewall that has a gateway on a bridge.
func (s *shield) guards(bridge string) bool {
	return s.stands != nil && slices.ContainsFunc(s.stands.Gateways, func(g firewall.Gateway) bool { return g.Bridge == bridge })
}

// hasGateway reports whether the bridge of an overlay has an address of its gateway.
func (n *Namespace) hasGateway(o config.Overlay) bool {
	there := n.links.addrs[n.links.index[o.Bridge]]
	return slices.ContainsFunc(o.Gateway.Prefixes(), func(p netip.Prefix) bool {
		_, ok := there[netip.PrefixFrom(p.Addr(), p.Addr().BitLen())]
		return ok
	})
}

// opened returns the configuration without the gateways that wait.
func (n *Namespace) opened() *config.Config {
	waiting := n.waiting()
	if !slices.Equal(waiting, n.waited) && len(waiting) > 0 {
		n.log.Error("gateways wait for the firewall", "event", "gateways-wait", "overlays", waiting)
	}
	n.waited = waiting
	if len(waiting) == 0 {
		return n.part
	}
	c := *n.part
	c.Overlays = slices.Clone(c.Overlays)
	for i, o := range c.Overlays {
		if slices.Contains(waiting, o.Name) {
			c.Overlays[i].Gateway = nil
		}
	}
	return &c
}

// Waiting returns the overlays of which the gateways were left out by Apply, since the kernel refuses the firewall.
func (n *Namespace) Waiting() []string { return n.waited }

// Opens reports whether Apply would bring one of Waiting now.
func (n *Namespace) Opens() bool { return len(n.waiting()) < len(n.waited) }
