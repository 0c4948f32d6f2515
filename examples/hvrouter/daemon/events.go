package daemon

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
)

// observe takes the kernel's events of one namespace and passes on what BFD needs of them; the
// caller refreshes if dirty is set afterwards.
func (r *router) observe(p *netns.Namespace, events []fib.Event) {
	for _, e := range events {
		switch e.Kind {
		case fib.EventLink:
			r.failover.Link(p.NetNS().Path(), e.Link, false)
		case fib.EventLinkGone:
			r.failover.Link(p.NetNS().Path(), e.Link, true)
		}
	}
	r.onKernel(p, events)
}

// onEvents takes the kernel's events of one namespace, and brings everything in line.
func (r *router) onEvents(p *netns.Namespace, events []fib.Event) {
	r.observe(p, p.Complete(events))
	if r.dirty {
		r.refresh()
		r.findNeighbors()
	}
}

// onKernel takes the kernel's events of one namespace; the caller refreshes if dirty is set
// afterwards.
func (r *router) onKernel(p *netns.Namespace, events []fib.Event) {
	addresses := false
	for _, e := range events {
		addresses = addresses || e.Kind == fib.EventAddress || e.Kind == fib.EventLinkGone
		switch e.Kind {
		case fib.EventLink:
			r.onLink(p, e.Link)
		case fib.EventLinkGone:
			p.DeleteLink(e.Link.IfIndex)
			r.dirty = true
		case fib.EventAddress:
			p.SetAddress(e)
			r.onAddress(p, e)
		case fib.EventNextHops:
			r.failover.Refresh()
		case fib.EventError:
			p.Log().Warn("kernel refused", "event", "kernel-error", "err", e.Err)
		case fib.EventRepair, fib.EventContended:
			p.Repaired(e, r.now())
		case fib.EventDifference:
			p.Differed(e, r.now())
		case fib.EventResync, fib.EventLost:
			p.Log().Info("kernel read anew", "event", "resync", "lost", e.Count)
		}
	}
	if a := p.Part().Loopback.Address.Addr(); addresses && a.IsValid() {
		r.onLoopback(p, a)
	}
}

// onLoopback takes whether the address is there that announcements need.
func (r *router) onLoopback(p *netns.Namespace, a netip.Addr) {
	for g := range r.all {
		if g.namespace == p {
			r.announcements.address(g, a, p.HasAddress(a))
		}
	}
}

// onAddress notes what depends on an address that came or went: what an uplink's sessions announce
// to their peers, which prefixes are on-link, which interfaces are the host's own.
func (r *router) onAddress(p *netns.Namespace, e fib.Event) {
	name, ok := p.Links().Name(e.Link.IfIndex)
	uplink := ok && p.IsUplink(name)
	if uplink && e.Addr.Addr().IsLinkLocalUnicast() {
		r.linkLocals = true
	}
	// Ours on guests' interfaces are of link scope: a thousand of them change nothing.
	r.dirty = r.dirty || uplink || e.Scope <= fib.ScopeUniverse
}

func (r *router) onLink(p *netns.Namespace, link fib.Link) {
	change := p.SetLink(link)
	if change.Appeared {
		r.dirty = true
		if p.IsUplink(link.Interface) {
			r.linkLocals = true // its addresses may have come before its name
			r.reset(p, link.Interface)
		}
		for g := range r.all { // routes that waited for the interface
			if g.namespace != p {
				continue
			}
			if waiting := g.waiting.Take(link.IfIndex); len(waiting) > 0 {
				r.learn(g, waiting)
			}
		}
		return
	}
	r.dirty = r.dirty || change.Different
	if p == r.home() && change.CameUp {
		r.onCarrier(link.IfIndex)
	}
}

// onCarrier sends the guest behind a link that has just got its carrier what it may have missed.
func (r *router) onCarrier(ifindex int) {
	if p, ok := r.attached.byLink(ifindex); ok {
		r.probe(p)
		r.edge.Reannounce(r.cfg, p)
	}
}

