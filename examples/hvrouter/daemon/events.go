package daemon

import (
	"context"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// take takes what the kernel's monitor says of one namespace; the caller refreshes if
// dirty is set afterwards.
func (r *router) take(p *netns.Namespace, events []fib.Event) {
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
		case fib.EventRepair:
			p.Log().Warn("repaired a foreign change", "event", "repair", "op", e.Op, "key", e.Key)
		case fib.EventResync, fib.EventLost:
			p.Log().Info("kernel read anew", "event", e.Kind.String(), "lost", e.Count)
		}
	}
	if addresses {
		r.checkAddresses(p)
	}
}

// checkAddresses looks again whether the addresses are there that announcements need.
func (r *router) checkAddresses(p *netns.Namespace) {
	a := p.Part().Loopback.Address.Addr()
	if !a.IsValid() {
		return
	}
	for _, g := range r.domains {
		if g.namespace == p {
			g.exports.Address(a, p.HasAddress(a), r.now(), &r.out)
			r.export(g)
		}
	}
}

// onAddress notes what depends on an address that came or went: what an uplink's sessions
// tell their peers, which prefixes are on-link, which interfaces are the host's own.
func (r *router) onAddress(p *netns.Namespace, e fib.Event) {
	name, ok := p.Links().Name(e.Link.IfIndex)
	uplink := ok && p.IsUplink(name)
	if uplink && e.Addr.Addr().IsLinkLocalUnicast() {
		r.neighbours = true
	}
	// Ours on guests' interfaces are of link scope: a thousand of them are no news.
	r.dirty = r.dirty || uplink || e.Scope <= fib.ScopeUniverse
}

func (r *router) onLink(p *netns.Namespace, link fib.Link) {
	change := p.SetLink(link)
	if change.Appeared {
		r.dirty = true
		if p.IsUplink(link.Interface) {
			r.neighbours = true // its addresses may have come before its name
			r.reset(p, link.Interface)
		}
		r.learnWaiting(p, link.IfIndex)
		return
	}
	r.dirty = r.dirty || change.Different
	if p == r.home() && change.CameUp {
		r.greet(link.IfIndex)
	}
}

// greet tells the guest behind a link that has just got its carrier what it may have
// missed.
func (r *router) greet(index int) {
	for _, p := range r.served {
		if p.Link.IfIndex == index {
			r.probe(p)
			r.edge.Reannounce(r.cfg, p)
		}
	}
}

// learn takes foreign routes of one domain's table; the caller refreshes if dirty is set
// afterwards.
func (r *router) learn(g *routing, changes []fib.LearnChange) {
	for _, c := range changes {
		r.routeOverGuest(g, c)
		if c.Gone {
			g.unplaced.drop(c)
			g.rib.DropLearned(c.Prefix, c.Metric, &r.fx)
			continue
		}
		if l, ok := peering.Learned(c.Learned, g.namespace.Links().Name); ok {
			g.unplaced.drop(c)
			g.rib.SetLearned(c.Prefix, l, &r.fx)
		} else {
			g.unplaced.keep(c)
		}
	}
	r.apply(g, &r.fx)
	for _, c := range changes {
		if r.answers(g) && r.answering.wants(c.Prefix) {
			r.target(g, c.Prefix)
		}
	}
}

// onLearned takes foreign routes of one domain's table; synced tells that those are known
// which were there.
func (r *router) onLearned(g *routing, changes []fib.LearnChange, synced bool) {
	r.learn(g, changes)
	if r.dirty {
		r.refresh() // guests have other addresses, found by these routes
	}
	if synced && !g.learned {
		g.learned = true
		r.completeInventory(g)
		r.sweep()
	}
}

// Paths implements [sessions.Sink].
func (d *Daemon) Paths(ctx context.Context, domain string, u sessions.Update) {
	d.loop.do(ctx, func() { d.router.onPaths(d.router.domains[domain], u) })
}

// Dead implements [sessions.Sink].
func (d *Daemon) Dead(ctx context.Context, domain string, dead failover.Dead) (prefixes []netip.Prefix) {
	d.loop.do(ctx, func() {
		g := d.router.domains[domain]
		g.dead = dead
		prefixes = slices.Collect(g.rib.Prefixes)
	})
	return prefixes
}

