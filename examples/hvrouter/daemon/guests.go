package daemon

import (
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// Guests implements [api.Backend].
func (d *Daemon) Guests() (out []api.Guest) {
	d.ask(func(r *router) { out = r.list() })
	return out
}

// list returns every guest, sorted by name: the inventory's, and those that templates made.
func (r *router) list() []api.Guest {
	out := []api.Guest{}
	for _, g := range r.guests.All() {
		_, source, _ := r.guests.Find(g.Name)
		p, here := r.served[g.Name]
		if here {
			g = p.Guest
		}
		out = append(out, api.Guest{Guest: g, Source: source.String(), Present: here, Link: p.Link.IfIndex})
	}
	for name, p := range r.served {
		if _, _, known := r.guests.Find(name); !known {
			out = append(out, api.Guest{Guest: p.Guest, Source: "interfaces", Present: true, Link: p.Link.IfIndex})
		}
	}
	for s, g := range r.guests.Refused {
		out = append(out, api.Guest{Guest: g.Guest, Source: s.String(), Refused: g.Why.Error()})
	}
	slices.SortFunc(out, func(a, b api.Guest) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// tellGuests says of each guest that came, changed or left that it did; before are those
// that were served.
func (r *router) tellGuests(left, changed []guest.Port, before map[string]guest.Port) {
	for _, p := range left {
		if _, back := r.served[p.Name]; !back {
			r.log.Info("guest detached", "event", "guest-detached", "guest", p.Name, "interface", p.Interface)
		}
	}
	for _, p := range changed {
		what := "attached"
		if old, ok := before[p.Name]; ok && old.Link.IfIndex == p.Link.IfIndex {
			what = "changed"
		}
		r.log.Info("guest "+what, "event", "guest-"+what, "guest", p.Name, "interface", p.Interface)
	}
}