// onRoutes takes how routes of a namespace stand in the kernel.
func (r *router) onRoutes(p *netns.Namespace, changes []fib.RouteChange) {
	changes = slices.DeleteFunc(changes, func(c fib.RouteChange) bool { return c.Synced })
	for g := range r.all {
		if g.namespace != p {
			continue
		}
		for i := range changes {
			r.announcements.route(g, &changes[i])
		}
		r.announcements.flush(g)
	}
}

// learn takes foreign routes of one domain's table; the caller refreshes if dirty is set
// afterwards.
func (r *router) learn(g *routing, changes []fib.LearnChange) {
	for _, c := range changes {
		r.onGuestRoute(g, c)
		if c.Gone {
			g.waiting.Drop(c)
			g.rib.DropLearned(c.Prefix, c.Metric, &r.fx)
			continue
		}
		if l, ok := peering.Learned(c.Learned, g.namespace.Links().Name); ok {
			g.waiting.Drop(c)
			g.rib.SetLearned(c.Prefix, l, &r.fx)
		} else {
			g.waiting.Add(c)
		}
	}
	r.apply(g, &r.fx)
	if g == r.guestDomain() {
		for _, c := range changes {
			r.targets.changed(g, c.Prefix)
		}
	}
}

// onGuestRoute notes a foreign route of the guests' table that leads over one interface, other
// than an uplink.
func (r *router) onGuestRoute(g *routing, c fib.LearnChange) {
	if g != r.guestDomain() || g.namespace != r.home() {
		return
	}
	before, now := r.findings.Route(c, func(ifindex int) bool {
		name, known := g.namespace.Links().Name(ifindex)
		return known && g.namespace.IsUplink(name)
	})
	r.dirty = r.dirty || r.serves(before) || r.serves(now)
}

// serves reports whether there is a guest behind an interface, or may be one of a template.
func (r *router) serves(ifindex int) bool {
	if ifindex == 0 {
		return false
	}
	name, _ := r.home().Links().Name(ifindex)
	_, here := r.attached.byLink(ifindex)
	return here || r.cfg.Template(name) != nil
}

// onLearned takes foreign routes of one domain's table.
func (r *router) onLearned(g *routing, changes []fib.LearnChange) {
	isSynced := func(c fib.LearnChange) bool { return c.Synced } // those are known that were there
	synced := slices.ContainsFunc(changes, isSynced)
	r.learn(g, slices.DeleteFunc(changes, isSynced))
	if r.dirty {
		r.refresh() // guests have other addresses, found by these routes
	}
	if synced && !g.learned {
		g.learned = true
		r.announcements.complete(g)
		r.sweep()
	}
}

// onPaths takes what BGP has for prefixes of one domain.
func (r *router) onPaths(g *routing, u sessions.Update) {
	for _, c := range u.Sets {
		before := g.offLink[c.Prefix]
		hops, offLink := g.gateways(c)
		if offLink > 0 && offLink != before { // paths come again when they become stale, or when a next hop dies
			r.offLink += uint64(max(0, offLink-before))
			r.log.Warn("next hop not on-link", "event", "next-hop-not-on-link", "domain", g.name, "prefix", c.Prefix, "count", offLink)
		}
		g.rib.SetBGP(c.Prefix, hops, c.Alternative, &r.fx)
		r.vteps.note(g.name, c.Prefix, g.rib.HasBGP(c.Prefix))
	}
	r.apply(g, &r.fx)
	if u.Converged && !g.converged {
		g.converged = true
		attrs := []any{"event", "converged", "domain", g.name, "prefixes", g.rib.Len()}
		if len(u.Without) > 0 {
			attrs = append(attrs, "without", u.Without)
		}
		r.log.Info("domain converged", attrs...)
		r.sweep()
	}
	if r.vteps.changed {
		r.overlays()
	}
}

// onDead takes which next hops of a domain are dead, and returns its prefixes, whose paths come
// once more.
func (r *router) onDead(g *routing, dead failover.Dead) []netip.Prefix {
	g.dead = dead
	return slices.Collect(g.rib.Prefixes)
}

