package daemon

import (
	"maps"
	"reflect"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// refresh computes what follows from configuration, guests and links, and brings
// everything that differs from before in line. It is called once after a batch of
// events, however many guests came with it.
//
// Arrivals go from the kernel outwards, departures the other way round: withdrawn
// first, then the kernel's routes, then what the guest itself sees.
func (r *router) refresh() {
	r.dirty = false
	here := r.present()
	ports, old := r.ports(here), maps.Clone(r.served)
	left := r.left(ports)
	for _, p := range r.namespaces {
		p.Enslave(r.guestsIn(p, here))
	}
	changed := r.arrive(ports)
	r.started = true
	guests, drop := make([]netns.Guests, len(r.namespaces)), make([][]fib.Address, len(r.namespaces))
	for i, p := range r.namespaces {
		guests[i] = r.guestsOf(p, here)
		p.DecideTrust(r.guests.All())
		drop[i] = p.Apply(guests[i])
	}
	for i, p := range r.namespaces { // before the routes: what comes from a guest has its mark by then
		p.ApplyFirewall(guests[i])
	}
	r.answerFor(here)
	for _, name := range r.order {
		g := r.domains[name]
		g.rib.SetLocals(g.namespace.Locals(name), &r.fx)
		r.apply(g, &r.fx)
	}
	r.leave(left, ports)
	for i, p := range r.namespaces {
		p.DeleteAddresses(drop[i])
	}
	if len(changed) > 0 {
		r.edge.Serve(r.cfg, changed...)
	}
	if len(left)+len(changed) > 0 {
		r.tellGuests(left, changed, old)
		r.log.Info("guests", "event", "guests", "present", len(ports), "changed", len(changed), "left", len(left))
	}
	if r.neighbours {
		r.neighbours = false
		for _, d := range r.cfg.Domains {
			r.domains[d.Name].bgp.Configure(r.cfg, d)
		}
	}
	r.overlays()
}

// guestsIn returns the guests that live in a namespace: all of them at home, none
// elsewhere.
func (r *router) guestsIn(p *netns.Namespace, guests []config.Guest) []config.Guest {
	if p == r.home() {
		return guests
	}
	return nil
}

// guestsOf returns the same with what is known of them besides.
func (r *router) guestsOf(p *netns.Namespace, here []config.Guest) netns.Guests {
	list := r.guestsIn(p, here)
	return netns.Guests{List: list, Heard: r.heardBy(p, list), Found: r.findings.routesByLink()}
}

func (r *router) ports(here []config.Guest) map[string]guest.Port {
	ports := make(map[string]guest.Port, len(here))
	presumed := r.findings.presumed()
	for _, g := range here {
		link, _ := r.home().Links().ByName(g.Interface)
		ports[g.Name] = guest.Port{Guest: g, Link: link, Seeded: presumed[link.IfIndex], Heard: r.heard[link.IfIndex].list()}
	}
	return ports
}

// left returns the guests that are not there any more, or whose name stands on
// another interface now.
func (r *router) left(now map[string]guest.Port) (left []guest.Port) {
	for _, name := range slices.Sorted(maps.Keys(r.served)) {
		if p, ok := now[name]; !ok || p.Link.IfIndex != r.served[name].Link.IfIndex {
			old := r.served[name]
			left = append(left, old)
			r.home().Detach(old.Link.IfIndex) // unless it is gone: see findDetached
			delete(r.heard, old.Link.IfIndex)
			delete(r.served, name)
		}
	}
	return left
}

// leave ends what is done for guests that left. If one is back on another interface, its
// routes have not changed but for that, and are set again. An interface that has
// another guest now, because it was renamed or a guest of the inventory claims it, is
// served anew, and what was found behind it stays.
func (r *router) leave(left []guest.Port, now map[string]guest.Port) {
	served := make(map[int]bool, len(now))
	for _, p := range now {
		served[p.Link.IfIndex] = true
	}
	for _, old := range left {
		if _, ok := now[old.Name]; ok {
			r.reset(r.home(), old.Interface)
		}
		if !served[old.Link.IfIndex] {
			_, there := r.home().Links().Get(old.Link.IfIndex)
			r.edge.Leave(old, !there)
		}
	}
}

// arrive prepares the interfaces of guests that came or changed (all, if what they have
// in common has), and gives them in the order of their names.
func (r *router) arrive(now map[string]guest.Port) (changed []guest.Port) {
	same := reflect.DeepEqual(r.servedAs, r.cfg.Edge)
	r.servedAs = r.cfg.Edge
	for _, name := range slices.Sorted(maps.Keys(now)) {
		p := now[name]
		if old, ok := r.served[name]; ok && same && p.Link.AdminUp && old.Link.MAC == p.Link.MAC && reflect.DeepEqual(old.Guest, p.Guest) {
			continue
		}
		r.edge.Arrive(r.cfg, p)
		if _, known := r.served[name]; !known && r.started { // others, the kernel knows
			r.probe(p)
		}
		p.Link.AdminUp = true
		r.served[name] = p
		changed = append(changed, p)
	}
	return changed
}
