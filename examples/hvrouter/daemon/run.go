package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// Run is hvrouter until ctx ends. It then leaves everything in the kernel, closes
// the BGP sessions without a word, and lets the BFD process live. An error means
// that it could not start or could not go on.
func Run(ctx context.Context, c *config.Config, opt Options) error {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	events := &journal.Journal{}
	log := slog.New(events.Handler(opt.Log.Handler()))
	d := &Daemon{opt: opt, log: log, journal: events, loop: make(loop), started: time.Now(), stateDirectory: c.StateDirectory, sessions: sessions.New(sessions.Config{Log: log, Now: time.Now})}
	return d.run(ctx, c)
}

func (d *Daemon) run(ctx context.Context, c *config.Config) error {
	if err := host.Rights(c); err != nil {
		return err
	}
	if _, err := api.LookupGroup(c.APIGroup); err != nil {
		return err
	}
	socket, unlock, err := api.Only(ctx, c.API) // first: a second daemon must not touch anything
	if err != nil {
		return err
	}
	defer unlock() // last
	defer socket.Close()
	if c, err = d.counts(c); err != nil {
		return err
	}
	defer d.keepHistory()() // once nothing happens any more
	t := newTasks(ctx)
	m, err := d.open(t, c)
	defer m.close() // once no task uses it
	defer t.end()
	if err != nil {
		return err
	}
	return d.work(t, c, m, socket)
}

// counts returns the configuration that counts now that no other daemon runs: the one before may
// have decided about a reload after c was read.
func (d *Daemon) counts(c *config.Config) (*config.Config, error) {
	f := confirm.Files{Config: d.opt.ConfigFile}
	if text, err := f.Text(); err != nil || c.Text() == "" || string(text) == c.Text() {
		return c, nil
	}
	return f.Load()
}

// work is the daemon at work, from the first reading of the kernel until the end.
func (d *Daemon) work(t *tasks, c *config.Config, m opened, socket net.Listener) error {
	if err := d.begin(t, c, m); err != nil {
		return err
	}
	d.pumps.start(t, c)
	d.reloader = &reloader{opt: d.opt, log: d.log, loop: d.loop, router: d.router, sessions: d.sessions, rights: host.Rights, trial: newTrial(d.opt.ConfigFile), access: &api.Access{}}
	if err := d.reloader.access.Share(c.API, c.APIGroup); err != nil {
		return err
	}
	t.start("API", func(ctx context.Context) error { return api.ServeOn(ctx, socket, d.reloader.access, backend{d, ctx}) })
	if c.Metrics != "" {
		pages, err := net.Listen("tcp", c.Metrics)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		t.start("metrics", func(ctx context.Context) error { return api.ServeMetrics(ctx, pages, backend{d, ctx}) })
	}
	t.start("reload", d.reloader.onSignals)
	t.start("confirmation", d.reloader.follow)
	t.start("watchdog", d.alive)
	t.start("BFD", d.watchUnwatched)
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

// alive calls Alive on the loop every now and then.
func (d *Daemon) alive(ctx context.Context) error {
	for d.opt.AliveEvery > 0 && pause(ctx, d.opt.AliveEvery) == nil {
		d.loop.do(ctx, d.opt.Alive)
	}
	return nil
}