// onPaths takes what BGP has for prefixes of one domain.
func (r *router) onPaths(g *routing, u sessions.Update) {
	for _, c := range u.Sets {
		g.rib.SetBGP(c.Prefix, r.gateways(g, c), &r.fx)
		r.noteVTEP(g, c.Prefix)
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
	if r.floods {
		r.overlays()
	}
}

// gateways makes next hops of paths. One that is on no link of the domain is left
// out and counted (R22): a packet to it would take a detour that nobody watches.
func (r *router) gateways(g *routing, c sessions.PathSet) []domain.NextHop {
	scratch := g.hops.scratch[:0]
	refused := 0
	for _, p := range c.Paths {
		link, ok := g.namespace.Links().Reach(g.uplinks, g.peers[p.Peer], p.NextHop)
		if !ok {
			refused++
			continue
		}
		scratch = append(scratch, domain.NextHop{Gateway: p.NextHop, Link: link})
	}
	scratch = g.withoutDead(scratch)
	g.hops.scratch = scratch
	if refused > 0 {
		g.refused[c.Prefix] = refused
		r.notOnLink += uint64(refused)
		r.log.Warn("next hop not on-link", "event", "next-hop-not-on-link", "domain", g.name, "prefix", c.Prefix, "count", refused)
	} else if len(g.refused) > 0 {
		delete(g.refused, c.Prefix)
	}
	return g.hops.share(scratch)
}

// sweep removes what an earlier run left over in a namespace, once, when every domain
// of it is there.
func (r *router) sweep() {
	all := true
	for _, p := range r.namespaces {
		if !p.Swept() && r.complete(p) {
			p.Sweep()
			if d := r.cfg.GuestDomain(); d != nil && p == r.home() {
				r.disinherit(r.domains[d.Name])
			}
			p.Log().Info("swept", "event", "swept")
		}
		all = all && p.Swept()
	}
	if all && !r.converged {
		r.disownVTEPs()
	}
	r.converged = all
}

// complete reports whether everything is known that the domains of a namespace will have
// to begin with.
func (r *router) complete(p *netns.Namespace) bool {
	if r.unread != (unread{}) {
		return false
	}
	for _, g := range r.domains {
		if g.namespace == p && (!g.converged || !g.learned) {
			return false
		}
	}
	return true
}

// vtep is a VTEP to which a domain has a host route.
type vtep struct {
	addr   netip.Addr
	domain *routing // nil: an earlier run had it, and has left its route in the kernel
}

// noteVTEP notes a host route that overlays may flood to. Of the prefixes that domains on
// one session announce each domain hears; those of others have no paths for it.
func (r *router) noteVTEP(g *routing, p netip.Prefix) {
	v := vtep{p.Addr(), g}
	has, had := g.rib.HasBGP(p), r.vteps[v]
	switch {
	case has == had || !p.IsSingleIP() || !r.floodsTo(v.addr):
		return
	case has:
		r.vteps[v] = true
	default:
		delete(r.vteps, v)
	}
	r.floods = true
}

// floodsTo reports whether an overlay takes an address for a VTEP if there is a route to it.
func (r *router) floodsTo(a netip.Addr) bool {
	return slices.ContainsFunc(r.cfg.Overlays, func(o config.Overlay) bool { return o.VTEPs.IsValid() && o.VTEPs.Contains(a) })
}

// recountVTEPs notes the VTEPs that the overlays of another configuration flood to.
func (r *router) recountVTEPs() {
	maps.DeleteFunc(r.vteps, func(v vtep, _ bool) bool { return v.domain != nil || !r.floodsTo(v.addr) })
	if len(r.cfg.Overlays) == 0 {
		return
	}
	for _, g := range r.domains {
		for p := range g.rib.Prefixes {
			r.noteVTEP(g, p)
		}
	}
}

// adoptVTEPs takes over VTEPs to which an earlier run left routes in the kernel: the flood
// lists have them, as the kernel has the routes, until the sweep.
func (r *router) adoptVTEPs(routes iter.Seq[fib.RouteStatus]) {
	for s := range routes {
		if a := s.Prefix.Addr(); s.State == fib.StateStale && s.Prefix.IsSingleIP() && !s.Persistent && r.floodsTo(a) {
			r.vteps[vtep{a, nil}] = true
		}
	}
}

// disownVTEPs drops what adoptVTEPs took over: what stays BGP has announced again.
func (r *router) disownVTEPs() {
	before := len(r.vteps)
	maps.DeleteFunc(r.vteps, func(v vtep, _ bool) bool { return v.domain == nil })
	if len(r.vteps) != before {
		r.overlays()
	}
}

func (r *router) overlays() {
	r.floods = false
	if len(r.cfg.Overlays) == 0 {
		return
	}
	vteps := make([]netip.Addr, 0, len(r.vteps))
	for v := range r.vteps {
		vteps = append(vteps, v.addr)
	}
	slices.SortFunc(vteps, netip.Addr.Compare)
	vteps = slices.Compact(vteps)
	links := r.home().Links()
	r.edge.Overlays(r.cfg, func(name string) (int, bool) { i := links.Index(name); return i, i != 0 }, vteps)
}
