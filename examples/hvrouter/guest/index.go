package guest

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// index is who has what, so that a thousand guests are not compared with each other.
type index struct {
	names    map[string]claim // "name vm1", "interface tap1", "MAC ..."
	prefixes []held           // sorted; none overlaps another
}

type claim struct {
	guest  string
	source Source
}

type held struct {
	netip.Prefix
	claim
}

// index lists what belongs to all guests.
func (in *Inventory) index() *index {
	x := &index{names: map[string]claim{}}
	for s, guests := range in.bySource {
		for name, g := range guests {
			x.add(g, claim{name, Source(s)})
		}
	}
	return x
}

// claims lists what only one guest may have, besides prefixes.
func claims(g config.Guest) []string {
	list := []string{"name " + g.Name}
	if !config.IsPattern(g.Interface) {
		list = append(list, "interface "+g.Interface)
	}
	if !g.MAC.IsZero() {
		list = append(list, "MAC "+g.MAC.String())
	}
	return list
}

func (x *index) add(g config.Guest, by claim) {
	for _, what := range claims(g) {
		x.names[what] = by
	}
	prefixes := own(g)
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range prefixes { // the widest first: what is inside one of them adds nothing
		if at, _, taken := x.overlap(p); !taken {
			x.prefixes = slices.Insert(x.prefixes, at, held{p, by})
		}
	}
}

// conflict says what g would take from another guest, and from whom.
func (x *index) conflict(g config.Guest) (what string, from claim, ok bool) {
	for _, what := range claims(g) {
		if by, ok := x.names[what]; ok {
			return what, by, true
		}
	}
	for _, p := range own(g) {
		if _, by, ok := x.overlap(p); ok {
			return p.String(), by, true
		}
	}
	return "", claim{}, false
}

// overlap tells whose prefix overlaps p, and where p would be among the others: it can
// only be one of those beside it.
func (x *index) overlap(p netip.Prefix) (at int, by claim, ok bool) {
	at, _ = slices.BinarySearchFunc(x.prefixes, p, func(h held, p netip.Prefix) int { return h.Addr().Compare(p.Addr()) })
	for _, h := range x.prefixes[max(at-1, 0):min(at+1, len(x.prefixes))] {
		if h.Overlaps(p) {
			return at, h.claim, true
		}
	}
	return at, claim{}, false
}

// own lists what belongs to a guest alone; routed prefixes may be anycast.
func own(g config.Guest) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(g.IPv4)+len(g.IPv6))
	for _, a := range g.IPv4 {
		out = append(out, netip.PrefixFrom(a.Addr, 32))
	}
	for _, p := range g.IPv6 {
		out = append(out, p.Masked())
	}
	return out
}
