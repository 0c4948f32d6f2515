package netns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/fib"
)

// Open opens the namespaces of a configuration, all of them before the first kernel is read: a
// name that leads nowhere is an error whatever else runs there. VRFs are made, and uplinks put
// into them. The caller runs and closes them.
func Open(log *slog.Logger, c *config.Config) (all []*Namespace, err error) {
	defer func() {
		if err != nil {
			Close(all)
			all = nil
		}
	}()
	for _, p := range c.Namespaces() {
		n := &Namespace{name: p.NetNS}
		if p.NetNS != "" {
			if n.file, n.path, err = OpenFile(p.NetNS); err != nil {
				return all, err
			}
		}
		all = append(all, n)
	}
	for i, p := range c.Namespaces() {
		if err := all[i].open(log, c, p); err != nil {
			return all, err
		}
	}
	return all, nil
}

// open makes the rest of a namespace of which the file is open.
func (n *Namespace) open(log *slog.Logger, c *config.Config, p config.Namespace) error {
	cfg := Config{Log: log, NetNS: n.name, Path: n.path, Firewall: firewall.New(n.path),
		Room: NeighborRoom{IPv4: host.NeighbourRoom(false), IPv6: host.NeighbourRoom(true)}}
	if p.Config.Isolation == config.IsolationVRF {
		conn, err := openVRFs(p)
		if err != nil {
			return err
		}
		cfg.VRFs, n.close = conn, func() { conn.Close() }
	}
	k, err := fib.New(fib.Config{NetNS: n.path, Tables: Tables(p.Config), OnForeign: fib.ForeignWait, AuditRound: c.Audit.Round()})
	if err != nil {
		return err
	}
	cfg.Kernel = fibKernel{k, n.path}
	file, close := n.file, n.close
	*n = *New(cfg)
	n.file, n.close = file, close
	n.Configure(c, p.Config)
	return nil
}

// Close closes what Open opened, but for the kernels, which end with their Run.
func Close(all []*Namespace) {
	for _, n := range all {
		if n.close != nil {
			n.close()
		}
		if n.file != nil {
			n.file.Close()
		}
	}
}

// eventsAtOnce is how many events Next returns at most.
const eventsAtOnce = 1024

// Next waits for the kernel's events. They are valid until the next call. One goroutine calls
// it.
func (n *Namespace) Next(ctx context.Context) ([]fib.Event, error) {
	if n.buffer == nil {
		n.buffer = make([]fib.Event, eventsAtOnce)
	}
	got, err := n.events.Next(ctx, n.buffer)
	return n.buffer[:got:got], err
}

// Complete returns events with those added that make up for what was lost.
func (n *Namespace) Complete(events []fib.Event) []fib.Event {
	if lost(events) {
		events = append(events, n.recount()...)
	}
	return events
}

// recount reads what the kernel has now.
func (n *Namespace) recount() []fib.Event {
	addresses, err := n.kernel.Addresses()
	if err != nil {
		n.log.Warn("addresses cannot be read", "event", "kernel-error", "err", err)
	}
	return recount(n.links, n.kernel.Links(), addresses, err == nil)
}

// Run runs the kernel, once. The error names the namespace.
func (n *Namespace) Run(ctx context.Context) error {
	if err := n.kernel.Run(ctx); err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(n.name.Path(), "kernel"), err)
	}
	return nil
}

// Started waits until Run reads the kernel, and so until it is known that no other program
// owns what is ours there.
func (n *Namespace) Started(ctx context.Context) error {
	events, err := n.Next(ctx)
	n.early = slices.Clone(events)
	return err
}

// FirstReading waits until everything is known that the kernel has; observe takes its events.
func (n *Namespace) FirstReading(ctx context.Context, observe func([]fib.Event)) error {
	for {
		if complete, err := n.ReadFirst(ctx, observe); err != nil || complete {
			return err
		}
	}
}

// ReadFirst is a part of FirstReading: it waits for some of the events, and reports whether
// everything is known then.
func (n *Namespace) ReadFirst(ctx context.Context, observe func([]fib.Event)) (complete bool, err error) {
	events := n.early
	if n.early = nil; events == nil {
		if events, err = n.Next(ctx); err != nil {
			return false, err
		}
	}
	observe(n.Complete(events))
	if !slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventSynced }) {
		return false, nil
	}
	observe(n.recount()) // events of the first reading may be on their way, or lost
	n.preserved = preservedBy(n.kernel.Routes())
	return true, nil
}

// WatchRoutes returns a reader of how the routes stand that announcements need.
func (n *Namespace) WatchRoutes() RouteChanges {
	return n.kernel.WatchRoutes(fib.RouteFilter{Accept: n.wanted.accept})
}

// WatchNames logs when the name of a namespace does not lead to it any more, or does again,
// until ctx ends.
func WatchNames(ctx context.Context, all []*Namespace) {
	last := make([]NameState, len(all))
	for pause(ctx, RepairTime) == nil {
		for i, n := range all {
			last[i] = n.logName(last[i])
		}
	}
}

// logName logs a change of the name's state and returns the state.
func (n *Namespace) logName(was NameState) NameState {
	now := n.NameState()
	switch {
	case now == was:
	case now == NameFine:
		n.log.Info("the namespace has its name again", "event", "namespace-back")
	case now == NameGone:
		n.log.Error("the namespace lost its name; we go on in it", "event", "namespace-gone", "path", n.name.Path())
	default:
		n.log.Error("the name leads to another namespace; we go on in the old one until we are restarted", "event", "namespace-replaced", "path", n.name.Path())
	}
	return now
}
