package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
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
	// Ready is called once everything runs. May be nil.
	Ready func()
	// Alive is called by the loop every AliveEvery: a loop that hangs is silent. 0
	// is never.
	Alive      func()
	AliveEvery time.Duration
}

// Daemon is a running hvrouter.
type Daemon struct {
	opt     Options
	log     *slog.Logger
	loop    loop
	router  *router
	fib     *fib.FIB
	events  *fib.Watcher
	bfd     bfd.Service   // nil: off
	bfdLost chan struct{} // the BFD process may be gone
	guard   *guard
	speaker speakers
	wall    *wall.Wall
	started time.Time
	again   bool               // routes of an earlier run were found
	ctx     context.Context    // of the run
	leave   context.CancelFunc // ends the run, after drain
}

// Run is hvrouter until ctx ends. It then leaves everything in the kernel, closes
// the BGP sessions without a word, and lets the BFD process live. An error means
// that it could not start or could not go on.
func Run(ctx context.Context, c *config.Config, opt Options) error {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	d := &Daemon{opt: opt, log: opt.Log, loop: make(loop), bfdLost: make(chan struct{}, 1), started: time.Now(), leave: leave, speaker: speakers{}}
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
			t.fail(fmt.Errorf("%s: %w", what, err))
		}
	})
}

func (d *Daemon) run(ctx context.Context, c *config.Config) error {
	t := &tasks{}
	t.ctx, t.fail = context.WithCancelCause(ctx)
	defer t.wg.Wait()
	defer t.fail(nil)
	d.ctx = t.ctx
	socket, err := api.Listen(c.API) // first: a second daemon must not touch anything
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := d.openKernel(t, c); err != nil {
		return err
	}
	if err := d.openPeers(t, c); err != nil {
		return err
	}
	t.start("kernel events", func(ctx context.Context) error { return d.pumpKernel(ctx, d.events) })
	d.startLearning(t, c)
	t.start("API", func(ctx context.Context) error { return api.ServeOn(ctx, socket, d) })
	t.start("reload", d.reloads)
	t.start("wall", d.mendWalls)
	t.start("watchdog", d.alive)
	t.start("inventory", func(ctx context.Context) error { return watchDirectory(ctx, c.Inventory.Directory, d.rescan) })
	if d.opt.Ready != nil {
		d.opt.Ready()
	}
	d.log.Info("running", "event", "running", "restarted", d.again)
	d.loop.run(t.ctx)
	if err := context.Cause(t.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// openKernel reads the kernel, adopts what an earlier run left, and makes the
// router with everything that needs no peer.
func (d *Daemon) openKernel(t *tasks, c *config.Config) (err error) {
	d.fib, err = fib.Open(fib.Config{Tables: tables(c), OnForeign: fib.ForeignWait})
	if err != nil {
		return err
	}
	watcher := d.fib.Watch(fib.WatchOptions{Buffer: eventBuffer})
	t.start("kernel", d.fib.Run)
	edge, err := eg.Open(d.log)
	if err != nil {
		return err
	}
	t.start("edge", edge.Run)
	d.wall = wall.New("")
	r := newRouter(d.log, d.fib, edge, d.wall)
	r.cfg, d.router = c, r
	if err := d.openBFD(t, c); err != nil {
		return err
	}
	r.guard = d.guard
	for synced := false; !synced; {
		events, err := watcher.Next(t.ctx)
		if err != nil {
			return errors.Join(err, context.Cause(t.ctx))
		}
		d.observe(events)
		synced = slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventSynced })
	}
	d.observe(d.recount()) // events of the first reading may be on their way, or lost
	d.again = leftOver(d.fib.Routes())
	d.events = watcher
	return nil
}

// alive says every now and then that the loop turns.
func (d *Daemon) alive(ctx context.Context) error {
	for d.opt.AliveEvery > 0 && pause(ctx, d.opt.AliveEvery) == nil {
		d.loop.do(ctx, d.opt.Alive)
	}
	return nil
}

// tables lists the tables that are ours.
func tables(c *config.Config) (ids []uint32) {
	for _, d := range c.Domains {
		ids = append(ids, d.Table.ID)
	}
	if c.LocalOut != nil {
		ids = append(ids, c.LocalOut.Table.ID)
	}
	return ids
}

// leftOver tells whether an earlier run's routes still forward: the F bit is the
// truth only then.
func leftOver(routes iter.Seq[fib.RouteStatus]) bool {
	for r := range routes {
		if r.State == fib.RouteStale && !r.Scaffold && (r.Type == fib.Unicast || r.Type == 0) {
			return true
		}
	}
	return false
}

