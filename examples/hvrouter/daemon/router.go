package daemon

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/discovery"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// router is the state of the event loop. One goroutine owns it; every method is called there.
type router struct {
	log      *slog.Logger
	edge     Edge
	failover *failover.Monitor
	sessions *sessions.Speakers
	now      func() time.Time
	// startLearning begins to bring the foreign routes of a domain that was added while routing, and
	// returns what ends that.
	startLearning func(*routing) (end func())
	// afterSweep begins to look for what an earlier run has left in tables that are ours no more; nil:
	// nothing does.
	afterSweep func(*netns.Namespace)

	cfg        *config.Config
	namespaces []*netns.Namespace // the daemon's own first
	domains    map[string]*routing
	order      []string // of the domains, as in the file

	guests        guest.Inventory
	movesChanged  chan<- struct{} // takes one when the moves of guests of files have changed; nil: they are not kept
	unread        unread          // of the inventory: no conclusions are drawn from it
	attached      attached
	findings      discovery.Findings
	askers        discovery.Askers
	announcements announcements
	draining      draining
	targets       targets
	finders       finders
	vteps         vteps
	evpn          evpnState
	foreign       map[*netns.Namespace]foreignObjects

	fx        domain.Effects // scratch
	dirty     bool           // refresh is due
	started   bool           // refresh has been called
	converged bool           // every namespace is swept
	offLink   uint64         // next hops that were on no link of their domain, ever
	reloaded  time.Time      // the last reload
	// linkLocals reports that our link-local address on an uplink has changed, which sessions
	// announce to their peers.
	linkLocals bool
}

// newRouter makes a router for a configuration over namespaces, one for each of
// [config.Config.Namespaces].
func newRouter(log *slog.Logger, now func() time.Time, c *config.Config, e Edge, namespaces ...*netns.Namespace) *router {
	r := &router{evpn: evpnState{core: overlay.New()}, log: log, edge: e, namespaces: namespaces, now: now, domains: map[string]*routing{}, targets: targets{edge: e}}
	r.finders.lines.log = log
	r.announcements.now = func() time.Time { return r.now() }
	r.announcements.ready = func() bool { return r.started && r.unread == (unread{}) }
	r.adopt(c)
	return r
}

// adopt makes a configuration the one that counts. Its namespaces are those of the one before.
func (r *router) adopt(c *config.Config) {
	r.cfg = c
	for i, p := range c.Namespaces() {
		r.namespaces[i].Configure(c, p.Config)
	}
	r.vteps.configure(c.Overlays)
	r.configureEVPN()
	if len(c.Overlays) == 0 {
		return
	}
	for g := range r.all {
		for p := range g.rib.Prefixes {
			r.vteps.note(g.name, p, g.rib.HasBGP(p))
		}
	}
}

// at returns the namespace of a name.
func (r *router) at(n config.NetNS) *netns.Namespace { return at(r.namespaces, n) }

func at(all []*netns.Namespace, n config.NetNS) *netns.Namespace {
	return all[max(0, slices.IndexFunc(all, func(one *netns.Namespace) bool { return one.NetNS() == n }))]
}

// home is where the guests' interfaces are.
func (r *router) home() *netns.Namespace { return r.at(r.cfg.GuestNetNS()) }

// all yields the domains, in the order of the file.
func (r *router) all(yield func(*routing) bool) {
	for _, name := range r.order {
		if !yield(r.domains[name]) {
			return
		}
	}
}

// guestDomain is the domain that guests are in, nil if there is none.
func (r *router) guestDomain() *routing {
	if d := r.cfg.GuestDomain(); d != nil {
		return r.domains[d.Name]
	}
	return nil
}

// addDomain makes a domain of the configuration known.
func (r *router) addDomain(d config.Domain, a announcer) *routing {
	g := newRouting(d, r.at(d.NetNS), a)
	r.announcements.drain(g, r.draining.state)
	r.announceEVPN(g)
	r.domains[d.Name] = g
	r.order = append(r.order, d.Name)
	return g
}

// apply carries out effects: what is withdrawn first, then the kernel, additions before
// deletions. What is to be announced waits for the kernel.
func (r *router) apply(g *routing, fx *domain.Effects) {
	r.announcements.want(g, fx)
	for _, route := range fx.Set {
		r.setRoute(g, route)
	}
	for _, k := range fx.Delete {
		g.namespace.DeleteRoute(k)
	}
	if g == r.guestDomain() {
		r.targets.apply(g, fx)
	}
	r.announcements.flush(g)
	fx.Reset()
}

