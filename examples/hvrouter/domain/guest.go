package domain

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/ether"
)

// gateway6 is our address on every guest interface, the same on every hypervisor,
// so that a guest that moves keeps its default router.
var gateway6 = netip.MustParsePrefix("fe80::1/64")

// GuestAddresses returns our addresses on the guest's interface.
func GuestAddresses(c *config.Config, g config.Guest) []Address {
	var addrs []Address
	if gw := Gateway4(c, g); gw.IsValid() && hasIPv4(g) {
		addrs = append(addrs, Address{Link: g.Interface, Prefix: netip.PrefixFrom(gw, 32), LinkScope: true})
	}
	if hasIPv6(g) {
		addrs = append(addrs, Address{Link: g.Interface, Prefix: gateway6, LinkScope: true})
	}
	return addrs
}

// Gateway4 returns the guest's IPv4 gateway, the zero Addr if there is none.
func Gateway4(c *config.Config, g config.Guest) netip.Addr {
	if g.Gateway4.IsValid() {
		return g.Gateway4.Addr
	}
	return c.Edge.Gateway4.Addr
}

// GuestNeighbours returns the addresses at which the kernel finds the guest on its link, or
// from which the guest may ask for its gateway: its own, and those that are routed to it
// one by one, which it may have on any interface.
func GuestNeighbours(g config.Guest) (addrs []netip.Addr) {
	for _, a := range g.IPv4 {
		addrs = append(addrs, a.Addr)
	}
	if hasIPv6(g) && !g.MAC.IsZero() {
		addrs = append(addrs, LinkLocal(g.MAC))
	}
	for _, p := range append(slices.Clip(g.IPv6), g.Routed...) {
		if p.IsSingleIP() && !slices.Contains(addrs, p.Addr()) {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}

// GuestOwn returns everything that a guest may speak as, link-local addresses aside.
func GuestOwn(g config.Guest) (out []netip.Prefix) {
	for _, a := range g.IPv4 {
		out = append(out, host(a.Addr))
	}
	for _, p := range append(slices.Clip(g.IPv6), g.Routed...) {
		out = append(out, p.Prefix)
	}
	return out
}

// HasIPv6 reports whether a guest speaks IPv6 at all.
func HasIPv6(g config.Guest) bool { return hasIPv6(g) }

// GuestPrefixes returns the prefixes that reach the guest, and how.
func GuestPrefixes(c *config.Config, g config.Guest) map[netip.Prefix]Local {
	out := map[netip.Prefix]Local{}
	add := func(p netip.Prefix, hop NextHop, link bool) {
		hop.Link = g.Interface
		out[p] = Local{NextHops: []NextHop{hop}, Metric: c.Edge.Metric, LinkScope: link, LocalPref: g.LocalPref}
	}
	for _, a := range g.IPv4 {
		if !g.Owes(host(a.Addr)) {
			add(host(a.Addr), NextHop{}, true)
		}
	}
	for _, p := range g.IPv6 {
		if g.Owes(p.Prefix) {
			continue
		}
		// A /128 is proxied: the guest itself is on the link. A wider prefix is
		// routed to the guest, which may be a router itself.
		add(p.Prefix, NextHop{Gateway: via6(g, p.Prefix)}, false)
	}
	for _, p := range g.Routed {
		if g.Owes(p.Prefix) {
			continue
		}
		add(p.Prefix, through(g, p.Addr()), false)
	}
	for _, t := range g.Transparent {
		add(host(t.Address.Addr), through(g, t.Address.Addr), false)
	}
	return out
}

func via6(g config.Guest, p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return netip.Addr{}
	}
	return LinkLocal(g.MAC)
}

// through returns the guest's own address of the family as a gateway.
func through(g config.Guest, a netip.Addr) NextHop {
	if a.Is4() {
		return NextHop{Gateway: g.IPv4[0].Addr, OnLink: true}
	}
	return NextHop{Gateway: LinkLocal(g.MAC)}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// LinkLocal returns the address that a guest derives from its MAC (modified EUI-64,
// RFC 4291, Appendix A).
func LinkLocal(m config.MAC) netip.Addr { return netip.AddrFrom16(ether.MAC(m).LinkLocal()) }

func hasIPv4(g config.Guest) bool { return len(g.IPv4) > 0 || g.Discovery.Has(config.IPv4) }

func hasIPv6(g config.Guest) bool {
	if len(g.IPv6) > 0 || g.Discovery.Has(config.IPv6) {
		return true
	}
	for _, p := range g.Routed {
		if p.Addr().Is6() {
			return true
		}
	}
	return false
}
