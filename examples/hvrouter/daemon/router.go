package daemon

import (
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// router is the state of the event loop. One goroutine owns it; every method is
// called there.
type router struct {
	log      *slog.Logger
	edge     edge
	failover *failover.Monitor

	cfg        *config.Config
	namespaces []*netns.Namespace // the daemon's own first
	guests     guest.Inventory
	store      *guest.Store
	unread     unread // no conclusions are drawn from it
	domains    map[string]*routing
	order      []string              // of the domains, as in the file
	served     map[string]guest.Port // guests by name
	findings   findings
	heard      map[int]*heard // addresses that guests asked from, by link
	servedAs   config.Edge    // what they have in common

	fx        domain.Effects       // scratch
	out       domain.ExportEffects // scratch
	notices   bounded
	now       func() time.Time
	converged bool
	notOnLink uint64
	reloaded  time.Time
	dirty     bool // refresh is due
	started   bool // refresh has been called
	// neighbours: a link-local address of an uplink has changed, and sessions tell
	// it to their peers.
	neighbours bool
	vteps      map[vtep]bool
	floods     bool // the set of VTEPs has changed
	answering  answering
	leftover   iter.Seq[fib.RouteStatus] // the routes at home, until what is left over is swept; nil: none
	inherited  []netip.Prefix            // targets that stand on a route of an earlier run
}

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
	unplaced  unplaced
	refused   map[netip.Prefix]int // prefixes with next hops that are not on-link
	learned   bool                 // the foreign routes that were there are known
	complete  bool                 // BGP knows that everything of ours is announced
	converged bool                 // all of BGP's routes have come once
	dead      failover.Dead        // next hops that are not to be used
}

// newRouter makes a router for a configuration over namespaces, one for each of
// [config.Config.Namespaces].
func newRouter(log *slog.Logger, c *config.Config, e edge, namespaces ...*netns.Namespace) *router {
	r := &router{log: log, edge: e, namespaces: namespaces, now: time.Now, domains: map[string]*routing{}, served: map[string]guest.Port{}, findings: newFindings(), heard: map[int]*heard{}, vteps: map[vtep]bool{}}
	r.adopt(c)
	return r
}

// adopt makes a configuration the one that counts. Its namespaces are those of the
// one before.
func (r *router) adopt(c *config.Config) {
	r.cfg = c
	for i, p := range c.Namespaces() {
		r.namespaces[i].Configure(c, p.Config)
	}
}

// at returns what is known of a namespace.
func (r *router) at(n config.NetNS) *netns.Namespace {
	return at(r.namespaces, n)
}

func at(all []*netns.Namespace, n config.NetNS) *netns.Namespace {
	return all[max(0, slices.IndexFunc(all, func(one *netns.Namespace) bool { return one.NetNS() == n }))]
}

// home is where the guests' interfaces are.
func (r *router) home() *netns.Namespace { return r.at(r.cfg.GuestNetNS()) }

// addDomain makes a domain of the configuration known.
func (r *router) addDomain(index int, a announcer) *routing {
	d := r.cfg.Domains[index]
	g := &routing{name: d.Name, namespace: r.at(d.NetNS), table: d.Table.ID, bgp: a, exports: domain.NewExports(), refused: map[netip.Prefix]int{}, unplaced: unplaced{}, learned: !d.Redistributes()}
	g.rib = domain.NewRIB(g.view())
	g.configure(d)
	r.domains[d.Name] = g
	r.order = append(r.order, d.Name)
	return g
}

// view reads the configuration of the domain's namespace.
func (g *routing) view() domain.View {
	part := g.namespace.Part()
	return domain.NewView(part, slices.IndexFunc(part.Domains, func(d config.Domain) bool { return d.Name == g.name }))
}

// configure notes where the domain's sessions are.
func (g *routing) configure(d config.Domain) {
	g.uplinks, g.peers = domain.Interfaces(d), map[netip.Addr]string{}
	for _, r := range d.Reflectors {
		g.peers[r.Peer.Addr] = r.Interface
	}
}

// apply carries out effects: what is withdrawn first, then the kernel, additions before
// deletions. What is to be announced waits for the kernel.
func (r *router) apply(g *routing, fx *domain.Effects) {
	r.want(g, fx)
	for _, route := range fx.Set {
		r.setRoute(g, route)
	}
	for _, k := range fx.Delete {
		g.namespace.DeleteRoute(k)
	}
	r.targets(g, fx)
	r.export(g)
	fx.Reset()
}

// setRoute has the kernel route as a domain wants it.
func (r *router) setRoute(g *routing, route domain.Route) {
	if why := g.namespace.SetRoute(route); why != "" {
		g.exports.Route(route.Key, domain.Standing{State: domain.Refused, Why: why}, r.now(), &r.out)
	}
}

// reset sets every route over a link again: its name now stands for another
// interface index.
func (r *router) reset(p *netns.Namespace, link string) {
	for _, g := range r.domains {
		if g.namespace != p {
			continue
		}
		var moved []netip.Prefix
		for route := range g.rib.Routes {
			if slices.ContainsFunc(route.NextHops, func(hop domain.NextHop) bool { return hop.Link == link }) {
				r.setRoute(g, route)
				if route.Table == g.table && r.answers(g) && r.answering.wants(route.Prefix) {
					moved = append(moved, route.Prefix)
				}
			}
		}
		for _, prefix := range moved {
			r.target(g, prefix)
		}
		r.export(g)
	}
}
