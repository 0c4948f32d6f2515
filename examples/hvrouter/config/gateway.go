package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Gateway has the hypervisor be the router of an overlay's guests: a distributed anycast gateway, with the same addresses
// and the same MAC on every hypervisor (RFC 9135, Section 4.1). Overlays with the same table are a tenant: each hypervisor
// routes what its guests send from one to the other (asymmetric IRB, RFC 9135, Section 6), and nothing else.
type Gateway struct {
	// Table is the routing table of the tenant, whose overlays all have the same, and nobody else; its number is the
	// firewall mark of what the gateway answers as well. Required.
	Table Table `yaml:"table" json:"table"`
	// IPv4 addresses of the gateway, with the prefix lengths of their subnets. One of either family is required.
	IPv4 []InterfacePrefix `yaml:"ipv4,omitempty" json:"ipv4,omitempty"`
	// IPv6 addresses of the gateway, with the prefix lengths of their subnets. Guests are not told of it by router
	// advertisements.
	IPv6 []InterfacePrefix `yaml:"ipv6,omitempty" json:"ipv6,omitempty"`
	// MAC of the gateway, the same on every hypervisor. Default 00:00:5e:00:01:fe, for all overlays.
	MAC MAC `yaml:"mac,omitempty" json:"mac"`
}

// defaultGatewayMAC is that of VRRP's virtual router 254 (RFC 9568, Section 7.3): few guests use so high a number among
// themselves.
var defaultGatewayMAC = MAC{0x00, 0x00, 0x5e, 0x00, 0x01, 0xfe}

// fields yields the addresses of both families, each with its field below the gateway.
func (g *Gateway) fields(yield func(at string, p netip.Prefix) bool) {
	if g == nil {
		return
	}
	for i, p := range g.IPv4 {
		if !yield(fmt.Sprintf(".ipv4[%d]", i), p.Prefix) {
			return
		}
	}
	for i, p := range g.IPv6 {
		if !yield(fmt.Sprintf(".ipv6[%d]", i), p.Prefix) {
			return
		}
	}
}

// Prefixes returns the addresses of both families. A nil Gateway has none.
func (g *Gateway) Prefixes() (list []netip.Prefix) {
	for _, p := range g.fields {
		list = append(list, p)
	}
	return list
}

// Has reports whether an address is the gateway's. A nil Gateway has none.
func (g *Gateway) Has(a netip.Addr) bool {
	return slices.ContainsFunc(g.Prefixes(), func(p netip.Prefix) bool { return p.Addr() == a })
}

// Gateways returns the overlays that have one.
func (c *Config) Gateways() (list []Overlay) {
	for _, o := range c.Overlays {
		if o.Gateway != nil {
			list = append(list, o)
		}
	}
	return list
}

// GatewayPriorities are the first and the last priority of the policy rules that gateways need.
const (
	GatewayPriorityFirst = 10
	GatewayPriorityLast  = 13
)

// mostRouted bounds the overlays of a tenant: the firewall has each pair of them.
const mostRouted = 64

func (o *Overlay) fillGateway() {
	if o.Gateway != nil {
		def(&o.Gateway.MAC, defaultGatewayMAC)
	}
}

// gateways checks the gateways of all overlays.
func (k *checker) gateways(c *Config) {
	tenants := map[uint32][]subnet{}
	count := map[uint32]int{}
	for i, o := range c.Overlays {
		if o.Gateway == nil {
			continue
		}
		path := fmt.Sprintf("$.overlays[%d].gateway", i)
		k.gatewayNeeds(path, c, o)
		k.gatewayTable(path+".table", c, o.Gateway.Table)
		if o.Gateway.MAC[0]&1 != 0 {
			k.bad(path+".mac", "%v is a multicast address", o.Gateway.MAC)
		}
		id := o.Gateway.Table.ID
		if count[id]++; count[id] == mostRouted+1 {
			k.bad(path+".table", "more than %d overlays have table %v", mostRouted, o.Gateway.Table)
		}
		for at, p := range o.Gateway.fields {
			at = path + at
			if !k.gatewayAddress(at, p, strings.Contains(at, ".ipv4")) {
				continue
			}
			for _, other := range tenants[id] {
				if other.Overlaps(p) {
					k.bad(at, "%v overlaps with %v of overlay %s, which has the same table", p, other.Prefix, other.overlay)
				}
			}
			tenants[id] = append(tenants[id], subnet{p, o.Name})
		}
	}
}

