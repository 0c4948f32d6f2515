package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"

	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
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
	opt       Options
	log       *slog.Logger
	journal   *journal.Journal // of what is logged
	loop      loop
	router    *router
	pumps     *pumps
	failover  *failover.Monitor
	sessions  *sessions.Speakers
	inventory *inventory
	reloader  *reloader
	started   time.Time
	again     bool               // routes of an earlier run were found
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

func newTasks(ctx context.Context) *tasks {
	t := &tasks{}
	t.ctx, t.fail = context.WithCancelCause(ctx)
	return t
}

// end ends the tasks and waits for them.
func (t *tasks) end() {
	t.fail(nil)
	t.wg.Wait()
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

// ended returns why a kernel has ended, of which err is what its readers got.
func (t *tasks) ended(err error) error {
	if !errors.Is(err, fib.ErrClosed) && !errors.Is(err, context.Canceled) {
		return err
	}
	<-t.ctx.Done() // by the error of its Run, or the end of us all
	return context.Cause(t.ctx)
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
	t := newTasks(ctx)
	m, err := d.open(t, c)
	defer m.close() // once no task uses it
	defer t.end()
	if err != nil {
		return err
	}
	return d.work(t, c, m, socket)
}

// work is the daemon at work, from the first reading of the kernel until the end.
func (d *Daemon) work(t *tasks, c *config.Config, m opened, socket net.Listener) error {
	if err := d.begin(t, c, m); err != nil {
		return err
	}
	d.pumps.start(t, c)
	d.reloader = &reloader{opt: d.opt, log: d.log, loop: d.loop, router: d.router, sessions: d.sessions}
	t.start("API", func(ctx context.Context) error { return api.ServeOn(ctx, socket, backend{d, ctx}) })
	t.start("reload", d.reloader.onSignals)
	t.start("watchdog", d.alive)
	t.start("namespaces", func(ctx context.Context) error { netns.WatchNames(ctx, m.namespaces); return nil })
	t.start("inventory", d.inventory.follow)
	t.start("", d.reloader.becomeReady)
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

// alive calls Alive on the loop every now and then.
func (d *Daemon) alive(ctx context.Context) error {
	for d.opt.AliveEvery > 0 && pause(ctx, d.opt.AliveEvery) == nil {
		d.loop.do(ctx, d.opt.Alive)
	}
	return nil
}