// setRoute has the kernel route as a domain wants it.
func (r *router) setRoute(g *routing, route domain.Route) {
	if why := g.namespace.SetRoute(route); why != "" {
		r.announcements.refused(g, route.Key, why)
	}
}

// reset sets every route over a link again: its name now stands for another interface index.
func (r *router) reset(p *netns.Namespace, link string) {
	for g := range r.all {
		if g.namespace != p {
			continue
		}
		var over []domain.Route
		for route := range g.rib.Routes {
			if slices.ContainsFunc(route.NextHops, func(hop domain.NextHop) bool { return hop.Link == link }) {
				over = append(over, route)
			}
		}
		slices.SortStableFunc(over, func(a, b domain.Route) int { return a.Prefix.Compare(b.Prefix) })
		for _, route := range over {
			r.setRoute(g, route)
		}
		for _, route := range over {
			if route.Table == g.table && g == r.guestDomain() {
				r.targets.changed(g, route.Prefix)
			}
		}
		r.announcements.flush(g)
	}
}

// sweep removes what an earlier run left over in a namespace, once, when every domain of it is
// there.
func (r *router) sweep() {
	all := true
	for _, p := range r.namespaces {
		if !p.Swept() && r.complete(p) {
			p.Sweep()
			if g := r.guestDomain(); g != nil && p == r.home() {
				r.targets.disinherit(g)
			}
			p.Log().Info("swept", "event", "swept")
			if r.afterSweep != nil {
				r.afterSweep(p)
			}
		}
		all = all && p.Swept()
	}
	if all && !r.converged {
		r.vteps.disown()
		r.syncEVPN()
		r.overlays()
		r.edge.SweepOverlays()
	}
	r.converged = all
}

// ownTables makes tables ours in which an earlier run has left routes, though the configuration has them
// no more: a namespace that is swept has them deleted.
func (r *router) ownTables(n *netns.Namespace, tables []uint32) {
	known := netns.Tables(n.Part())
	for _, table := range tables {
		if slices.Contains(known, table) {
			continue
		}
		n.Log().Info("an earlier run has left routes in a table that the configuration has no more: they are deleted", "event", "table-swept", "table", table)
		if err := n.OwnTable(table); err != nil {
			n.Log().Warn("routes of an earlier run stay", "event", "kernel-error", "table", table, "err", err)
		}
	}
}

// complete reports whether everything is known that the domains of a namespace will have to begin
// with.
func (r *router) complete(p *netns.Namespace) bool {
	if r.unread != (unread{}) {
		return false
	}
	for g := range r.all {
		if g.namespace == p && (!g.converged || !g.learned) {
			return false
		}
	}
	return true
}

// deadline implements clock.
func (r *router) deadline() (next time.Time) {
	for g := range r.all {
		if t := g.exports.Deadline(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if t := r.finders.deadline(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if t := r.evpn.core.Deadline(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if t := r.evpn.again; !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if t := r.movesDeadline(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	if t := r.draining.over; !t.IsZero() && (next.IsZero() || t.Before(next)) {
		next = t
	}
	return next
}

// advance implements clock.
func (r *router) advance(now time.Time) {
	for g := range r.all {
		r.announcements.advance(g, now)
	}
	r.advanceEVPN(now)
	if t := r.evpn.again; !t.IsZero() && !now.Before(t) {
		r.overlays()
	}
	r.drained(now)
	r.forgetMoves(now)
	r.findNeighbors()
}

// onInventory takes what was read; the caller refreshes.
func (r *router) onInventory(n inventoryReading) {
	if n.known {
		n.errs = append(n.errs, r.guests.Replace(guest.FromDirectory, n.directory)...)
		r.unread.directory = false
		if n.whole {
			r.settleMoves(guest.FromDirectory)
		} else {
			r.guests.Unsure(guest.FromDirectory)
		}
	}
	if n.stateKnown {
		n.errs = append(n.errs, r.guests.Replace(guest.FromAPI, n.state)...)
		r.unread.state = false
	}
	r.logRefused(n.errs)
}

// logRefused logs files that could not be read, and guests that were left out.
func (r *router) logRefused(errs []error) {
	for _, err := range errs {
		var file *fs.PathError
		if errors.As(err, &file) {
			r.log.Error("inventory", "event", "inventory-error", "path", file.Path, "err", err)
		} else {
			r.log.Error("guest refused", "event", "guest-refused", "err", err)
		}
	}
}

// admit has the inventory admit by another configuration, and returns who is refused
// that was not before.
func admit(in *guest.Inventory, c *config.Config, h config.Host) []error {
	a := c.Admission(h)
	in.Use(a)
	errs := in.Replace(guest.FromConfig, c.Entries())
	return append(errs, in.Admit(a)...)
}
