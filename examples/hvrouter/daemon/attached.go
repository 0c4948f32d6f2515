package daemon

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// attached are the guests that are here and served, by name.
type attached struct {
	ports  map[string]guest.Port
	common common // what they have in common, as they were served last
}

// common is what all guests are told and answered by, besides what is their own.
type common struct {
	edge        config.Edge
	firewallOff bool            // the kernel hears, and answers, what the firewall would leave to us
	loopback    config.Loopback // that a DHCP relay sends from
}

func commonOf(c *config.Config) common { return common{c.Edge, c.Firewall.Off, c.Loopback} }

// byLink returns the guest behind an interface, the first by name if there are several for
// a moment.
func (a *attached) byLink(ifindex int) (first guest.Port, ok bool) {
	for _, p := range a.ports {
		if p.Link.IfIndex == ifindex && (!ok || p.Name < first.Name) {
			first, ok = p, true
		}
	}
	return first, ok
}

// sorted returns the guests in the order of their names.
func (a *attached) sorted() (list []guest.Port) {
	for _, name := range slices.Sorted(maps.Keys(a.ports)) {
		list = append(list, a.ports[name])
	}
	return list
}

// left removes and returns the guests that are not among those of now, or whose name stands on
// another interface there.
func (a *attached) left(now map[string]guest.Port) (left []guest.Port) {
	for _, name := range slices.Sorted(maps.Keys(a.ports)) {
		if p, ok := now[name]; !ok || p.Link.IfIndex != a.ports[name].Link.IfIndex {
			left = append(left, a.ports[name])
			delete(a.ports, name)
		}
	}
	return left
}

// changed returns the guests of now that came or changed, in the order of their names: all, if
// what they have in common has. They count as served from then on.
func (a *attached) changed(now map[string]guest.Port, c *config.Config) (changed []arrival) {
	common := commonOf(c)
	same := reflect.DeepEqual(a.common, common)
	a.common = common
	for _, name := range slices.Sorted(maps.Keys(now)) {
		p := now[name]
		old, known := a.ports[name]
		if known && same && p.Link.AdminUp && old.Link.MAC == p.Link.MAC && reflect.DeepEqual(old.Guest, p.Guest) {
			continue
		}
		changed = append(changed, arrival{p, known})
		p.Link.AdminUp = true
		if a.ports == nil {
			a.ports = map[string]guest.Port{}
		}
		a.ports[name] = p
	}
	return changed
}

// arrival is a guest that came, or changed.
type arrival struct {
	guest.Port
	known bool // it was here before
}

// logGuests logs of each guest that came, changed or left that it did; before are those that were
// served.
func (a *attached) logGuests(log *slog.Logger, left []guest.Port, changed []arrival, before map[string]guest.Port) {
	for _, p := range left {
		if _, back := a.ports[p.Name]; !back {
			log.Info("guest detached", "event", "guest-detached", "guest", p.Name, "interface", p.Interface)
		}
	}
	for _, p := range changed {
		what := "attached"
		if old, ok := before[p.Name]; ok && old.Link.IfIndex == p.Link.IfIndex {
			what = "changed"
		}
		log.Info("guest "+what, "event", "guest-"+what, "guest", p.Name, "interface", p.Interface)
	}
	log.Info("guests", "event", "guests", "present", len(a.ports), "changed", len(changed), "left", len(left))
}
