package daemon

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/fib"
)

// answering says for which families somebody in userspace answers guests that ask
// for their neighbours: for IPv4 always, since the kernel's proxy_arp does not defend
// anybody's address against a probe. While nobody does, nobody is told of a full table;
// once somebody does, there is no end to it, or what goes meanwhile would stay a target.
type answering struct{ v4, v6 bool }

func (a answering) wants(p netip.Prefix) bool {
	return p.Bits() > 0 && (p.Addr().Is4() && a.v4 || p.Addr().Is6() && a.v6)
}

// answerFor notes who needs answers, and tells everything that is allocated when the
// first one does.
func (r *router) answerFor(here []config.Guest) {
	want := answering{v4: true, v6: r.answering.v6}
	for _, g := range here {
		want.v6 = want.v6 || eg.Proxied(g)
	}
	d := r.cfg.GuestDomain()
	if want == r.answering || d == nil {
		return
	}
	old := r.answering
	r.answering = want
	g := r.domains[d.Name]
	for p := range g.rib.Prefixes {
		if want.wants(p) && !old.wants(p) {
			r.target(g, p)
		}
	}
	r.inherit(g, old)
}

// inherit has guests answered for what the kernel still routes for an earlier run, until
// BGP has told everything again: a restart of ours is nothing that guests should notice.
func (r *router) inherit(g *routing, old answering) {
	if r.leftover == nil {
		return
	}
	for s := range r.leftover {
		if p := s.Prefix; s.Table == g.table && s.State == fib.StateStale && len(s.NextHops) > 0 && r.answering.wants(p) && !old.wants(p) {
			r.edge.Target(p, s.NextHops[0].IfIndex)
			r.inherited = append(r.inherited, p)
		}
	}
}

// disinherit ends that: what is left over is swept.
func (r *router) disinherit(g *routing) {
	for _, p := range r.inherited {
		r.target(g, p)
	}
	r.leftover, r.inherited = nil, nil
}

// answers reports whether a domain is the guests' and somebody is told about it.
func (r *router) answers(g *routing) bool {
	d := r.cfg.GuestDomain()
	return d != nil && d.Name == g.name && r.answering != (answering{})
}

// targets passes on what an effect changes in the guests' domain.
func (r *router) targets(g *routing, fx *domain.Effects) {
	if !r.answers(g) {
		return
	}
	for _, k := range fx.Delete {
		if k.Table == g.table && r.answering.wants(k.Prefix) {
			r.target(g, k.Prefix)
		}
	}
	for _, route := range fx.Set {
		if route.Table == g.table && r.answering.wants(route.Prefix) {
			r.target(g, route.Prefix)
		}
	}
}

// target tells the edge about one prefix as it stands now.
func (r *router) target(g *routing, p netip.Prefix) {
	s, _ := g.rib.Explain(p)
	hops := s.BGP
	switch {
	case s.Local != nil:
		hops = s.Local.NextHops
	case len(s.Learned) > 0:
		hops = s.Learned[0].NextHops
	}
	switch {
	case len(hops) == 0:
		r.edge.NoTarget(p)
	case s.Local == nil && len(s.Learned) == 0: // BGP
		r.edge.Target(p, 0)
	default:
		r.edge.Target(p, g.namespace.Links().Index(hops[0].Link))
	}
}
