package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
)

// Files are read outside of the loop, by a goroutine that waits for a file system no
// longer than readTime: one that does not answer makes nobody else wait, and what it has
// is taken when it does. Until then nothing is concluded from its silence: routes that an
// earlier run left are not swept, and our End-of-RIB is held back.

// readTime is how long a file system may take to answer.
const readTime = 3 * time.Second

// inventory reads what guests there are besides the configuration.
type inventory struct {
	files     *files.Reader
	path      string
	directory guest.Directory
	store     *guest.Store
	said      string // the errors of the last time
}

// inventoryNews is what was read.
type inventoryNews struct {
	directory  []config.Entry
	known      bool // the directory could be read, now or earlier
	state      []config.Entry
	stateKnown bool
	errs       []error
}

// read reads the directory and, if it has not been, the state file, each as long as it may
// take or until ctx ends.
func (v *inventory) read(ctx context.Context, state bool) (n inventoryNews) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var both sync.WaitGroup
	var err error
	if state {
		both.Go(func() {
			n.state, err = v.store.Load(ctx, v.files)
			var mistakes config.Errors
			n.stateKnown = err == nil || errors.As(err, &mistakes)
		})
	}
	n.directory, n.errs, n.known = v.directory.Read(ctx, v.files, v.path)
	both.Wait()
	if err != nil {
		n.errs = append(n.errs, err)
	}
	if text := fmt.Sprint(n.errs); text == v.said {
		n.errs = nil
	} else {
		v.said = text
	}
	return n
}

// onInventory takes what was read; the caller refreshes.
func (r *router) onInventory(n inventoryNews) {
	if n.known {
		n.errs = append(n.errs, r.guests.Replace(guest.FromDirectory, n.directory)...)
		r.unread.directory = false
	}
	if n.stateKnown {
		n.errs = append(n.errs, r.guests.Replace(guest.FromAPI, n.state)...)
		r.unread.state = false
	}
	r.refuse(n.errs)
}

// refuse reports files that could not be read, and guests that were left out.
func (r *router) refuse(errs []error) {
	for _, err := range errs {
		var file *fs.PathError
		if errors.As(err, &file) {
			r.log.Error("inventory", "event", "inventory-error", "path", file.Path, "err", err)
		} else {
			r.log.Error("guest refused", "event", "guest-refused", "err", err)
		}
	}
}

// unread is what has not answered yet.
type unread struct{ directory, state bool }

// String names it, "" if there is none.
func (u unread) String() string {
	switch {
	case u.directory && u.state:
		return "the inventory directory and the state file"
	case u.directory:
		return "the inventory directory"
	case u.state:
		return "the state file"
	}
	return ""
}

// loadInventory reads everything for the first time.
func (d *Daemon) loadInventory(ctx context.Context, c *config.Config) {
	r := d.router
	r.store = &guest.Store{Path: c.Inventory.State}
	d.inventory = &inventory{files: &d.files, path: c.Inventory.Directory, store: r.store}
	r.unread = unread{directory: c.Inventory.Directory != "", state: true}
	r.guests.Use(c.Admission(d.facts(c)))
	r.refuse(r.guests.Replace(guest.FromConfig, c.Entries()))
	r.onInventory(d.inventory.read(ctx, true))
	if what := r.unread.String(); what != "" {
		d.log.Error("not read yet: routes of an earlier run stay as they are", "event", "inventory-unread", "what", what)
	}
}

// facts reads what guests are checked against besides the configuration.
func (d *Daemon) facts(c *config.Config) config.Host {
	h, err := host.Facts(c)
	if err != nil {
		d.log.Warn("what the host has is not known", "event", "host-unknown", "err", err)
	}
	return h
}

// followInventory reads again what has not answered, and the directory whenever it
// changes, until ctx ends.
func (d *Daemon) followInventory(ctx context.Context) error {
	w := watcher{files: &d.files, path: d.inventory.path}
	defer w.close()
	for ctx.Err() == nil {
		if d.rescan(ctx) {
			_ = pause(ctx, readTime)
			continue
		}
		if err := w.wait(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("inventory directory", "event", "inventory-watch", "err", err)
		}
	}
	return nil
}

// rescan reads what has not answered and the directory, and reports whether something is
// still missing.
func (d *Daemon) rescan(ctx context.Context) (missing bool) {
	var c *config.Config
	state := false
	d.loop.do(ctx, func() { c, state = d.router.cfg, d.router.unread.state })
	if c == nil {
		return false
	}
	n := d.inventory.read(ctx, state)
	h := d.facts(c)
	d.loop.do(ctx, func() {
		r := d.router
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

// watcher waits for changes of a directory, which may not be there, and may go.
type watcher struct {
	files *files.Reader
	path  string
	file  *os.File
	fails int
}

func (w *watcher) close() {
	if w.file != nil {
		w.file.Close()
	}
	w.file = nil
}

// wait returns when there is reason to read the directory, or ctx ends. It returns why the
// directory cannot be watched, once; it is tried again then, at longer and longer intervals.
func (w *watcher) wait(ctx context.Context) (err error) {
	if w.path == "" {
		<-ctx.Done()
		return nil
	}
	if w.file == nil {
		opening, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		if w.file, err = w.files.Watch(opening, w.path); err == nil {
			w.fails = 0
			return nil // for what has changed before it was watched
		}
		if w.fails++; w.fails > 1 {
			err = nil // said
		}
		_ = pause(ctx, min(time.Second<<min(w.fails-1, 6), 30*time.Second))
		return err
	}
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Now()) })
	defer stop()
	buf := make([]byte, 64<<10)
	n, err := w.file.Read(buf)
	if err != nil || files.Gone(buf[:n]) {
		w.close()
	}
	return err
}

// askTime is how long a file system may take before who asked over the API is told that
// nothing was done.
const askTime = 5 * time.Second

// change changes guests that came over the API, and brings everything in line. It keeps
// them first: what would not outlive a restart is not done. Changes wait for each other.
func (d *Daemon) change(do func(*router, *guest.Inventory) error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	var keep func(context.Context) error
	err := context.Canceled
	d.ask(func(r *router) {
		if r.unread.state {
			err = errors.New("the state file has not been read yet")
			return
		}
		next := r.guests.Clone()
		if err = do(r, next); err == nil {
			keep = r.store.Queue(next.FromAPI())
		}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.ctx, askTime)
	defer cancel()
	err = keep(ctx)
	d.ask(func(r *router) {
		if err == nil {
			err = do(r, &r.guests)
		}
		if err != nil {
			r.store.Queue(r.guests.FromAPI()) // as it is
			return
		}
		r.refresh()
	})
	if err == nil {
		d.settle(ctx)
	}
	return err
}

// settle waits until the kernel has taken, or refused, what is desired in the guests'
// namespace.
func (d *Daemon) settle(ctx context.Context) {
	var k netns.Kernel
	d.ask(func(r *router) { k = r.home().Kernel() })
	if k != nil {
		_ = k.Flush(ctx) // what failed comes as an event
	}
}
