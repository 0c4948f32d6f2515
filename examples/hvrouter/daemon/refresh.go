package daemon

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// refresh computes what follows from configuration, guests and links, and brings everything that
// differs from before in line. It is called once after a batch of events, however many guests
// came with it.
//
// Arrivals go from the kernel outwards, departures the other way round: withdrawn first, then the
// kernel's routes, then what the guest itself sees.
func (r *router) refresh() {
	r.dirty = false
	here := r.present()
	ports, before := r.ports(here), maps.Clone(r.attached.ports)
	left := r.attached.left(ports)
	for _, old := range left {
		r.home().Detach(old.Link.IfIndex)
		r.askers.Drop(old.Link.IfIndex)
	}
	for _, p := range r.namespaces {
		p.Enslave(r.guestsIn(p, here))
	}
	changed := r.attached.changed(ports, r.cfg)
	r.arrive(changed)
	drop := r.applyNamespaces(here)
	r.stations()
	r.overlays() // before our End-of-RIB, which waits for started: what EVPN announces is there then
	r.started = true
	r.targets.answerFor(here, r.guestDomain())
	for g := range r.all {
		g.rib.SetLocals(g.namespace.Locals(g.name), &r.fx)
		r.apply(g, &r.fx)
	}
	r.leave(left, ports)
	for i, p := range r.namespaces {
		p.DeleteAddresses(drop[i])
	}
	r.serve(changed)
	if len(left)+len(changed) > 0 {
		r.attached.logGuests(r.log, left, changed, before)
	}
	if r.linkLocals {
		r.linkLocals = false
		r.configureSessions()
	}
}

// present returns the guests that are here, with everything that was found for them.
func (r *router) present() []config.Guest {
	l := r.home().Links()
	return guest.Expand(r.cfg, r.guests.All(), guest.World{Links: l.All, Link: l.ByName, Findings: r.findings.ByLink(), Free: r.guests.Free})
}

// ports returns guests with their interfaces, by name.
func (r *router) ports(here []config.Guest) map[string]guest.Port {
	ports := make(map[string]guest.Port, len(here))
	seeded := r.findings.Seeded()
	for _, g := range here {
		link, _ := r.home().Links().ByName(g.Interface)
		ports[g.Name] = guest.Port{Guest: g, Link: link, Seeded: seeded[link.IfIndex], Heard: r.askers.Of(link.IfIndex)}
	}
	return ports
}

// guestsIn returns the guests that live in a namespace: all of them at home, none elsewhere.
func (r *router) guestsIn(p *netns.Namespace, guests []config.Guest) []config.Guest {
	if p == r.home() {
		return guests
	}
	return nil
}

// guestsOf returns the guests that live in a namespace, with what was found of them.
func (r *router) guestsOf(p *netns.Namespace, here []config.Guest) netns.Guests {
	return r.guestsFound(p, r.guestsIn(p, here))
}

// guestsFound returns guests of a namespace with what was found of them.
func (r *router) guestsFound(p *netns.Namespace, list []config.Guest) netns.Guests {
	heard := map[string][]netip.Addr{}
	for _, g := range list {
		if link, ok := p.Links().ByName(g.Interface); ok && len(r.askers.Of(link.IfIndex)) > 0 {
			heard[g.Interface] = r.askers.Of(link.IfIndex)
		}
	}
	return netns.Guests{List: list, Heard: heard, Found: r.findings.Routes(), Stations: r.hereOnOverlays(r.cfg)}
}

// applyNamespaces brings every namespace in line, the firewalls before there are routes to guests, and gateways of
// overlays: what comes from a guest has its mark by then. It returns the addresses that are to go once the
// routes have.
func (r *router) applyNamespaces(here []config.Guest) (drop [][]fib.Address) {
	for _, p := range r.namespaces {
		guests := r.guestsOf(p, here)
		p.DecideTrust(r.guests.All())
		p.ApplyFirewall(guests)
		drop = append(drop, p.Apply(guests))
	}
	return drop
}

// openGateways brings the gateways that have waited for a firewall, if the kernel has taken it meanwhile.
func (r *router) openGateways() {
	if slices.ContainsFunc(r.namespaces, (*netns.Namespace).Opens) {
		r.refresh()
	}
}

// arrive prepares the interfaces of guests that came or changed.
func (r *router) arrive(changed []arrival) {
	for _, p := range changed {
		r.edge.Arrive(r.cfg, p.Port)
		if !p.known && r.started { // of others the kernel knows
			r.probe(p.Port)
		}
	}
}

// serve has the edge serve guests that came or changed.
func (r *router) serve(changed []arrival) {
	ports := make([]guest.Port, len(changed))
	for i, p := range changed {
		ports[i] = r.attached.ports[p.Name]
	}
	if len(ports) > 0 {
		r.edge.Serve(r.cfg, ports...)
	}
}

// leave ends what is done for guests that left. If one is back on another interface, its routes
// have not changed but for that, and are set again. An interface that has another guest now,
// because it was renamed or a guest of the inventory claims it, is served anew, and what was
// found behind it stays.
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

// configureSessions brings the sessions of every domain in line with the configuration.
func (r *router) configureSessions() {
	for g := range r.all {
		g.bgp.Configure(r.cfg, *r.cfg.Domain(g.name))
	}
}

// probe tells the kernel the MAC of a guest that has just come, or whose carrier has. The kernel
// would find out by itself; but if its first question is lost, as it is while a virtual machine is
// on its way here, the second follows a second later. Permanent neighbours need none.
func (r *router) probe(p guest.Port) {
	if domain.Permanent(p.Guest) || p.MAC.IsZero() {
		return
	}
	for _, a := range domain.GuestNeighbours(p.Guest) {
		r.home().Kernel().Probe(p.Link.IfIndex, a, p.MAC)
	}
}
