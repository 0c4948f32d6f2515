package daemon

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/wall"
	"github.com/hyperfib/hyperfib/fib"
)

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
