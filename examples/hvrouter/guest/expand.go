package guest

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// Finding is an address, or a prefix, that a guest has without being in the inventory's
// list.
type Finding struct {
	Prefix netip.Prefix
	// Routed prefixes go through the guest: a gateway, or a whole subnet.
	Routed bool
	// Learned: somebody else's route says so, else the guest has spoken from it.
	Learned bool
}

// World is what Expand looks at besides the inventory.
type World struct {
	Links iter.Seq[fib.Link] // interfaces that exist, none twice
	// Link finds one of them by name.
	Link func(name string) (fib.Link, bool)
	// Findings of one interface, in a stable order; those outside of what the guest may
	// find are left out by Expand.
	Findings func(link int) []Finding
	// Free reports whether a prefix may be found; nil is all of them.
	Free func(netip.Prefix) bool
}

// Expand returns the guests that are present: those of the inventory whose interface is there
// and that are not down, and one for each other interface that a template matches.
// Each has the addresses that were found for it, within its bounds: inside Within, Most
// at the most, and nothing that the inventory gives to somebody. It is sorted by name.
//
// A guest that a template made is named like its interface, with "@" in front if a
// guest of the inventory has that name.
func Expand(c *config.Config, all []config.Guest, w World) []config.Guest {
	here := make([]config.Guest, 0, len(all))
	taken, names := map[string]bool{}, map[string]bool{}
	for _, g := range all {
		names[g.Name] = true
		for _, p := range g.Overlays {
			taken[p.Interface] = true
		}
		link, ok := w.link(g.Interface, g.MAC)
		if !ok {
			taken[g.Interface] = true // it may come
			continue
		}
		g.Interface = link.Interface
		taken[link.Interface] = true
		if !g.Down {
			here = append(here, c.Inherit(g))
		}
	}
	for l := range w.Links {
		if len(c.GuestTemplates) == 0 {
			break
		}
		if t := c.Template(l.Interface); t != nil && !taken[l.Interface] {
			here = append(here, made(t, l.Interface, names[l.Interface]))
		}
	}
	var own owned
	for i := range here {
		if here[i].Discovery.On() {
			if own == nil {
				own = owners(all)
			}
			link, _ := w.Link(here[i].Interface)
			find(&here[i], w.Findings(link.IfIndex), own, w.Free)
		}
	}
	slices.SortFunc(here, func(a, b config.Guest) int { return strings.Compare(a.Name, b.Name) })
	return here
}

// made returns the guest of a template on one interface.
func made(t *config.Template, link string, taken bool) config.Guest {
	name := link
	if taken {
		name = "@" + link
	}
	return config.Guest{Name: name, Interface: link, Discovery: t.Discovery, Gateway4: t.Gateway4, RA: t.RA, Rate: t.Rate, LocalPref: t.LocalPref}
}

// link returns the interface of a guest of the inventory, by name or by pattern and MAC: if several
// match, the one with the least index, whatever their order is.
func (w World) link(pattern string, mac config.MAC) (link fib.Link, ok bool) {
	if !config.IsPattern(pattern) {
		return w.Link(pattern)
	}
	for l := range w.Links {
		if config.Match(pattern, l.Interface) && Behind(l.MAC, mac) && (!ok || l.IfIndex < link.IfIndex) {
			link, ok = l, true
		}
	}
	return link, ok
}

// Behind reports whether an interface's MAC says which guest is behind it: it is the guest's,
// or has fe in its first octet and is the guest's otherwise (libvirt's taps).
func Behind(link [6]byte, mac config.MAC) bool {
	return link == mac || link[0] == 0xfe && [5]byte(link[1:]) == [5]byte(mac[1:])
}

// Of makes a world of interfaces, none twice.
func Of(links []fib.Link) World {
	byName := make(map[string]fib.Link, len(links))
	for _, l := range links {
		byName[l.Interface] = l
	}
	return World{Links: slices.Values(links), Link: func(name string) (fib.Link, bool) { l, ok := byName[name]; return l, ok }}
}

// find adds what was found to a guest.
func find(g *config.Guest, found []Finding, own owned, free func(netip.Prefix) bool) {
	n := 0
	for _, f := range found {
		switch {
		case f.Learned && !g.Discovery.Routes, !f.Learned && !g.Discovery.Neighbors, !allowed(g.Discovery, f.Prefix), has(*g, f.Prefix), own.taken(f.Prefix), free != nil && !free(f.Prefix):
			continue
		case n == g.Discovery.Maximum:
			return
		}
		n++
		add(g, f)
	}
}

func add(g *config.Guest, f Finding) {
	switch p := f.Prefix; {
	case f.Routed:
		g.Routed = append(slices.Clip(g.Routed), config.Prefix{Prefix: p})
	case p.Addr().Is4():
		g.IPv4 = append(slices.Clip(g.IPv4), config.Addr{Addr: p.Addr()})
	default:
		g.IPv6 = append(slices.Clip(g.IPv6), config.Prefix{Prefix: p})
	}
	if f.Learned {
		g.Learned = append(g.Learned, config.Prefix{Prefix: f.Prefix})
	}
}

// allowed reports whether p is inside one of the prefixes where addresses may be found.
func allowed(f config.Discovery, p netip.Prefix) bool {
	return slices.ContainsFunc(f.Within, func(w config.Prefix) bool { return w.Bits() <= p.Bits() && w.Contains(p.Addr()) })
}

// has reports whether a guest has p anyway.
func has(g config.Guest, p netip.Prefix) bool {
	return slices.ContainsFunc(append(alone(g), routed(g)...), func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
}

// alone lists the prefixes that are a guest's alone.
func alone(g config.Guest) (out []netip.Prefix) {
	for _, a := range g.IPv4 {
		out = append(out, netip.PrefixFrom(a.Addr, 32))
	}
	for _, p := range g.IPv6 {
		out = append(out, p.Masked())
	}
	return out
}

func routed(g config.Guest) (out []netip.Prefix) {
	for _, p := range g.Routed {
		out = append(out, p.Prefix)
	}
	return out
}

// owned is what the inventory gives to guests, by prefix length.
type owned map[int]map[netip.Prefix]bool

func owners(all []config.Guest) owned {
	out := owned{}
	for _, g := range all {
		for _, p := range append(alone(g), routed(g)...) {
			if out[p.Bits()] == nil {
				out[p.Bits()] = map[netip.Prefix]bool{}
			}
			out[p.Bits()][p] = true
		}
		for _, t := range g.Transparent {
			p := netip.PrefixFrom(t.Address.Addr, t.Address.BitLen())
			if out[p.Bits()] == nil {
				out[p.Bits()] = map[netip.Prefix]bool{}
			}
			out[p.Bits()][p] = true
		}
	}
	return out
}

// taken reports whether somebody has p, or a prefix that contains it.
func (o owned) taken(p netip.Prefix) bool {
	for bits, prefixes := range o {
		if q, err := p.Addr().Prefix(bits); err == nil && bits <= p.Bits() && prefixes[q] {
			return true
		}
	}
	return false
}
