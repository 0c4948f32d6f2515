package domain

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// The gateways of overlays (RFC 9135, Section 6). Each tenant has a table with the subnets of its overlays, their bridges as
// next hops, and what ends a lookup; what comes from a bridge is looked up there alone. The gateway's addresses are on the
// bridges, so that ICMP errors have them as source (icmp_errors_use_inbound_ifaddr), without a connected route, and the routes
// by which the kernel takes in what is sent to them are in the tenant's table: package edge takes those away that the kernel puts into table
// local, where they would be every tenant's, and the hypervisor's. What the kernel answers, pings and errors, has the mark of
// what it answers (fwmark_reflect), which is the tenant's: that is how two tenants can have the same subnets.

// gatewayRules returns the rules of the gateways, before all others but that of table local. Their number grows with the overlays
// that have a gateway, never with guests.
func gatewayRules(c *config.Config) (rules []Rule) {
	gateways := c.Gateways()
	var tables []uint32
	for _, o := range gateways {
		if id := o.Gateway.Table.ID; !slices.Contains(tables, id) {
			tables = append(tables, id)
		}
	}
	for _, six := range []bool{false, true} {
		for _, o := range gateways {
			r := Rule{IPv6: six, Priority: config.GatewayPriorityFirst, IIF: o.Bridge, Table: o.Gateway.Table.ID}
			rules = lookup(rules, c, r, "unreachable")
		}
		for _, id := range tables {
			r := Rule{IPv6: six, Priority: config.GatewayPriorityFirst + 2, IIF: "lo", Mark: id, Mask: 1<<32 - 1, Table: id}
			rules = lookup(rules, c, r, "unreachable")
		}
	}
	return rules
}

// gatewayRoutes returns the routes of the tenants' tables, without those of last resort.
func gatewayRoutes(c *config.Config) (routes []Route) {
	for _, o := range c.Gateways() {
		hops := []NextHop{{Link: o.Bridge}}
		for _, p := range o.Gateway.Prefixes() {
			metric := uint32(0)
			if p.Addr().Is6() {
				metric = Metric6
			}
			own := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			routes = append(routes,
				Route{Key: Key{o.Gateway.Table.ID, p.Masked(), metric}, NextHops: hops, LinkScope: p.Addr().Is4()},
				Route{Key: Key{o.Gateway.Table.ID, own, metric}, Type: TypeLocal, NextHops: hops})
		}
	}
	return routes
}

// gatewayLast returns the routes that end the lookups in tenants' tables. They are there whatever ends lookups elsewhere: a
// tenant's packet never finds another table.
func gatewayLast(c *config.Config) (routes []Route) {
	seen := map[uint32]bool{}
	for _, o := range c.Gateways() {
		id := o.Gateway.Table.ID
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, all := range []netip.Prefix{all4, all6} {
			routes = lastResort(routes, id, all, "unreachable")
		}
	}
	return routes
}

// gatewayAddresses returns the addresses of gateways on their bridges.
func gatewayAddresses(c *config.Config) (list []Address) {
	for _, o := range c.Gateways() {
		for _, p := range o.Gateway.Prefixes() {
			a := p.Addr()
			list = append(list, Address{Link: o.Bridge, Prefix: netip.PrefixFrom(a, a.BitLen()), NoPrefixRoute: true})
		}
	}
	return list
}

// gateway is what the bridge of an overlay with a gateway has otherwise: it forwards, and answers ARP for its own address. It asks for
// nobody: EVPN says who is where, and what is sent to others is dropped, at once and in silence. That no reverse path is checked
// is made up for by the firewall, which knows each guest's addresses.
func (s sysctls) gateway(o config.Overlay) {
	conf4, conf6 := "net/ipv4/conf/"+o.Bridge+"/", "net/ipv6/conf/"+o.Bridge+"/"
	s.neighbours(o.Bridge)
	s[conf4+"forwarding"] = "1"
	s[conf4+"rp_filter"] = "0"
	s[conf4+"arp_accept"] = "0"
	s[conf6+"accept_dad"] = "0"
	s[conf6+"accept_untracked_na"] = "0" // since Linux 5.19
	s["net/ipv4/neigh/"+o.Bridge+"/mcast_solicit"] = "0"
	s["net/ipv6/neigh/"+o.Bridge+"/mcast_solicit"] = "0"
	s["net/ipv4/fwmark_reflect"] = "1"
	s["net/ipv6/fwmark_reflect"] = "1"
}
