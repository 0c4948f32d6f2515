package daemon

import (
	"maps"
	"reflect"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
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
		p.enslave(r.guestsIn(p, here))
	}
	changed := r.arrive(ports)
	r.started = true
	drop := map[*namespace][]fib.Address{}
	for _, p := range r.namespaces {
		r.tellTrust(p)
		drop[p] = p.apply(domain.NewStatic(p.cfg, r.guestsIn(p, here), r.linksOf(p, here)))
	}
	r.applyFirewalls(here) // first: what comes from a guest has its mark before there are routes
	r.answerFor(here)
	for _, name := range r.order {
		g := r.domains[name]
		g.rib.SetLocals(g.namespace.static.Locals[name], &r.fx)
		r.apply(g, &r.fx)
	}
	r.leave(left, ports)
	for _, p := range r.namespaces {
		for _, a := range drop[p] {
			p.kernel.DeleteAddress(a)
		}
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
func (r *router) guestsIn(p *namespace, guests []config.Guest) []config.Guest {
	if p == r.home() {
		return guests
	}
	return nil
}

func (r *router) ports(here []config.Guest) map[string]guest.Port {
	ports := make(map[string]guest.Port, len(here))
	presumed := r.findings.presumed()
	for _, g := range here {
		link, _ := r.home().links.byName(g.Interface)
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
			r.home().detached[old.Link.IfIndex] = true // unless it is gone: see findDetached
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
			_, there := r.home().links.byIndex[old.Link.IfIndex]
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
