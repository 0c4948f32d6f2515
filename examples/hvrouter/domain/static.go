package domain

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Address is an address that we want on an interface.
type Address struct {
	Link   string
	Prefix netip.Prefix
	// LinkScope: valid on the link only, never chosen as a source elsewhere.
	LinkScope bool
	// NoPrefixRoute: the kernel makes no connected route of it.
	NoPrefixRoute bool
}

// Local is a prefix that lives on this hypervisor.
type Local struct {
	NextHops  []NextHop
	Metric    uint32
	LinkScope bool
	LocalPref uint32 // announced; of several guests the greatest
	// Address is ours, and is what the prefix is announced for; the zero Addr is none.
	Address netip.Addr
}

// Static is what follows from the configuration and the guests that are here.
type Static struct {
	Rules      []Rule
	Persistent []Route // of last resort, and the unreachable prefixes
	Gateways   []Route // in the tables of tenants: the subnets of overlays, and their gateways
	Sysctls    map[string]string
	Addresses  []Address
	Neighbors  []Neighbor
	Locals     map[string]map[netip.Prefix]Local // by domain's name
}

// Metric6 is what Linux makes of metric 0 in IPv6 (IP6_RT_PRIO_USER).
const Metric6 = 1024

// Links is what NewStatic is told of interfaces besides the guests.
type Links struct {
	// Heard are addresses that guests were heard from besides their own, by interface.
	Heard map[string][]netip.Addr
	// Detached are interfaces that were guests' and still exist.
	Detached []string
}

// NewStatic computes it. Guests that are down are the caller's to leave out.
func NewStatic(c *config.Config, guests []config.Guest, l Links) Static {
	s := Static{Rules: append(gatewayRules(c), Rules(c)...), Persistent: Persistent(c), Gateways: gatewayRoutes(c), Sysctls: Sysctls(c, guests, l.Detached), Locals: map[string]map[netip.Prefix]Local{}}
	for _, d := range c.Domains {
		s.Locals[d.Name] = map[netip.Prefix]Local{}
		if d.Loopback {
			p := c.Loopback.Address.Masked()
			l := Local{NextHops: []NextHop{{Link: c.Loopback.Interface}}, LinkScope: p.Addr().Is4(), LocalPref: 100, Address: p.Addr()}
			switch {
			case c.Isolation == config.IsolationVRF:
				l.Metric = c.Edge.Metric // the kernel's own local route in this table has 0
			case p.Addr().Is6():
				l.Metric = Metric6
			}
			s.Locals[d.Name][p] = l
		}
	}
	if c.Loopback.Address.IsValid() {
		s.Addresses = append(s.Addresses, Address{Link: c.Loopback.Interface, Prefix: c.Loopback.Address.Prefix})
	}
	s.Addresses = append(s.Addresses, gatewayAddresses(c)...)
	d := c.GuestDomain()
	for _, g := range guests {
		s.Addresses = append(s.Addresses, GuestAddresses(c, g)...)
		s.Neighbors = append(s.Neighbors, neighbors(g, l.Heard[g.Interface])...)
		if d != nil {
			merge(s.Locals[d.Name], GuestPrefixes(c, g))
		}
	}
	return s
}

// merge adds a guest's prefixes. Two guests with the same prefix (anycast on one
// hypervisor) share it.
func merge(into, from map[netip.Prefix]Local) {
	for p, l := range from {
		if old, ok := into[p]; ok {
			l.NextHops = sortHops(append(append([]NextHop(nil), old.NextHops...), l.NextHops...))
			l.LocalPref = max(l.LocalPref, old.LocalPref)
			l.LinkScope = l.LinkScope && old.LinkScope
		}
		into[p] = l
	}
}

// Persistent returns the routes that no event changes: what ends a lookup in each
// table, and the prefixes that are unreachable where nothing better is known.
func Persistent(c *config.Config) []Route {
	var routes []Route
	byRoute := func(word string) string {
		if c.LastResortBy == "rules" {
			return "none"
		}
		return word
	}
	for _, d := range c.Domains {
		for _, all := range families(c, d) {
			routes = lastResort(routes, d.Table.ID, all, byRoute(d.LastResort))
		}
		for _, p := range d.Unreachable {
			routes = append(routes, Route{Key: Key{d.Table.ID, p.Prefix, holeMetric}, Type: Unreachable, Persistent: true})
		}
	}
	for _, all := range LocalOutFamilies(c) {
		routes = lastResort(routes, c.LocalOut.Table.ID, all, byRoute(c.LocalOut.LastResort))
	}
	return append(routes, gatewayLast(c)...)
}

// lastResort adds the route that ends a lookup in a table, unless a rule does.
func lastResort(routes []Route, table uint32, all netip.Prefix, word string) []Route {
	if word == "none" {
		return routes
	}
	return append(routes, Route{Key: Key{table, all, LastMetric}, Type: typeOf(word), Persistent: true})
}

var (
	all4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	all6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// families returns the default prefix of each family that the domain carries.
func families(c *config.Config, d config.Domain) []netip.Prefix {
	v4, v6 := c.Families(d)
	if !v4 && !v6 || d.Guests {
		return []netip.Prefix{all4, all6}
	}
	return both(v4, v6)
}

func both(v4, v6 bool) (all []netip.Prefix) {
	if v4 {
		all = append(all, all4)
	}
	if v6 {
		all = append(all, all6)
	}
	return all
}

// LocalOutFamilies returns the default prefix of each family in which a rule looks
// into local-out; without such a rule its routes would be dead weight.
func LocalOutFamilies(c *config.Config) []netip.Prefix {
	if c.LocalOut == nil {
		return nil
	}
	var v4, v6 bool
	for _, r := range Rules(c) {
		if r.Table == c.LocalOut.Table.ID {
			v4, v6 = v4 || !r.IPv6, v6 || r.IPv6
		}
	}
	return both(v4, v6)
}
