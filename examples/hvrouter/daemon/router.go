package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// router is the state of the event loop. One goroutine owns it; every method is
// called there.
type router struct {
	log    *slog.Logger
	kernel kernel
	edge   edge
	wall   shield
	guard  *guard

	cfg     *config.Config
	links   links
	guests  guest.Inventory
	store   guest.Store
	static  domain.Static
	domains map[string]*routing
	order   []string // of the domains, as in the file

	// What stands because of static, with interfaces resolved to indexes.
	addresses map[domain.Address]fib.Address
	served    map[string]guest.Port // guests by name
	scaffold  map[domain.Key]domain.Route
	rules     map[fib.Rule]bool

	fx        domain.Effects // scratch
	converged bool
	notOnLink uint64
	reloaded  time.Time
	dirty     bool // refresh is due
	// neighbours: a link-local address of an uplink has changed, and sessions tell
	// it to their peers.
	neighbours bool
	vteps      map[netip.Addr]int
	walled     wallVersion
	floods     bool // the set of VTEPs has changed
	answering  answering
}

// routing is one domain at work.
type routing struct {
	name      string
	table     uint32
	rib       *domain.RIB
	bgp       announcer
	hops      hopCache
	uplinks   []string
	peers     map[netip.Addr]string // the interface of each peer
	refused   map[netip.Prefix]int  // prefixes with next hops that are not on-link
	learned   bool                  // the foreign routes that were there are known
	converged bool                  // BGP has told everything once
}

func newRouter(log *slog.Logger, k kernel, e edge, w shield) *router {
	return &router{
		log: log, kernel: k, edge: e, wall: w, links: newLinks(),
		domains: map[string]*routing{}, addresses: map[domain.Address]fib.Address{},
		served: map[string]guest.Port{}, scaffold: map[domain.Key]domain.Route{}, rules: map[fib.Rule]bool{},
		vteps: map[netip.Addr]int{},
	}
}

// addDomain makes a domain of the configuration known.
func (r *router) addDomain(index int, a announcer) *routing {
	d := r.cfg.Domains[index]
	g := &routing{name: d.Name, table: d.Table.ID, bgp: a, rib: domain.NewRIB(domain.NewView(r.cfg, index)),
		refused: map[netip.Prefix]int{}, learned: !d.Learns()}
	g.configure(d)
	r.domains[d.Name] = g
	r.order = append(r.order, d.Name)
	return g
}

// configure notes where the domain's sessions are.
func (g *routing) configure(d config.Domain) {
	g.uplinks, g.peers = domain.Interfaces(d), map[netip.Addr]string{}
	for _, r := range d.Reflectors {
		g.peers[r.Peer.Addr] = r.Interface
	}
}

// apply carries out effects: what is withdrawn first, what is announced last, and
// between them the kernel, additions before deletions.
func (r *router) apply(g *routing, fx *domain.Effects) {
	if len(fx.Withdraw) > 0 {
		g.bgp.Withdraw(fx.Withdraw)
	}
	for _, route := range fx.Set {
		r.setRoute(route)
	}
	for _, k := range fx.Delete {
		r.kernel.DeleteRoute(peering.Key(k))
	}
	r.targets(g, fx)
	if len(fx.Announce) > 0 {
		r.settle(g, fx)
		g.bgp.Announce(fx.Announce)
	}
	fx.Reset()
}

// settleTime bounds how long an announcement waits for its kernel route: a
// kernel that is busy with a full table must not hold the loop.
const settleTime = 20 * time.Millisecond

// settle waits until the routes of what is about to be announced are in the
// kernel. Learned routes are there already; their copies in local-out can wait.
func (r *router) settle(g *routing, fx *domain.Effects) {
	if !slices.ContainsFunc(fx.Set, func(route domain.Route) bool { return route.Table == g.table }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	_ = r.kernel.Flush(ctx) // what failed comes as an event
}

func (r *router) setRoute(route domain.Route) {
	out, ok := r.links.index.Route(route)
	if !ok {
		r.kernel.DeleteRoute(out.RouteKey) // its interface is not there (any more)
		return
	}
	if err := r.kernel.SetRoute(out); err != nil {
		r.log.Error("route refused", "event", "route-refused", "table", route.Table, "prefix", route.Prefix, "err", err)
	}
}

// reset sets every route over a link again: its name now stands for another
// interface index.
func (r *router) reset(link string) {
	for _, g := range r.domains {
		for route := range g.rib.Routes {
			for _, hop := range route.NextHops {
				if hop.Link == link {
					r.setRoute(route)
					break
				}
			}
		}
	}
}
