package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
)

// Options is what a run needs besides the configuration.
type Options struct {
	// ConfigFile is read again at a reload. Required.
	ConfigFile string
	// Log takes the daemon's events; nil discards them.
	Log *slog.Logger
	// Reload asks for a reload, as SIGHUP does. May be nil.
	Reload <-chan os.Signal
	// StartBFD starts the separate BFD process on the socket; it is called only if
	// no process answers there.
	StartBFD func(c config.BFD) error
	// Ready is called once everything runs and every session is up and has said
	// everything, or has had the deferral time to; why says which. It is called after each
	// reload as well, if it was before. May be nil.
	Ready func(why string)
	// Reloading is called when a reload begins. May be nil.
	Reloading func()
	// Alive is called by the loop every AliveEvery: a loop that hangs is silent. 0
	// is never.
	Alive      func()
	AliveEvery time.Duration
}

// Daemon is a running hvrouter.
type Daemon struct {
	opt        Options
	log        *slog.Logger
	journal    *journal.Journal // of what is logged
	loop       loop
	router     *router
	edge       *eg.Edge
	namespaces []*netns.Namespace // the daemon's own first
	underlay   *os.File           // the namespace of overlays' packets, if no other path leads there
	bfd        *failover.Process
	failover   *failover.Monitor
	sessions   *sessions.Speakers
	files      files.Reader
	// Who reads what guests there are; of followInventory once the loop runs.
	inventory *inventory
	changing  sync.Mutex // guests over the API
	reloading sync.Mutex // the configuration
	isReady   bool       // guarded by reloading
	started   time.Time
	again     bool               // routes of an earlier run were found
	ctx       context.Context    // of the run
	leave     context.CancelFunc // ends the run, after drain
}

// Run is hvrouter until ctx ends. It then leaves everything in the kernel, closes
// the BGP sessions without a word, and lets the BFD process live. An error means
// that it could not start or could not go on.
func Run(ctx context.Context, c *config.Config, opt Options) error {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	events := &journal.Journal{}
	log := slog.New(events.Handler(opt.Log.Handler()))
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	d := &Daemon{opt: opt, log: log, journal: events, loop: make(loop), started: time.Now(), leave: leave, sessions: sessions.New(log)}
	return d.run(ctx, c)
}

// tasks runs goroutines of which one's failure ends all.
type tasks struct {
	ctx  context.Context
	fail context.CancelCauseFunc
	wg   sync.WaitGroup
}

func (t *tasks) start(what string, f func(context.Context) error) {
	t.wg.Go(func() {
		if err := f(t.ctx); err != nil && t.ctx.Err() == nil {
			if what != "" {
				err = fmt.Errorf("%s: %w", what, err)
			}
			t.fail(err)
		}
	})
}

func (d *Daemon) run(ctx context.Context, c *config.Config) error {
	if err := host.Rights(c); err != nil {
		return err
	}
	socket, unlock, err := api.Only(ctx, c.API) // first: a second daemon must not touch anything
	if err != nil {
		return err
	}
	defer unlock() // last
	defer socket.Close()
	t := &tasks{}
	t.ctx, t.fail = context.WithCancelCause(ctx)
	defer d.release()
	defer t.wg.Wait()
	defer t.fail(nil)
	d.ctx = t.ctx
	if err := d.openKernel(t, c); err != nil {
		return err
	}
	if err := d.openPeers(t, c); err != nil {
		return err
	}
	for _, n := range d.namespaces {
		t.start("kernel events", func(ctx context.Context) error { return d.pumpKernel(ctx, n) })
		t.start("kernel routes", func(ctx context.Context) error { return d.pumpRoutes(ctx, n) })
	}
	d.startLearning(t, c)
	t.start("API", func(ctx context.Context) error { return api.ServeOn(ctx, socket, d) })
	t.start("reload", d.reloads)
	d.startFirewalls(t)
	t.start("memory", d.trimMemory)
	t.start("watchdog", d.alive)
	t.start("namespaces", func(ctx context.Context) error { netns.WatchNames(ctx, d.namespaces); return nil })
	t.start("inventory", d.followInventory)
	t.start("", d.becomeReady)
	d.log.Info("running", "event", "running", "restarted", d.again)
	d.loop.run(t.ctx, d.router)
	if err := context.Cause(t.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// alive says every now and then that the loop turns.
func (d *Daemon) alive(ctx context.Context) error {
	for d.opt.AliveEvery > 0 && pause(ctx, d.opt.AliveEvery) == nil {
		d.loop.do(ctx, d.opt.Alive)
	}
	return nil
}

// openPeers makes speakers and BFD sessions and sets everything that follows from
// the configuration.
func (d *Daemon) openPeers(t *tasks, c *config.Config) error {
	r := d.router
	for i, dom := range c.Domains {
		m, err := d.sessions.Add(c, dom, r.at(dom.NetNS))
		if err != nil {
			return err
		}
		r.addDomain(i, m)
	}
	if home := r.home(); home.Continues() {
		r.leftover = home.Kernel().Routes()
	}
	d.loadInventory(t.ctx, c)
	r.adoptFound(r.home().Kernel().Routes())
	for _, n := range d.namespaces {
		r.adoptVTEPs(n.Kernel().Routes())
	}
	r.neighbours = false // the sessions are configured below, for the first time
	r.refresh()
	t.start("edge", d.edge.Run) // now that it serves everybody who is here
	for _, dom := range c.Domains {
		r.domains[dom.Name].bgp.Configure(c, dom)
	}
	t.start("", func(ctx context.Context) error { return d.sessions.Run(ctx, d) })
	d.failover.Configure(c)
	t.start("BFD events", d.failover.Run)
	return nil
}

// startFirewalls begins to repair the firewalls: at once when a change is heard of, and every
// now and then for one that is not.
func (d *Daemon) startFirewalls(t *tasks) {
	t.start("firewall", func(ctx context.Context) error {
		for pause(ctx, netns.RepairTime) == nil {
			d.loop.do(ctx, func() {
				for _, n := range d.namespaces {
					n.RepairFirewall()
				}
			})
		}
		return nil
	})
	for _, n := range d.namespaces {
		table := n.Part().Firewall.Table
		t.start("firewall", func(ctx context.Context) error {
			n.FollowFirewall(ctx, table, func(f func()) { d.loop.do(ctx, f) })
			return nil
		})
		t.start("connections", func(ctx context.Context) error { n.BalanceFlows(ctx); return nil })
	}
}

// release closes what was opened, once nothing uses it any more.
func (d *Daemon) release() {
	if d.edge != nil {
		d.edge.Close() // it may not have run
	}
	if d.underlay != nil {
		d.underlay.Close()
	}
	netns.Close(d.namespaces)
}

// startLearning brings foreign routes to the loop.
func (d *Daemon) startLearning(t *tasks, c *config.Config) {
	r := d.router
	for _, dom := range c.Domains {
		g := r.domains[dom.Name]
		if !dom.Redistributes() {
			r.completeInventory(g)
			continue
		}
		l := r.at(dom.NetNS).Kernel().Learn(fib.Filter{Tables: []uint32{dom.Table.ID}})
		t.start("learning "+dom.Name, func(ctx context.Context) error {
			defer l.Close()
			buf := make([]fib.LearnChange, routesAtOnce)
			for {
				n, synced, err := l.Next(ctx, buf)
				if err != nil {
					return err
				}
				if !d.loop.do(ctx, func() { r.onLearned(g, buf[:n], synced) }) {
					return nil
				}
			}
		})
	}
}
