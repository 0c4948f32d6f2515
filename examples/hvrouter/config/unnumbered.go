package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Found is a router that was found on an interface of a neighbour without an address.
type Found struct {
	Neighbor  int // which one of the domain
	Interface string
	Address   Addr // its link-local address
	Local     Addr // ours
}

// Unnumbered reports whether the neighbours are those that are found on the interface.
func (n Neighbor) Unnumbered() bool { return !n.Address.IsValid() }

// Fits reports whether an interface is one of the neighbour's.
func (n Neighbor) Fits(name string) bool {
	ok, err := path.Match(n.Interface, name)
	return ok && err == nil && name != "lo"
}

// Pattern reports whether the interface is a pattern.
func (n Neighbor) Pattern() bool { return strings.ContainsAny(n.Interface, `*?[\`) }

// found returns the session with a router that was found.
func (n Neighbor) found(f Found) Reflector {
	one := n
	one.Interface, one.Address, one.Local = f.Interface, f.Address, f.Local
	def(&one.Name, f.Address.String()+"%"+f.Interface)
	if n.Fabric == n.Interface {
		one.Fabric = f.Interface
	}
	r := one.session()
	r.Neighbor = &n
	return r
}

// Unnumbered reports whether neighbours are found on interfaces of the domain.
func (d Domain) Unnumbered() bool { return slices.ContainsFunc(d.Neighbors, Neighbor.Unnumbered) }

// Awaits returns on how many interfaces of the domain a neighbour has still to be found.
func (d Domain) Awaits() (n int) {
	for i, one := range d.Neighbors {
		if one.Unnumbered() && !slices.ContainsFunc(d.Found, func(f Found) bool { return f.Neighbor == i }) {
			n++
		}
	}
	return n
}

// NeighborOn returns which neighbour without an address an interface is of, -1 if of none: the
// first that fits it.
func (d Domain) NeighborOn(name string) int {
	return slices.IndexFunc(d.Neighbors, func(n Neighbor) bool { return n.Unnumbered() && n.Fits(name) })
}

// WithFound returns the configuration with the interfaces that are there and with the routers that
// were found on them, by domain. Those that are none of its neighbours any more are left out.
func (c *Config) WithFound(links map[string][]string, found map[string][]Found) *Config {
	if !slices.ContainsFunc(c.Domains, Domain.Unnumbered) {
		return c
	}
	out := *c
	out.Domains = slices.Clone(c.Domains)
	for i := range out.Domains {
		d := &out.Domains[i]
		d.Found, d.Interfaces = nil, slices.Clone(d.Interfaces)
		for _, name := range links[d.Name] {
			if d.NeighborOn(name) >= 0 && !slices.Contains(d.Interfaces, name) {
				d.Interfaces = append(d.Interfaces, name)
			}
		}
		for _, f := range found[d.Name] {
			if f.Neighbor = d.NeighborOn(f.Interface); f.Neighbor >= 0 {
				d.Found = append(d.Found, f)
			}
		}
	}
	return &out
}

// SameFound reports whether both have the same interfaces and routers.
func (c *Config) SameFound(o *Config) bool {
	return slices.EqualFunc(c.Domains, o.Domains, func(a, b Domain) bool {
		return slices.Equal(a.Found, b.Found) && slices.Equal(a.Interfaces, b.Interfaces)
	})
}

// fillUnnumbered makes the interfaces of neighbours without an address known to their domains;
// those that patterns fit are known when they are there.
func (d *Domain) fillUnnumbered() {
	for _, n := range d.Neighbors {
		if n.Unnumbered() && !n.Pattern() && n.Interface != "" && !slices.Contains(d.Interfaces, n.Interface) {
			d.Interfaces = append(d.Interfaces, n.Interface)
		}
	}
}

// unnumbered checks a neighbour without an address.
func (k *checker) unnumbered(at string, n Neighbor) {
	k.need(at+".interface", n.Interface != "")
	if _, err := path.Match(n.Interface, ""); err != nil {
		k.bad(at+".interface", "%q is no pattern", n.Interface)
	}
	given := map[string]bool{".local": n.Local.IsValid(), ".next-hop6": n.NextHop6.IsValid(), ".multihop": n.Multihop != 0}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if given[key] {
			k.bad(at+key, "it is for a neighbour with an address")
		}
	}
	k.policy(at+".import", n.Import)
	k.policy(at+".export", n.Export)
	k.prepends(at, n.session())
	k.whole(at+".restart-time", n.RestartTime)
	k.session(at, n.session())
}

// untrusted refuses patterns of neighbours that interfaces of guest templates fit: a guest could be
// a router. Guests by name are refused by [Admission].
func (k *checker) untrusted(at string, c *Config, d Domain) {
	if d.NetNS != c.GuestNetNS() {
		return
	}
	for i, n := range d.Neighbors {
		if !n.Unnumbered() || !n.Pattern() {
			continue
		}
		for _, t := range c.GuestTemplates {
			mine, theirs := Literal(n.Interface), Literal(t.Interfaces)
			if strings.HasPrefix(mine, theirs) || strings.HasPrefix(theirs, mine) {
				k.bad(fmt.Sprintf("%s[%d].interface", at, i), "%s and %s, whose interfaces are guests', have names in common", n.Interface, t.Interfaces)
			}
		}
	}
}

// hidden finds neighbours without an address that one before them takes every interface of.
func (k *checker) hidden(at string, list []Neighbor) {
	for i, n := range list {
		if !n.Unnumbered() || n.Interface == "" {
			continue
		}
		first := slices.IndexFunc(list[:i], func(o Neighbor) bool {
			return o.Unnumbered() && (o.Interface == n.Interface || !n.Pattern() && o.Fits(n.Interface))
		})
		if first >= 0 {
			k.bad(fmt.Sprintf("%s[%d].interface", at, i), "%s[%d] has %s already, as %s: the first that fits counts", strings.TrimPrefix(at, "$."), first, n.Interface, list[first].Interface)
		}
	}
}
