package daemon

import (
	"maps"
	"reflect"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
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
	here := r.guests.Present(r.links.exists)
	next := domain.NewStatic(r.cfg, here)
	ports := r.ports(here)
	left := r.left(ports)
	changed := r.arrive(ports)
	r.setSysctls(next.Sysctls)
	drop := r.setAddresses(next.Addresses)
	r.setScaffold(next.Scaffold)
	r.setRules(next.Rules)
	r.static = next
	r.answerFor(here)
	for _, name := range r.order {
		g := r.domains[name]
		g.rib.SetLocals(next.Locals[name], &r.fx)
		r.apply(g, &r.fx)
	}
	for _, old := range left {
		r.leave(old, ports)
	}
	for _, a := range drop {
		r.kernel.DeleteAddress(a)
	}
	for _, p := range changed {
		r.edge.Serve(r.cfg, p)
	}
	if len(left)+len(changed) > 0 {
		r.log.Info("guests", "event", "guests", "present", len(ports), "changed", len(changed), "left", len(left))
	}
	if r.neighbours {
		r.neighbours = false
		for _, d := range r.cfg.Domains {
			r.domains[d.Name].bgp.Configure(r.cfg, d)
		}
	}
	r.applyWall()
	r.overlays()
}

func (r *router) ports(here []config.Guest) map[string]guest.Port {
	ports := make(map[string]guest.Port, len(here))
	for _, g := range here {
		link, _ := r.links.byName(g.Interface)
		ports[g.Name] = guest.Port{Guest: g, Link: link}
	}
	return ports
}

// left gives the guests that are not there any more, or whose name stands on
// another interface now.
func (r *router) left(now map[string]guest.Port) (left []guest.Port) {
	for _, name := range slices.Sorted(maps.Keys(r.served)) {
		if p, ok := now[name]; !ok || p.Link.Index != r.served[name].Link.Index {
			left = append(left, r.served[name])
			delete(r.served, name)
		}
	}
	return left
}

// leave says goodbye. If the guest is back on another interface, its routes have
// not changed but for that, and are set again.
func (r *router) leave(old guest.Port, now map[string]guest.Port) {
	if _, ok := now[old.Name]; ok {
		r.reset(old.Interface)
	}
	_, there := r.links.byIndex[old.Link.Index]
	r.edge.Leave(old, !there)
}

// arrive prepares the interfaces of guests that came or changed, and gives them in
// the order of their names.
func (r *router) arrive(now map[string]guest.Port) (changed []guest.Port) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		p := now[name]
		if old, ok := r.served[name]; ok && p.Link.AdminUp && old.Link.MAC == p.Link.MAC && reflect.DeepEqual(old.Guest, p.Guest) {
			continue
		}
		r.edge.Arrive(r.cfg, p)
		p.Link.AdminUp = true
		r.served[name] = p
		changed = append(changed, p)
	}
	return changed
}

func (r *router) setSysctls(want map[string]string) {
	for path, value := range want {
		if r.static.Sysctls[path] != value {
			r.report("sysctl", r.kernel.SetSysctl(fib.Sysctl{Path: path, Value: value}))
		}
	}
	for path := range r.static.Sysctls {
		if _, ok := want[path]; !ok {
			r.kernel.DeleteSysctl(path)
		}
	}
}

// setAddresses sets what is wanted and gives what is to be deleted afterwards.
func (r *router) setAddresses(want []domain.Address) (drop []fib.Address) {
	next := make(map[domain.Address]fib.Address, len(want))
	for _, a := range want {
		if out, ok := r.links.index.Address(a); ok {
			next[a] = out
		}
	}
	for a, old := range r.addresses {
		if next[a] != old {
			drop = append(drop, old)
		}
	}
	for a, out := range next {
		if r.addresses[a] != out {
			r.report("address", r.kernel.SetAddress(out))
		}
	}
	r.addresses = next
	return drop
}

func (r *router) setScaffold(want []domain.Route) {
	next := make(map[domain.Key]domain.Route, len(want))
	for _, route := range want {
		next[route.Key] = route
		if old, ok := r.scaffold[route.Key]; !ok || !old.Equal(route) {
			r.setRoute(route)
		}
	}
	for k := range r.scaffold {
		if _, ok := next[k]; !ok {
			r.kernel.DeleteRoute(peering.Key(k))
		}
	}
	r.scaffold = next
}

func (r *router) setRules(want []domain.Rule) {
	next := make(map[fib.Rule]bool, len(want))
	for _, rule := range want {
		out := peering.Rule(rule)
		next[out] = true
		if !r.rules[out] {
			r.report("rule", r.kernel.SetRule(out))
		}
	}
	for rule := range r.rules {
		if !next[rule] {
			r.kernel.DeleteRule(rule)
		}
	}
	if len(r.rules) == 0 {
		for _, rule := range peering.KernelRules() {
			if !next[rule] {
				r.report("rule", r.kernel.BanRule(rule))
			}
		}
	}
	r.rules = next
}

func (r *router) report(what string, err error) {
	if err != nil {
		r.log.Error(what+" refused", "event", what+"-refused", "err", err)
	}
}
