package daemon

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
	"github.com/hyperfib/hyperfib/fib"
)

// findings is what was found out about guests' addresses besides the inventory: by
// routes that others put over their interfaces, and by what they say. All of it is by
// interface index, and counts only as far as the guest behind the interface may find
// addresses.
type findings struct {
	routes map[routeKey]via
	spoken map[netip.Addr]*spoken
	news   uint64 // counts what was ever found, for its order
}

type routeKey struct {
	prefix netip.Prefix
	metric uint32
}

// via is a foreign route over one interface.
type via struct {
	link   int
	routed bool // through a gateway
}

// spoken is an address that a guest speaks from.
type spoken struct {
	link     int
	mac      [6]byte // zero: known from before a restart, and not heard yet
	order    uint64
	since    time.Time
	conflict *eg.Sighting // the last claim to it from elsewhere
	rivalled time.Time    // when that was
}

func newFindings() findings {
	return findings{routes: map[routeKey]via{}, spoken: map[netip.Addr]*spoken{}}
}

// routesByLink returns the foreign routes over each interface.
func (f *findings) routesByLink() map[int][]netns.FoundRoute {
	out := map[int][]netns.FoundRoute{}
	for k, v := range f.routes {
		out[v.link] = append(out[v.link], netns.FoundRoute{Prefix: k.prefix, Routed: v.routed})
	}
	return out
}

