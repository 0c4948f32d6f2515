package host

import (
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/dhcp"
)

// edge looks at what guests are told.
func (k *checker) edge(c *config.Config) {
	for _, g := range k.guests(c) {
		k.advertisedMTU(c, g)
		if c.Edge.DHCP.On && len(c.Edge.DHCP.Relay) == 0 && len(g.IPv4) > 0 && !dhcp.HostName(g.Name) {
			k.add(Warn, "guest %s: its name is no host name (letters, digits and hyphens), so DHCP gives it none", g.Name)
		}
	}
}

// advertisedMTU compares the MTU that a guest is told with that of its interface: packets that
// are larger than the interface's are dropped there.
func (k *checker) advertisedMTU(c *config.Config, g config.Guest) {
	mtu, ok := k.MTU(g.Interface)
	ra := c.Edge.RAFor(g)
	advertised := int(ra.MTU)
	if !ok || advertised <= mtu {
		return
	}
	by := ""
	if c.Edge.DHCP.On && len(c.Edge.DHCP.Relay) == 0 && len(g.IPv4) > 0 {
		by = "DHCP"
	}
	if !ra.Silent() && (len(g.IPv6) > 0 || g.Discovery.Has(config.IPv6)) {
		if by != "" {
			by += " and "
		}
		by += "router advertisements"
	}
	if by != "" {
		k.add(Warn, "guest %s is told an MTU of %d by %s, but its interface %s has %d", g.Name, advertised, by, g.Interface, mtu)
	}
}