// eventBuffer is how many kernel events may wait for us: the first reading has one
// for each interface and address, of thousands of guests.
const eventBuffer = 1 << 18

// recount makes up for lost events with what the kernel has now.
func (d *Daemon) recount() (events []fib.Event) {
	there := map[int]bool{}
	for _, l := range d.fib.Links() {
		there[l.Index] = true
		events = append(events, fib.Event{Kind: fib.EventLink, Link: l})
		if d.router.isUplink(l.Name) {
			events = append(events, addresses(l)...)
		}
	}
	for index, l := range d.router.links.byIndex {
		if !there[index] {
			events = append(events, fib.Event{Kind: fib.EventLinkGone, Link: l})
		}
	}
	return events
}

func addresses(l fib.Link) (events []fib.Event) {
	i, err := net.InterfaceByIndex(l.Index)
	if err != nil {
		return nil // gone again: an event follows
	}
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			events = append(events, fib.Event{Kind: fib.EventAddress, Link: l, Addr: p})
		}
	}
	return events
}

// observe takes kernel events before the loop runs, or on it.
func (d *Daemon) observe(events []fib.Event) {
	if slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventLost }) {
		events = append(events, d.recount()...)
	}
	for _, e := range events {
		switch e.Kind {
		case fib.EventLink:
			d.guard.link(e.Link, false)
		case fib.EventLinkGone:
			d.guard.link(e.Link, true)
		}
	}
	d.router.take(events)
}

// pumpKernel brings the kernel's events to the loop. Loss of carrier goes to BGP
// first: it ends sessions whatever the loop is busy with (R45).
func (d *Daemon) pumpKernel(ctx context.Context, w *fib.Watcher) error {
	up := map[string]bool{}
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == fib.EventLink || e.Kind == fib.EventLinkGone {
				now := e.Kind == fib.EventLink && e.Link.Up()
				if was, known := up[e.Link.Name]; !now && (was || !known) {
					d.speaker.LinkDown(e.Link.Name)
				}
				up[e.Link.Name] = now
			}
		}
		if !d.loop.do(ctx, func() {
			d.observe(events)
			if d.router.dirty {
				d.router.refresh()
			}
		}) {
			return nil
		}
	}
}

// openPeers makes speakers and BFD sessions and sets everything that follows from
// the configuration.
func (d *Daemon) openPeers(t *tasks, c *config.Config) error {
	r := d.router
	for i, dom := range c.Domains {
		s, err := newSpeaker(d.log, c, dom, d.again && !c.BGP.GracefulRestart.Off, &r.links)
		if err != nil {
			return err
		}
		d.speaker[dom.Name] = s
		r.addDomain(i, s)
	}
	d.loadInventory(c)
	r.neighbours = false // the sessions are configured below, for the first time
	r.refresh()
	for _, dom := range c.Domains {
		s := d.speaker[dom.Name]
		s.Configure(c, dom)
		t.start("BGP "+dom.Name, s.Run)
		t.start("", func(ctx context.Context) error { s.tell(ctx); return nil })
		t.start("", func(ctx context.Context) error { s.watch(ctx, d.loop, r, r.domains[dom.Name]); return nil })
	}
	return d.watchBFD(t, c)
}

func (d *Daemon) loadInventory(c *config.Config) {
	r := d.router
	r.store = guest.Store{Path: c.Inventory.State}
	r.refuse(r.guests.Replace(guest.FromConfig, c.Guests))
	files, errs := guest.ReadDirectory(c.Inventory.Directory)
	r.refuse(append(errs, r.guests.Replace(guest.FromDirectory, files)...))
	kept, err := r.store.Load()
	if err != nil {
		r.refuse([]error{err})
	}
	r.refuse(r.guests.Replace(guest.FromAPI, kept))
}

// startLearning brings foreign routes to the loop.
func (d *Daemon) startLearning(t *tasks, c *config.Config) {
	for _, dom := range c.Domains {
		g := d.router.domains[dom.Name]
		if !dom.Learns() {
			g.bgp.InventoryComplete()
			continue
		}
		l := d.fib.Learn(fib.Filter{Tables: []uint32{dom.Table.ID}})
		t.start("learning "+dom.Name, func(ctx context.Context) error {
			defer l.Close()
			buf := make([]fib.LearnChange, changesAtOnce)
			for {
				n, synced, err := l.Next(ctx, buf)
				if err != nil {
					return err
				}
				if !d.loop.do(ctx, func() { d.router.onLearned(g, buf[:n], synced) }) {
					return nil
				}
			}
		})
	}
}

// hasAddress tells whether an address of ours exists.
func (l *links) hasAddress(a netip.Addr) bool {
	for _, addrs := range l.addrs {
		for p := range addrs {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}
