package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/discovery"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// routing is one domain at work.
type routing struct {
	name      string
	namespace *netns.Namespace
	table     uint32
	rib       *domain.RIB
	exports   *domain.Exports
	bgp       announcer
	hops      hopCache
	uplinks   []string
	peers     map[netip.Addr]string // the interface of each peer
	waiting   discovery.Waiting     // learned routes over interfaces that are not known yet
	offLink   map[netip.Prefix]int  // next hops that are not on-link, of prefixes that have some
	dead      failover.Dead         // next hops that are not to be used
	learned   bool                  // the foreign routes that were there are known
	complete  bool                  // BGP knows that everything of ours is announced
	converged bool                  // all of BGP's routes have come once
	unlearn   func()                // ends what brings the foreign routes of the table; nil: nothing does, or for good
}

// newRouting makes a domain of a namespace, of which nothing is known yet.
func newRouting(d config.Domain, n *netns.Namespace, a announcer) *routing {
	g := &routing{name: d.Name, namespace: n, table: d.Table.ID, bgp: a, exports: domain.NewExports(), offLink: map[netip.Prefix]int{}, learned: !d.Redistributes()}
	g.rib = domain.NewRIB(g.view())
	g.configure(d)
	return g
}

// Protocols of routes that another BGP speaker has put into the kernel: RTPROT_BIRD, whatever protocol
// BIRD has them of, and RTPROT_BGP of FRR.
const (
	protoBird = 12
	protoBGP  = 186
)

// learner returns a new reader of the foreign routes of the domain's table. Those of another BGP speaker
// are left out: they lead to other routers, and announced as ours they would draw here what is not ours,
// for as long as they stay. BIRD leaves them when it is replaced. So are routes with a TOS: they hold for
// some packets, and what is announced draws all.
func (g *routing) learner() netns.LearnChanges {
	return g.namespace.Kernel().Learn(fib.Filter{Tables: []uint32{g.table}, Accept: func(l fib.Learned) bool {
		return l.Protocol != protoBird && l.Protocol != protoBGP && l.TOS == 0
	}})
}

// view returns the configuration of the domain, as its namespace has it.
func (g *routing) view() domain.View {
	part := g.namespace.Part()
	return domain.NewView(part, slices.IndexFunc(part.Domains, func(d config.Domain) bool { return d.Name == g.name }))
}

// configure notes where the domain's sessions are.
func (g *routing) configure(d config.Domain) {
	g.uplinks, g.peers = domain.Interfaces(d), map[netip.Addr]string{}
	for _, r := range d.Sessions() {
		g.peers[peering.SessionKey(r).Addr] = r.Interface
	}
}

// gateways makes next hops of paths: of the best rank that has one which is alive. RFC 4271, Section
// 9.1.2: "If the NEXT_HOP attribute of a BGP route depicts an address that is not resolvable, or if
// it would become unresolvable if the route was installed in the routing table, the BGP route MUST
// be excluded". A path that is kept although its link is dead, so as to be there when that is back,
// must not beat a worse one that works. If all are dead the best are taken: nothing better is known.
//
// If each of them has a bandwidth, it has its share of the traffic.
//
// A next hop that is on no link of the domain is left out and counted (R22): a packet to it would take
// a detour that no BFD session watches.
func (g *routing) gateways(c sessions.PathSet) (hops []domain.NextHop, offLink int) {
	alive, dead, best := g.hops.alive[:0], g.hops.dead[:0], 0
	for i, p := range c.Paths {
		if len(alive) > 0 && p.Rank != c.Paths[i-1].Rank {
			break
		}
		link, ok := g.namespace.Links().Reach(g.uplinks, g.peers[p.Peer], p.NextHop)
		hop := weighted{domain.NextHop{Gateway: p.NextHop, Link: link}, p.Bandwidth}
		switch {
		case !ok:
			offLink++
		case !g.dead.Has(peering.NextHop{Domain: g.name, Link: link, IPv6: p.NextHop.Is6()}):
			alive = append(alive, hop)
		case len(dead) == 0 || p.Rank == best:
			dead, best = append(dead, hop), p.Rank
		}
	}
	g.hops.alive, g.hops.dead = alive, dead
	if offLink > 0 {
		g.offLink[c.Prefix] = offLink
	} else if len(g.offLink) > 0 {
		delete(g.offLink, c.Prefix)
	}
	if len(alive) == 0 {
		alive = dead
	}
	return g.hops.share(alive), offLink
}

// standing returns what the status of a route in the kernel means for its announcement.
func (g *routing) standing(c *fib.RouteChange) domain.Standing {
	switch {
	case c.Gone:
		return domain.Standing{State: domain.Missing}
	case c.State == fib.StateInstalled:
		return domain.Standing{State: domain.Present}
	case c.State == fib.StatePartial:
		if g.reaches(c.Prefix) {
			return domain.Standing{State: domain.Present}
		}
		return domain.Standing{State: domain.Refused, Why: "of its next hops none that is here is up"}
	case c.State == fib.StateHeld:
		return domain.Standing{State: domain.Refused, Why: "its interface is down"}
	case c.State == fib.StateFailed, c.State == fib.StateForeign:
		return domain.Standing{State: domain.Refused, Why: fmt.Sprint(c.Err)}
	}
	return domain.Standing{State: domain.Missing}
}

// reaches reports whether a prefix that is shared with other hypervisors is still reached here: if
// not, packets would only be passed on to those.
func (g *routing) reaches(p netip.Prefix) bool {
	s, _ := g.rib.Explain(p)
	if s.Local == nil || len(s.BGP) == 0 || !g.rib.Spread() {
		return true
	}
	for _, h := range s.Local.NextHops {
		if l, ok := g.namespace.Links().ByName(h.Link); ok && l.Up() {
			return true
		}
	}
	return false
}