// byLink gives a lookup of what was found behind an interface: routes in the order of
// their prefixes, then addresses in the order in which they were first heard.
func (f *findings) byLink() func(link int) []guest.Finding {
	routes, heard := map[int][]guest.Finding{}, map[int][]netip.Addr{}
	for k, v := range f.routes {
		v4 := k.prefix.Addr().Is4()
		routes[v.link] = append(routes[v.link], guest.Finding{Prefix: k.prefix, Learned: true, Routed: v4 && (v.routed || !k.prefix.IsSingleIP())})
	}
	for a, s := range f.spoken {
		heard[s.link] = append(heard[s.link], a)
	}
	return func(link int) []guest.Finding {
		out := routes[link]
		slices.SortFunc(out, func(a, b guest.Finding) int {
			return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
		})
		out = slices.CompactFunc(out, func(a, b guest.Finding) bool { return a.Prefix == b.Prefix })
		addrs := heard[link]
		slices.SortFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(f.spoken[a].order, f.spoken[b].order) })
		for _, a := range addrs {
			out = append(out, guest.Finding{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
		return out
	}
}

// presumed returns the addresses that were not heard in this run, by interface.
func (f *findings) presumed() map[int][]netip.Addr {
	out := map[int][]netip.Addr{}
	for a, s := range f.spoken {
		if s.mac == [6]byte{} {
			out[s.link] = append(out[s.link], a)
		}
	}
	return out
}

// shown returns the addresses that were found, to be shown.
func (f *findings) shown() (list []show.Found) {
	for a, s := range f.spoken {
		one := show.Found{Addr: a, IfIndex: s.link, MAC: s.mac, Since: s.since}
		if c := s.conflict; c != nil {
			one.Conflict = &show.Conflict{IfIndex: c.IfIndex, MAC: c.MAC, Time: s.rivalled}
		}
		list = append(list, one)
	}
	return list
}

// present returns the guests that are here, with everything that was found for them.
func (r *router) present() []config.Guest {
	l := r.home().Links()
	return guest.Expand(r.cfg, r.guests.All(), guest.World{Links: l.All, Link: l.ByName, Findings: r.findings.byLink(), Free: r.guests.Free})
}

// onSightings takes news of addresses that guests speak from.
func (r *router) onSightings(list []eg.Sighting) {
	for _, s := range list {
		old := r.findings.spoken[s.IP]
		switch s.Kind {
		case arp.EventConflict:
			if old != nil {
				old.conflict, old.rivalled = &s, time.Now()
				r.notice("neighbour-conflict", s)
			}
			continue
		case arp.EventGone:
			if old == nil || old.link != s.IfIndex {
				continue
			}
			delete(r.findings.spoken, s.IP)
		default: // seen or moved
			r.findings.news++
			next := &spoken{link: s.IfIndex, mac: s.MAC, order: r.findings.news, since: time.Now()}
			if old != nil && old.link == s.IfIndex {
				next.order, next.conflict, next.rivalled = old.order, old.conflict, old.rivalled
			}
			r.findings.spoken[s.IP] = next
		}
		r.dirty = true
		r.notice("neighbour-"+s.Kind.String(), s)
	}
	if r.dirty {
		r.refresh()
	}
}

func (r *router) notice(event string, s eg.Sighting) {
	name, _ := r.home().Links().Name(s.IfIndex)
	r.log.Info("neighbour "+s.Kind.String(), "event", event, "address", s.IP, "interface", name, "mac", s.MAC, "was", s.OldMAC)
}

// routeOverGuest notes a foreign route of the guests' table that leads over one interface,
// other than an uplink. It may be known before the interface is.
func (r *router) routeOverGuest(g *routing, c fib.LearnChange) {
	if d := r.cfg.GuestDomain(); d == nil || d.Name != g.name || g.namespace != r.home() {
		return
	}
	k := routeKey{c.Prefix, c.Metric}
	old, had := r.findings.routes[k]
	delete(r.findings.routes, k)
	if !c.Gone && len(c.NextHops) == 1 {
		if name, known := g.namespace.Links().Name(c.NextHops[0].IfIndex); !known || !g.namespace.IsUplink(name) {
			r.findings.routes[k] = via{c.NextHops[0].IfIndex, c.NextHops[0].Gateway.IsValid()}
		}
	}
	now, has := r.findings.routes[k]
	if now != old || has != had {
		r.dirty = r.dirty || had && r.serves(old.link) || has && r.serves(now.link)
	}
}

// serves reports whether there is a guest behind an interface, or may be one of a
// template.
func (r *router) serves(link int) bool {
	name, _ := r.home().Links().Name(link)
	if r.cfg.Template(name) != nil {
		return true
	}
	for _, p := range r.served {
		if p.Link.IfIndex == link {
			return true
		}
	}
	return false
}

// adoptFound takes over addresses that guests were found to have by an earlier run: their host
// routes are in the kernel still, over an interface whose guest finds addresses. They
// stay, and are asked for.
func (r *router) adoptFound(routes iter.Seq[fib.RouteStatus]) {
	d := r.cfg.GuestDomain()
	if d == nil {
		return
	}
	discovers := map[int]config.Discovery{}
	for _, g := range r.present() {
		if l, ok := r.home().Links().ByName(g.Interface); ok && g.Discovery.Neighbors {
			discovers[l.IfIndex] = g.Discovery
		}
	}
	if len(discovers) == 0 {
		return
	}
	for s := range routes {
		if s.State != fib.StateStale || s.Table != d.Table.ID || !s.Prefix.IsSingleIP() || len(s.NextHops) != 1 || s.NextHops[0].Gateway.IsValid() {
			continue
		}
		if _, ok := discovers[s.NextHops[0].IfIndex]; ok {
			r.findings.news++
			r.findings.spoken[s.Prefix.Addr()] = &spoken{link: s.NextHops[0].IfIndex, order: r.findings.news, since: time.Now()}
		}
	}
}

// pumpSightings brings sightings to the loop.
func (d *Daemon) pumpSightings(ctx context.Context, e *eg.Edge) error {
	for {
		list, err := e.Sightings(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		d.loop.do(ctx, func() { d.router.onSightings(list) })
	}
}

// unplaced are learned routes over interfaces that are not known yet: the kernel tells of
// routes and of interfaces in two streams.
type unplaced map[int]map[routeKey]fib.LearnChange

// mostUnplaced bounds them; what comes beyond is told again only when it changes.
const mostUnplaced = 4096

// keep notes a change of a route whose interface is unknown.
func (u unplaced) keep(c fib.LearnChange) {
	u.drop(c)
	if n := 0; len(c.NextHops) > 0 && !c.Gone {
		for _, m := range u {
			n += len(m)
		}
		if n >= mostUnplaced {
			return
		}
		link := c.NextHops[0].IfIndex
		if u[link] == nil {
			u[link] = map[routeKey]fib.LearnChange{}
		}
		u[link][routeKey{c.Prefix, c.Metric}] = c
	}
}

// drop forgets what was kept of a route.
func (u unplaced) drop(c fib.LearnChange) {
	for link, m := range u {
		delete(m, routeKey{c.Prefix, c.Metric})
		if len(m) == 0 {
			delete(u, link)
		}
	}
}

// learnWaiting takes the routes that waited for an interface of a namespace.
func (r *router) learnWaiting(p *netns.Namespace, link int) {
	for _, g := range r.domains {
		waiting := g.unplaced[link]
		if g.namespace != p || len(waiting) == 0 {
			continue
		}
		delete(g.unplaced, link)
		r.learn(g, slices.Collect(maps.Values(waiting)))
	}
}
