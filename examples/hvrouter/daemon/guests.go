package daemon

import (
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

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
