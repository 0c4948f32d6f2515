package show

import (
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// Guests shows every guest, sorted by name: those of the inventory, here or not, those that
// templates made, and those that were refused. served are the guests that are here, by name; there tells which interfaces are.
func Guests(in *guest.Inventory, served map[string]guest.Port, there func(name string) bool) []api.Guest {
	out := []api.Guest{}
	for _, g := range in.All() {
		_, source, _ := in.Find(g.Name)
		p, here := served[g.Name]
		if here {
			g = p.Guest
		}
		one := api.Guest{Guest: g, Source: source.String(), Present: here, Link: p.Link.IfIndex}
		if m, ok := in.Standing(source, g.Name); ok {
			one.Moved = m.Since
			if m.Down != nil {
				one.DownBy = "guest move"
			}
		}
		if one.DownBy == "" {
			one.DownBy = source.String()
		}
		if !g.Down {
			one.DownBy = ""
		}
		for _, p := range g.Overlays {
			if !g.Down && there(p.Interface) {
				one.On = append(one.On, p.Overlay)
			}
		}
		out = append(out, one)
	}
	for name, p := range served {
		if _, _, known := in.Find(name); !known {
			out = append(out, api.Guest{Guest: p.Guest, Source: "interfaces", Present: true, Link: p.Link.IfIndex})
		}
	}
	for s, g := range in.Refused {
		out = append(out, api.Guest{Guest: g.Guest, Source: s.String(), Refused: g.Why.Error()})
	}
	slices.SortFunc(out, func(a, b api.Guest) int { return strings.Compare(a.Name, b.Name) })
	return out
}
