package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// Core is hvrouter at work without goroutines, sockets, files or clock: its caller is its loop, as
// package raft's RawNode is without its Node. It shares everything that decides with the daemon
// that [Run] runs. All calls come from one goroutine.
//
// The caller calls Step until it returns false: whenever a kernel has something, after it has
// reported something to the driver of a speaker, after each call of another method, and at
// Deadline. With a clock, kernels and
// speakers that are deterministic, the calls of a Core are, and so is its log.
type Core struct {
	config   CoreConfig
	router   *router
	sessions *sessions.Speakers
	done     context.Context // has ended: nothing is waited for

	unread   []*netns.Namespace // that are to be read for the first time, in this order
	running  bool               // everything has been read, and routing has begun
	again    bool               // routes of an earlier run were found
	kernels  []kernelReader
	learners []learner
	changes  []fib.RouteChange // scratch
	learned  []fib.LearnChange // scratch
	asked    time.Time         // before which nobody's questions are looked at again
	ready    bool              // every session is up and has said everything, or has had the time to
	readyFor string            // which sessions are
	ended    bool
	err      error // why it ended; nil if it was asked to
}

// CoreConfig is what a [Core] works with.
type CoreConfig struct {
	Log     *slog.Logger     // takes the daemon's events; nil discards them
	Now     func() time.Time // required
	Config  *config.Config   // required
	Kernels []netns.Kernel   // required: one for each of Config.Namespaces; a Core does not call Run
	// Firewalls has one for each of the namespaces; nil is none. A Core calls nothing but Apply,
	// End and Drops.
	Firewalls []netns.Firewall
	// BFD is where the BFD sessions are; nil is nowhere. A Core calls neither Run nor Watch:
	// events come by [Core.BFD].
	BFD bfd.Service
	// BGP changes the configuration of each speaker before it is made, and so sets its Transport
	// and Random. The Core starts, advances and stops the speakers' drivers; what the network does
	// the caller reports to them. A speaker without a Transport has no sessions.
	BGP func(*bgp.Config)
	// Edge is the side towards the guests; [eg.Answers] is one without sockets, which nil is, too.
	// If nothing was seen or heard, Sightings and Heard return the error of their context, which
	// has ended.
	Edge Edge
	// Host is what guests are checked against besides the configuration.
	Host config.Host
	// Stored are the guests that came over the API in earlier runs. Store keeps those that there
	// are from now on; if it fails, the change is not made. nil keeps nothing.
	Stored []config.Entry
	Store  func([]config.Guest) error
	// Drain is the drain of an earlier run, as [Core.DrainState] returned it.
	Drain DrainState
	// Moves are those of guests of the configuration in earlier runs, as [Core.Moves] returned them.
	Moves []guest.Moved
}

