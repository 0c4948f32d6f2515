package daemon

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// inventory brings the loop what guests there are besides the configuration: those of a
// directory, and those that came over the API, which it keeps in a file.
type inventory struct {
	log    *slog.Logger
	loop   loop
	router *router
	store  *guest.Store
	reader inventoryReader
	moves  stateWriter

	changing sync.Mutex // guests over the API
}

// newInventory makes the inventory of a configuration. load comes before the loop runs, and
// follow, which is one goroutine's, after it.
func newInventory(log *slog.Logger, c *config.Config, l loop, r *router, moves stateWriter) *inventory {
	store := &guest.Store{Path: c.Inventory.State}
	return &inventory{log: log, loop: l, router: r, store: store, moves: moves, reader: inventoryReader{path: c.Inventory.Directory, store: store}}
}

// load reads everything for the first time.
func (v *inventory) load(ctx context.Context, c *config.Config) {
	r := v.router
	h := facts(v.log, c)
	r.firstInventory(h, v.reader.read(ctx, true))
	if what := r.unread.String(); what != "" {
		v.log.Error("not read yet: routes of an earlier run stay as they are", "event", "inventory-unread", "what", what)
	}
}

// facts reads what guests are checked against besides the configuration.
func facts(log *slog.Logger, c *config.Config) config.Host {
	h, err := host.Facts(c)
	if err != nil {
		log.Warn("what the host has is not known", "event", "host-unknown", "err", err)
	}
	return h
}

// follow reads again what has not answered, and the directory whenever it changes, until ctx
// ends.
func (v *inventory) follow(ctx context.Context) error {
	w := directoryWatcher{files: &v.reader.files, path: v.reader.path}
	defer w.close()
	for ctx.Err() == nil {
		if v.rescan(ctx) {
			_ = pause(ctx, readTime)
			continue
		}
		if err := w.wait(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("inventory directory", "event", "inventory-watch", "err", err)
		}
	}
	return nil
}

// rescan reads what has not answered and the directory, and reports whether something is still
// missing.
func (v *inventory) rescan(ctx context.Context) (missing bool) {
	var c *config.Config
	state := false
	v.loop.do(ctx, func() { c, state = v.router.cfg, v.router.unread.state })
	if c == nil {
		return false
	}
	n := v.reader.read(ctx, state)
	h := facts(v.log, c)
	v.loop.do(ctx, func() {
		r := v.router
		was := r.unread
		r.guests.Use(r.cfg.Admission(h))
		r.onInventory(n)
		r.refresh()
		if was != r.unread {
			r.log.Info("read", "event", "inventory-read", "left", r.unread.String())
			r.sweep()
		}
		missing = r.unread != unread{}
	})
	return missing
}

// askTime is how long a file system may take before a request over the API fails, and nothing was
// done.
const askTime = 5 * time.Second

// move moves a guest. What that says of one of a file is in the state directory when move returns,
// or what it returns says why it is not, as health does.
func (v *inventory) move(ctx context.Context, name string, m api.Move) (done api.Done, err error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	moved, stands, dir := false, false, ""
	if !v.loop.do(ctx, func() {
		moved = v.router.moveOfFile(name, m)
		stands = slices.ContainsFunc(v.router.guests.Moves(), func(m guest.Moved) bool { return m.Guest == name })
		dir = v.router.cfg.StateDirectory
	}) {
		return done, context.Canceled
	}
	if !moved {
		return done, v.changeAPI(ctx, moves(name, m))
	}
	writing, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := v.moves.flush(writing); err != nil {
		done.Unwritten = "a restart of the daemon undoes the move: " + err.Error()
	} else if stands && inMemory(dir) {
		done.Volatile = "a restart of the host undoes the move: " + dir + " is in memory only (state-directory)"
	}
	v.settle(writing)
	return done, nil
}

// change changes guests that came over the API, and brings everything in line. It writes the
// state file first: what would not outlive a restart is not done. Changes wait for each other.
func (v *inventory) change(ctx context.Context, do guestChange) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	return v.changeAPI(ctx, do)
}

func (v *inventory) changeAPI(ctx context.Context, do guestChange) error {
	r := v.router
	var write func(context.Context) error
	err := context.Canceled
	v.loop.do(ctx, func() {
		var next []config.Guest
		if next, err = r.tryChange(do); err == nil {
			write = v.store.Queue(next)
		}
	})
	if err != nil {
		return err
	}
	writing, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err = write(writing)
	v.loop.do(ctx, func() {
		if err == nil {
			err = r.change(do)
		}
		if err != nil {
			v.store.Queue(r.guests.FromAPI()) // as it is
		}
	})
	if err == nil {
		v.settle(writing)
	}
	return err
}

// settle waits until the kernel has taken, or refused, what is desired in the guests'
// namespace.
func (v *inventory) settle(ctx context.Context) {
	var k netns.Kernel
	v.loop.do(ctx, func() { k = v.router.home().Kernel() })
	if k != nil {
		_ = k.Flush(ctx) // what failed comes as an event
	}
}
