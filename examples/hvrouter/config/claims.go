package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Claims is who has what, of all guests that are known: what no two of them may share. The
// zero value is empty. It is not safe for concurrent use.
type Claims struct {
	names    map[string]string // by "name vm1", "interface tap1", "MAC ...": whose
	prefixes prefixes          // of guests alone; none overlaps another
	routed   map[netip.Prefix][]string
	gateways map[netip.Addr][]string // that guests have instead of the edge's
}

// Clone returns a copy that can be changed on its own.
func (x *Claims) Clone() Claims {
	return Claims{maps.Clone(x.names), x.prefixes.clone(), clipped(x.routed), clipped(x.gateways)}
}

// clipped returns a copy of lists. Nothing in a list is replaced, and only the original appends to it in place.
func clipped[K comparable](lists map[K][]string) map[K][]string {
	out := make(map[K][]string, len(lists))
	for key, list := range lists {
		out[key] = slices.Clip(list)
	}
	return out
}

// claims lists what only one guest may have, besides prefixes, by field.
func claims(g Guest) [][2]string {
	list := [][2]string{{".name", "name " + g.Name}}
	if !IsPattern(g.Interface) {
		list = append(list, [2]string{".interface", "interface " + g.Interface})
	}
	if !g.MAC.IsZero() {
		list = append(list, [2]string{".mac", "MAC " + g.MAC.String()})
	}
	return append(list, overlayClaims(g)...)
}

// own lists the prefixes that belong to a guest alone, by field; routed prefixes may be
// shared, which is anycast.
func own(g Guest) (fields []string, prefixes []netip.Prefix) {
	add := func(p netip.Prefix, format string, i int) {
		fields, prefixes = append(fields, fmt.Sprintf(format, i)), append(prefixes, p)
	}
	for i, a := range g.IPv4 {
		add(netip.PrefixFrom(a.Addr, a.BitLen()), ".ipv4[%d]", i)
	}
	for i, p := range g.IPv6 {
		add(p.Masked(), ".ipv6[%d]", i)
	}
	for i, t := range g.Transparent {
		add(netip.PrefixFrom(t.Address.Addr, t.Address.BitLen()), ".transparent[%d].address", i)
	}
	return fields, prefixes
}

// Add makes everything that g has who's.
func (x *Claims) Add(g Guest, who string) {
	if x.names == nil {
		x.names, x.routed, x.gateways = map[string]string{}, map[netip.Prefix][]string{}, map[netip.Addr][]string{}
	}
	for _, c := range claims(g) {
		x.names[c[1]] = who
	}
	_, prefixes := own(g)
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range prefixes { // the widest first: what is inside one of them adds nothing
		if _, ok := x.prefixes.overlap(p); !ok {
			x.prefixes.add(claimed{p, who})
		}
	}
	for _, p := range g.Routed {
		x.routed[p.Prefix] = append(x.routed[p.Prefix], who)
	}
	if g.Gateway4.IsValid() {
		x.gateways[g.Gateway4.Addr] = append(x.gateways[g.Gateway4.Addr], who)
	}
}

// Remove takes back what was added for who.
func (x *Claims) Remove(g Guest, who string) {
	for _, c := range claims(g) {
		if x.names[c[1]] == who {
			delete(x.names, c[1])
		}
	}
	_, prefixes := own(g)
	for _, p := range prefixes {
		x.prefixes.remove(claimed{p, who})
	}
	for _, p := range g.Routed {
		without(x.routed, p.Prefix, who)
	}
	without(x.gateways, g.Gateway4.Addr, who)
}

// without takes who off one list of a map.
func without[K comparable](lists map[K][]string, key K, who string) {
	left := slices.DeleteFunc(slices.Clone(lists[key]), func(w string) bool { return w == who })
	if lists[key] = left; len(left) == 0 {
		delete(lists, key)
	}
}

// Check returns what g would take from other guests, and from whom.
func (x *Claims) Check(g Guest) []Problem {
	var all problems
	k := &checker{problems: &all}
	for _, c := range claims(g) {
		if by := x.names[c[1]]; by != "" {
			k.bad(c[0], "%s belongs to guest %s", c[1], by)
		}
	}
	fields, prefixes := own(g)
	for i, p := range prefixes {
		if c, ok := x.prefixes.overlap(p); ok {
			k.bad(fields[i], "%s belongs to guest %s", short(p), c.who)
		} else if by := x.gateways[p.Addr()]; p.IsSingleIP() && len(by) > 0 {
			k.bad(fields[i], "%s is the gateway of guest %s", short(p), by[0])
		} else if by := x.routed[p]; len(by) > 0 {
			k.bad(fields[i], "%s is routed through guest %s", short(p), by[0])
		} else if by := x.covered(p); by != "" {
			k.odd(fields[i], "%s is in a prefix that is routed through guest %s", short(p), by)
		}
	}
	if a := g.Gateway4.Addr; a.IsValid() {
		if c, ok := x.prefixes.overlap(netip.PrefixFrom(a, a.BitLen())); ok {
			k.bad(".gateway4", "%v belongs to guest %s", a, c.who)
		}
	}
	for i, p := range g.Routed {
		c, ok := x.prefixes.overlap(p.Prefix)
		switch {
		case !ok:
		case c.Prefix == p.Prefix:
			k.bad(fmt.Sprintf(".routed[%d]", i), "%s belongs to guest %s", short(p.Prefix), c.who)
		default:
			k.odd(fmt.Sprintf(".routed[%d]", i), "%v covers what belongs to guest %s", p, c.who)
		}
	}
	return all.of(g)
}

// covered returns through whom a prefix is routed that p is in, "" for nobody.
func (x *Claims) covered(p netip.Prefix) string {
	for bits := p.Bits(); bits > 0 && len(x.routed) > 0; bits-- {
		if q, err := p.Addr().Prefix(bits); err == nil && len(x.routed[q]) > 0 {
			return x.routed[q][0]
		}
	}
	return ""
}
