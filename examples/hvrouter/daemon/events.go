package daemon

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// take takes what the kernel's monitor says; the caller refreshes if dirty is set
// afterwards.
func (r *router) take(events []fib.Event) {
	for _, e := range events {
		switch e.Kind {
		case fib.EventLink:
			r.onLink(e.Link)
		case fib.EventLinkGone:
			r.links.gone(e.Link.Index)
			r.dirty = true
		case fib.EventAddress:
			r.links.address(e.Link.Index, e.Addr, e.Gone)
			if name, ok := r.links.name(e.Link.Index); ok && e.Addr.Addr().IsLinkLocalUnicast() && r.isUplink(name) {
				r.dirty, r.neighbours = true, true
			}
		case fib.EventNextHops:
			r.guard.refresh()
		case fib.EventError:
			r.log.Warn("kernel refused", "event", "kernel-error", "err", e.Err)
		case fib.EventRepair:
			r.log.Warn("repaired a foreign change", "event", "repair", "op", e.Op, "key", e.Key)
		case fib.EventResync, fib.EventLost:
			r.log.Info("kernel read anew", "event", e.Kind.String(), "lost", e.Count)
		}
	}
}

func (r *router) onLink(link fib.Link) {
	old, known := r.links.byIndex[link.Index]
	if r.links.set(link) {
		r.dirty = true
		if r.isUplink(link.Name) {
			r.reset(link.Name)
		}
		return
	}
	if known && (old.MAC != link.MAC || old.AdminUp && !link.AdminUp) {
		r.dirty = true
	}
	if known && link.Up() && !old.Up() {
		r.greet(link.Index)
	}
}

// greet tells the guest behind a link that has just got its carrier what it may have
// missed.
func (r *router) greet(index int) {
	for _, p := range r.served {
		if p.Link.Index == index {
			r.edge.Greet(r.cfg, p)
		}
	}
}

// isUplink tells whether routes other than a guest's may lead over the link.
func (r *router) isUplink(name string) bool {
	for _, d := range r.cfg.Domains {
		if slices.Contains(domain.Interfaces(d), name) {
			return true
		}
	}
	return name == r.cfg.Loopback.Interface
}

// onLearned takes foreign routes of one domain's table.
func (r *router) onLearned(g *routing, changes []fib.LearnChange, synced bool) {
	for _, c := range changes {
		if c.Gone {
			g.rib.DropLearned(c.Prefix, c.Metric, &r.fx)
			continue
		}
		if l, ok := peering.Learned(c.Learned, r.links.name); ok {
			g.rib.SetLearned(c.Prefix, l, &r.fx)
		}
	}
	r.apply(g, &r.fx)
	for _, c := range changes {
		if r.answers(g) && r.answering.wants(c.Prefix) {
			r.target(g, c.Prefix)
		}
	}
	if synced && !g.learned {
		g.learned = true
		g.bgp.InventoryComplete()
		r.sweep()
	}
}

// onPaths takes what BGP has for prefixes of one domain.
func (r *router) onPaths(g *routing, changes []pathSet, converged bool) {
	for _, c := range changes {
		g.rib.SetBGP(c.Prefix, r.gateways(g, c), &r.fx)
		r.vtep(c)
	}
	r.apply(g, &r.fx)
	if converged && !g.converged {
		g.converged = true
		r.log.Info("domain converged", "event", "converged", "domain", g.name, "prefixes", g.rib.Len())
		r.sweep()
	}
	if r.floods {
		r.overlays()
	}
}

// pathSet is the best paths of one prefix; no paths means that it is gone.
type pathSet struct {
	Prefix netip.Prefix
	Paths  []peering.Path
}

// gateways makes next hops of paths. One that is on no link of the domain is left
// out and counted (R22): a packet to it would take a detour that nobody watches.
func (r *router) gateways(g *routing, c pathSet) []domain.NextHop {
	scratch := g.hops.scratch[:0]
	refused := 0
	for _, p := range c.Paths {
		link, ok := r.links.reach(g.uplinks, g.peers[p.Peer], p.NextHop)
		if !ok {
			refused++
			continue
		}
		scratch = append(scratch, domain.NextHop{Gateway: p.NextHop, Link: link})
	}
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

// sweep removes what an earlier run left over, once, when every domain is there.
func (r *router) sweep() {
	if r.converged {
		return
	}
	for _, g := range r.domains {
		if !g.converged || !g.learned {
			return
		}
	}
	r.converged = true
	r.kernel.Sweep()
	r.log.Info("swept", "event", "swept")
}

// vtep keeps count of the host routes that overlays may flood to.
func (r *router) vtep(c pathSet) {
	if len(r.cfg.Overlays) == 0 || !c.Prefix.IsSingleIP() {
		return
	}
	for _, o := range r.cfg.Overlays {
		if o.VTEPs.IsValid() && o.VTEPs.Contains(c.Prefix.Addr()) {
			_, had := r.vteps[c.Prefix.Addr()]
			if has := len(c.Paths) > 0; has && !had {
				r.vteps[c.Prefix.Addr()] = 1
				r.floods = true
			} else if !has && had {
				delete(r.vteps, c.Prefix.Addr())
				r.floods = true
			}
			return
		}
	}
}

func (r *router) overlays() {
	r.floods = false
	if len(r.cfg.Overlays) == 0 {
		return
	}
	vteps := make([]netip.Addr, 0, len(r.vteps))
	for a := range r.vteps {
		vteps = append(vteps, a)
	}
	slices.SortFunc(vteps, netip.Addr.Compare)
	r.edge.Overlays(r.cfg, func(name string) (int, bool) { i, ok := r.links.index[name]; return i, ok }, vteps)
}