// NewCore makes a Core. Of the kernels it begins to take the events, before they run.
func NewCore(c CoreConfig) (*Core, error) {
	parts := c.Config.Namespaces()
	if len(c.Kernels) != len(parts) || c.Firewalls != nil && len(c.Firewalls) != len(parts) {
		return nil, fmt.Errorf("%d network namespaces, with %d kernels and %d firewalls", len(parts), len(c.Kernels), len(c.Firewalls))
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Edge == nil {
		c.Edge = &eg.Answers{}
	}
	done, end := context.WithCancel(context.Background())
	end()
	d := &Core{config: c, done: done, changes: make([]fib.RouteChange, changesAtOnce), learned: make([]fib.LearnChange, changesAtOnce), sessions: sessions.New(sessions.Config{Log: c.Log, Now: c.Now, BGP: c.BGP})}
	for i, p := range parts {
		n := netns.Config{Log: c.Log, NetNS: p.NetNS, Path: p.NetNS.Path(), Kernel: c.Kernels[i]}
		if c.Firewalls != nil {
			n.Firewall = c.Firewalls[i]
		}
		d.unread = append(d.unread, netns.New(n))
	}
	d.router = newRouter(c.Log, c.Now, c.Config, c.Edge, d.unread...)
	d.router.failover = newFailover(c.Log, c.Now, d.unread, d.sessions, c.BFD)
	return d, nil
}

// kernelReader reads what a kernel says, once routing has begun.
type kernelReader struct {
	*netns.Namespace
	carriers carriers
	routes   netns.RouteChanges
}

// learner reads the foreign routes of a domain's table.
type learner struct {
	*routing
	changes netns.LearnChanges
}

// Step takes what each source has now, in a fixed order, and does what is due. It reports whether
// there may be more to do at once.
func (c *Core) Step() (more bool) {
	switch {
	case c.ended:
		return false
	case !c.running:
		return c.read()
	}
	for i := range c.kernels {
		more = c.kernelEvents(&c.kernels[i]) || more
	}
	for i := range c.kernels {
		more = c.routeChanges(&c.kernels[i]) || more
	}
	for _, l := range c.learners {
		more = c.learn(l) || more
	}
	more = c.router.failover.Step() || more
	more = c.sessions.Step(c.done) || more
	more = c.guestsSay() || more
	c.advance()
	return more && !c.ended
}

// Deadline returns when Step has something to do although no source has anything, the zero time if
// never.
func (c *Core) Deadline() time.Time {
	var next time.Time
	if c.ended || !c.running {
		return next
	}
	due := []time.Time{c.router.deadline(), c.sessions.Deadline(), c.router.failover.Deadline(), c.asked}
	if !c.ready {
		_, until := c.sessions.Synced()
		due = append(due, until)
	}
	for _, t := range due {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// due reports whether a deadline has come.
func (c *Core) due(t time.Time) bool { return !t.IsZero() && !c.config.Now().Before(t) }

// BFD takes what BFD says of a session: once for each session that exists when it is added, and
// then every change.
func (c *Core) BFD(e bfd.Event) { c.router.failover.Event(e) }

// Speakers returns the BGP speakers, in the order of their domains, none before routing has begun:
// what the network does is reported to their drivers, and Step called then.
func (c *Core) Speakers() []*bgp.Speaker { return c.sessions.BGP() }

// fail ends everything because of an error of a source.
func (c *Core) fail(what string, err error) {
	c.ended, c.err = true, fmt.Errorf("%s: %w", what, err)
}

// nothing reports whether err says that a source has nothing. Any other one ends the Core.
func (c *Core) nothing(what string, err error) bool {
	if err != nil && !errors.Is(err, context.Canceled) {
		c.fail(what, err)
	}
	return err != nil
}

// read reads the kernels for the first time, and begins routing when all have been.
func (c *Core) read() (more bool) {
	for len(c.unread) > 0 {
		n := c.unread[0]
		complete, err := n.ReadFirst(c.done, func(events []fib.Event) { c.router.observe(n, events) })
		if c.nothing("kernel", err) {
			return false
		}
		if complete {
			c.again = c.again || n.Continues()
			c.unread = c.unread[1:]
		}
	}
	if err := c.begin(); err != nil {
		c.ended, c.err = true, err
	}
	return !c.ended
}

// begin begins routing.
func (c *Core) begin() error {
	r := c.router
	if err := r.addDomains(c.sessions); err != nil {
		return err
	}
	r.setDrain(c.config.Drain)
	r.guests.SetMoves(c.config.Moves)
	r.firstInventory(c.config.Host, inventoryReading{known: true, state: c.config.Stored, stateKnown: true})
	r.begin()
	r.configureSessions()
	if err := c.sessions.Begin(sink{r}); err != nil {
		return err
	}
	r.failover.Configure(r.cfg)
	if err := r.failover.Begin(); err != nil {
		return fmt.Errorf("BFD: %w", err)
	}
	r.announceComplete()
	for _, n := range r.namespaces {
		c.kernels = append(c.kernels, kernelReader{n, carriers{sessions: c.sessions, netns: n.NetNS()}, n.WatchRoutes()})
	}
	r.startLearning = c.startLearning
	for g := range r.all {
		if r.cfg.Domain(g.name).Redistributes() {
			g.unlearn = c.startLearning(g)
		}
	}
	c.running = true
	c.config.Log.Info("running", "event", "running", "restarted", c.again)
	return nil
}

// startLearning starts to take the foreign routes of a domain's table, until the function that is
// returned is called.
func (c *Core) startLearning(g *routing) (end func()) {
	l := learner{g, g.learner()}
	c.learners = append(c.learners, l)
	return func() {
		c.learners = slices.DeleteFunc(slices.Clone(c.learners), func(o learner) bool { return o == l })
		l.changes.Close()
	}
}

func (c *Core) kernelEvents(k *kernelReader) (more bool) {
	events, err := k.Next(c.done)
	if c.nothing("kernel events", err) {
		return false
	}
	k.carriers.take(events)
	c.router.onEvents(k.Namespace, events)
	return true
}

func (c *Core) routeChanges(k *kernelReader) (more bool) {
	n, err := k.routes.Next(c.done, c.changes)
	if c.nothing("kernel routes", err) {
		return false
	}
	c.router.onRoutes(k.Namespace, c.changes[:n])
	return true
}

func (c *Core) learn(l learner) (more bool) {
	n, err := l.changes.Next(c.done, c.learned)
	if c.nothing("learning "+l.name, err) {
		return false
	}
	c.router.onLearned(l.routing, c.learned[:n])
	return true
}

// guestsSay takes what was seen of guests' addresses, and who asked.
func (c *Core) guestsSay() (more bool) {
	if list, err := c.config.Edge.Sightings(c.done); err == nil {
		c.router.onSightings(list)
		more = true
	}
	if !c.asked.IsZero() && !c.due(c.asked) {
		return more
	}
	c.asked = time.Time{}
	if list, err := c.config.Edge.Heard(c.done); err == nil {
		c.router.onAskers(list)
		c.asked = c.config.Now().Add(askerPause)
		more = true
	}
	return more
}

// advance does what is due.
func (c *Core) advance() {
	if c.due(c.router.deadline()) {
		c.router.advance(c.config.Now())
	}
	if !c.ready {
		c.becomeReady()
	}
}

// becomeReady notes when every session is up and all of its routes have come, or time is over.
func (c *Core) becomeReady() {
	if synced, _ := c.sessions.Synced(); synced {
		c.ready, c.readyFor = true, readiness(c.sessions)
		c.config.Log.Info("ready", "event", "ready", "why", c.readyFor)
	}
}

// sink takes the paths of the domains, on the loop.
type sink struct{ router *router }

var _ sessions.Sink = sink{}

// Paths implements [sessions.Sink].
func (s sink) Paths(_ context.Context, domain string, u sessions.Update) {
	s.router.onPaths(s.router.domains[domain], u)
}

// EVPN implements [sessions.Sink].
func (s sink) EVPN(_ context.Context, domain string, changes []sessions.EVPN, more bool) {
	s.router.onEVPN(domain, changes, more)
}

// Dead implements [sessions.Sink].
func (s sink) Dead(_ context.Context, domain string, dead failover.Dead) []netip.Prefix {
	return s.router.onDead(s.router.domains[domain], dead)
}

// errNotRunning: nothing is changed before routing has begun, or after the end.
var errNotRunning = errors.New("not running")

// change changes guests that came over the API.
func (c *Core) change(do guestChange) error {
	if c.ended || !c.running {
		return errNotRunning
	}
	next, err := c.router.tryChange(do)
	if err != nil {
		return err
	}
	if c.config.Store == nil {
		return c.router.change(do)
	}
	if err := c.config.Store(next); err != nil {
		return err
	}
	if err := c.router.change(do); err != nil {
		return errors.Join(err, c.config.Store(c.router.guests.FromAPI())) // as it is
	}
	return nil
}