// onSightings takes what was seen of addresses that guests send from.
func (r *router) onSightings(list []eg.Sighting) {
	for _, s := range list {
		log, changed := r.findings.Sighting(s, r.now())
		r.dirty = r.dirty || changed
		if log {
			name, _ := r.home().Links().Name(s.IfIndex)
			r.log.Info("neighbour "+s.Kind.String(), "event", "neighbour-"+s.Kind.String(), "address", s.IP, "interface", name, "mac", s.MAC, "was", s.OldMAC)
		}
	}
	if r.dirty {
		r.refresh()
	}
}

// onAskers takes addresses that asked for the gateway and that the kernel does not know. Those that
// are taken become its neighbours, and are left to it from then on.
func (r *router) onAskers(list []ndp.Sender) {
	changed := map[int]bool{}
	for _, s := range list {
		p, ok := r.attached.byLink(s.IfIndex)
		if ok && domain.Permanent(p.Guest) && !r.cfg.Firewall.Off && r.askers.Add(s.IfIndex, s.Addr, r.now()) {
			changed[s.IfIndex] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	r.refresh()
	for _, ifindex := range slices.Sorted(maps.Keys(changed)) {
		if p, ok := r.attached.byLink(ifindex); ok {
			p.Heard = r.askers.Of(ifindex)
			r.edge.Known(p)
		}
	}
}

// adoptEarlierRun takes over what an earlier run has left in the kernel: the routes that guests
// are answered for, the VTEPs of overlays, and the addresses that guests were found to have.
func (r *router) adoptEarlierRun() {
	if home := r.home(); home.Continues() {
		r.targets.leftover = home.Kernel().Routes()
	}
	r.adoptFound(r.home().Kernel().Routes())
	for _, n := range r.namespaces {
		r.vteps.adopt(n.Kernel().Routes())
	}
}

// adoptFound takes over addresses that guests were found to have by an earlier run: their host
// routes are in the kernel still, over an interface whose guest finds addresses. They stay, and
// are asked for.
func (r *router) adoptFound(routes iter.Seq[fib.RouteStatus]) {
	d := r.cfg.GuestDomain()
	if d == nil {
		return
	}
	discovers := map[int]bool{}
	for _, g := range r.present() {
		if l, ok := r.home().Links().ByName(g.Interface); ok && g.Discovery.Neighbors {
			discovers[l.IfIndex] = true
		}
	}
	if len(discovers) == 0 {
		return
	}
	var found []fib.RouteStatus
	for s := range routes {
		host := s.State == fib.StateStale && s.Table == d.Table.ID && s.Prefix.IsSingleIP() && len(s.NextHops) == 1 && !s.NextHops[0].Gateway.IsValid()
		if host && discovers[s.NextHops[0].IfIndex] {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b fib.RouteStatus) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	for _, s := range found {
		r.findings.Seed(s.Prefix.Addr(), s.NextHops[0].IfIndex, r.now())
	}
}

// handOverARP ends answering ARP before the kernel begins, if that is what is to come: no question
// has two answers. (The other way round, Serve ends the kernel's, and the responder leaves what came before.)
func (r *router) handOverARP(next config.Edge) {
	if r.cfg.Edge.ARP == "responder" && next.ARP != "responder" {
		for _, p := range r.attached.sorted() {
			r.edge.Silence(p)
		}
	}
}

// reload makes another configuration the one that counts; changes are what it does.
func (r *router) reload(c *config.Config, h config.Host, changes []api.Change) {
	for _, change := range changes {
		r.log.Info("reload changes", "event", "reload-change", "change", change.Text)
	}
	r.handOverARP(c.Edge)
	r.removeDomains(c)
	r.use(c)
	r.logRefused(admit(&r.guests, c, h))
	r.refresh()
	r.findNeighbors()
	r.reloaded = r.now()
	r.log.Info("reloaded", "event", "reloaded")
}

// use makes a configuration the one that counts, for everything but guests; the caller refreshes.
func (r *router) use(c *config.Config) {
	r.adopt(c)
	r.beginDomains()
	for g := range r.all {
		d := *c.Domain(g.name)
		g.configure(d)
		g.rib.SetView(g.view(), &r.fx)
		r.apply(g, &r.fx)
		g.bgp.Configure(c, d)
	}
	r.failover.Configure(c)
}