// subnet is one of an overlay.
type subnet struct {
	netip.Prefix
	overlay string
}

// gatewayNeeds checks what a gateway cannot be without.
func (k *checker) gatewayNeeds(path string, c *Config, o Overlay) {
	switch {
	case o.EVPN == nil:
		k.bad(path, "the overlay has no evpn, without which nobody knows where its guests are")
	case c.Firewall.Off:
		k.bad(path, "firewall is off, without which guests would reach the hypervisor, and each other's networks")
	case c.Isolation == IsolationFwmark:
		k.bad(path, "a gateway has marks of its own, which isolation: fwmark does not leave: want rules, vrf or netns")
	case len(o.Gateway.IPv4)+len(o.Gateway.IPv6) == 0:
		k.bad(path, "ipv4 and ipv6 are missing: want an address of one of them")
	}
	if c.Rules == nil {
		return
	}
	for family, set := range map[string][]Rule{"ipv4": c.Rules.IPv4, "ipv6": c.Rules.IPv6} {
		for i, r := range set {
			if r.Priority >= GatewayPriorityFirst && r.Priority <= GatewayPriorityLast {
				k.bad(fmt.Sprintf("$.rules.%s[%d].priority", family, i), "%d: %d to %d are those of gateways of overlays", r.Priority, GatewayPriorityFirst, GatewayPriorityLast)
			}
		}
	}
}

// gatewayTable checks that a table can be a tenant's alone.
func (k *checker) gatewayTable(path string, c *Config, t Table) {
	if !k.need(path, t != Table{}) {
		return
	}
	if t.ID == 0 {
		k.bad(path, "table %q is in no rt_tables file", t.Name)
		return
	}
	what := ""
	switch {
	case t.ID >= 253 && t.ID <= 255:
		what = "the kernel's own"
	case c.LocalOut != nil && c.LocalOut.Table.ID == t.ID:
		what = "that of local-out"
	}
	for _, d := range c.Domains {
		if d.Table.ID == t.ID {
			what = "that of domain " + d.Name
		}
	}
	if what != "" {
		k.bad(path, "table %v is %s, and cannot be a tenant's", t, what)
	}
}

// gatewayAddress checks an address of a gateway and its subnet.
func (k *checker) gatewayAddress(path string, p netip.Prefix, v4 bool) bool {
	a := p.Addr()
	switch {
	case a.Is4() != v4 || a.Is4In6():
		k.bad(path, "%v is not an %s address", a, map[bool]string{true: "IPv4", false: "IPv6"}[v4])
		return false
	case p.Bits() == 0 || p.IsSingleIP():
		k.bad(path, "%v: want the length of the subnet's prefix", p)
		return false
	}
	if v4 && p.Bits() < 31 {
		if first, last := ends(p.Masked()); a == first || a == last {
			k.bad(path, "%v is the first or the last address of its /%d, which hosts take for the network or for broadcast", a, p.Bits())
		}
	}
	return true // what no host has is said of all our addresses
}

// gatewayOf checks that nothing of a guest on an overlay is the gateway's.
func (a *Admission) gatewayOf(k *checker, at string, p OverlayPort) {
	i := slices.IndexFunc(a.config.Overlays, func(o Overlay) bool { return o.Name == p.Overlay })
	if i < 0 || a.config.Overlays[i].Gateway == nil {
		return
	}
	g := a.config.Overlays[i].Gateway
	if p.MAC == g.MAC {
		k.bad(at+".mac", "%v is the gateway's MAC on %s", p.MAC, p.Overlay)
	}
	for j, list := range [][]Addr{p.IPv4, p.IPv6} {
		for n, addr := range list {
			if g.Has(addr.Addr) {
				k.bad(fmt.Sprintf("%s.%s[%d]", at, []Family{IPv4, IPv6}[j], n), "%v is the gateway's address on %s", addr, p.Overlay)
			}
		}
	}
}
