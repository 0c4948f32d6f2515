package daemon

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// refuse reports guests that were left out.
func (r *router) refuse(errs []error) {
	for _, err := range errs {
		r.log.Error("guest refused", "event", "guest-refused", "err", err)
	}
}

// rescan reads the inventory directory again.
func (d *Daemon) rescan(ctx context.Context) {
	d.loop.do(ctx, func() {
		files, errs := guest.ReadDirectory(d.router.cfg.Inventory.Directory)
		d.router.refuse(append(errs, d.router.guests.Replace(guest.FromDirectory, files)...))
		d.router.refresh()
	})
}

// watchDirectory calls changed whenever a file in the directory was written,
// moved or removed, until ctx ends. With no directory it just waits.
func watchDirectory(ctx context.Context, dir string, changed func(context.Context)) error {
	if dir == "" {
		<-ctx.Done()
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify") // non-blocking: reads go through the poller
	defer f.Close()
	const mask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		return fmt.Errorf("inventory directory %s: %w", dir, err)
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	buf := make([]byte, 64<<10)
	for {
		if _, err := f.Read(buf); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		changed(ctx)
	}
}

// put adds guests that came over the API, and keeps them.
func (r *router) put(guests ...config.Guest) error {
	for _, g := range guests {
		if len(g.IPv4) > 0 && !g.Gateway4.IsValid() && !r.cfg.Edge.Gateway4.IsValid() {
			return fmt.Errorf("guest %s: neither it nor edge has a gateway4", g.Name)
		}
	}
	return r.change(func(in *guest.Inventory) error { return in.Put(guests...) })
}

func (r *router) remove(name string) error {
	return r.change(func(in *guest.Inventory) error { return in.Remove(name) })
}

// change changes the guests that came over the API, keeps them, and brings everything in
// line; or does nothing, if the change is refused or they cannot be kept.
func (r *router) change(do func(*guest.Inventory) error) error {
	next := r.guests.Clone()
	if err := do(&next); err != nil {
		return err
	}
	if err := r.store.Save(next.Of(guest.FromAPI)); err != nil {
		return err
	}
	r.guests = next
	r.refresh()
	return nil
}

func (r *router) keep() error { return r.store.Save(r.guests.Of(guest.FromAPI)) }
