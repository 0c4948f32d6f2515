package daemon

import (
	"iter"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/fib"
)

// targets is which addresses are allocated, and behind which of our links they are: for the
// responders of the edge, which answer guests that ask for their neighbours.
type targets struct {
	edge      Edge
	answering families
	// leftover are the routes of the guests' namespace until what an earlier run left is swept;
	// nil: none.
	leftover  iter.Seq[fib.RouteStatus]
	inherited []netip.Prefix // targets that stand on a route of an earlier run
}

// families says for which families a responder in userspace answers: for IPv4 always, since the
// kernel's proxy_arp does not defend addresses against a probe. While none does, the edge does not
// get a full table; once one does, there is no end to it, or what goes meanwhile would stay
// a target.
type families struct{ v4, v6 bool }

func (f families) has(p netip.Prefix) bool {
	return p.Bits() > 0 && (p.Addr().Is4() && f.v4 || p.Addr().Is6() && f.v6)
}

// answerFor notes which guests need answers, and adds everything that is allocated in their
// domain when the first one does.
func (t *targets) answerFor(here []config.Guest, g *routing) {
	want := families{v4: true, v6: t.answering.v6}
	for _, one := range here {
		want.v6 = want.v6 || eg.Proxied(one)
	}
	if want == t.answering || g == nil {
		return
	}
	old := t.answering
	t.answering = want
	for p := range g.rib.Prefixes { // in no order, upon which nothing depends
		if want.has(p) && !old.has(p) {
			t.set(g, p)
		}
	}
	t.inherit(g, old)
}

// inherit has guests answered for what the kernel still routes for an earlier run, until all of
// BGP's routes have come: a restart of ours is nothing that guests should notice.
func (t *targets) inherit(g *routing, old families) {
	if t.leftover == nil {
		return
	}
	for s := range t.leftover {
		if p := s.Prefix; s.Table == g.table && s.State == fib.StateStale && len(s.NextHops) > 0 && t.answering.has(p) && !old.has(p) {
			t.edge.Target(p, s.NextHops[0].IfIndex)
			t.inherited = append(t.inherited, p)
		}
	}
}

// disinherit ends that: what is left over is swept.
func (t *targets) disinherit(g *routing) {
	for _, p := range t.inherited {
		t.set(g, p)
	}
	t.leftover, t.inherited = nil, nil
}

// apply passes on what effects change in the guests' domain.
func (t *targets) apply(g *routing, fx *domain.Effects) {
	for _, k := range fx.Delete {
		if k.Table == g.table {
			t.changed(g, k.Prefix)
		}
	}
	for _, route := range fx.Set {
		if route.Table == g.table {
			t.changed(g, route.Prefix)
		}
	}
}

// changed passes on a prefix of the guests' domain if a responder answers for its family.
func (t *targets) changed(g *routing, p netip.Prefix) {
	if t.answering.has(p) {
		t.set(g, p)
	}
}

// set passes on one prefix as it stands now.
func (t *targets) set(g *routing, p netip.Prefix) {
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
		t.edge.NoTarget(p)
	case s.Local == nil && len(s.Learned) == 0: // BGP
		t.edge.Target(p, 0)
	default:
		t.edge.Target(p, g.namespace.Links().Index(hops[0].Link))
	}
}
