package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/fib"
)

// openNamespace is a namespace as it was opened: its state, its kernel and what that says.
type openNamespace struct {
	*namespace
	fib      *fib.FIB
	firewall *firewall.Firewall
	events   *fib.Watcher
	file     *os.File        // of the namespace, nil for the daemon's own
	vrfs     *vrf.Conn       // nil without VRFs
	up       map[string]bool // interfaces with a carrier; of pumpKernel
}

// openNamespaces opens the namespaces, all of them before the first kernel is read: a name that
// leads nowhere is an error whatever else runs here.
func (d *Daemon) openNamespaces(t *tasks, c *config.Config) (states []*namespace, err error) {
	opened := make([]*openNamespace, len(c.Namespaces()))
	paths := make([]string, len(opened))
	for i, p := range c.Namespaces() {
		opened[i] = &openNamespace{up: map[string]bool{}}
		if p.NetNS != "" {
			if opened[i].file, paths[i], err = d.openNetNS(p.NetNS); err != nil {
				return nil, err
			}
		}
	}
	for i, p := range c.Namespaces() {
		if err := d.openKernelOf(t, opened[i], p, paths[i]); err != nil {
			return nil, err
		}
		d.namespaces, states = append(d.namespaces, opened[i]), append(states, opened[i].namespace)
	}
	return states, nil
}

// openKernelOf begins to read the kernel of one namespace.
func (d *Daemon) openKernelOf(t *tasks, s *openNamespace, p config.Namespace, path string) (err error) {
	if p.Config.Isolation == config.IsolationVRF {
		if s.vrfs, err = openVRFs(p); err != nil {
			return err
		}
		t.start("", func(ctx context.Context) error { <-ctx.Done(); s.vrfs.Close(); return nil })
	}
	k, err := fib.Open(fib.Config{NetNS: path, Tables: tables(p.Config), OnForeign: fib.ForeignWait})
	if err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(p.NetNS.Path(), "kernel"), err)
	}
	s.fib, s.firewall, s.events = k, firewall.New(path), k.Watch(fib.WatchOptions{Buffer: eventBuffer})
	s.namespace = newNamespace(d.log, p.NetNS, k, s.firewall)
	s.path = path
	if s.vrfs != nil {
		s.vrf = s.vrfs
	}
	t.start("kernel", k.Run)
	return nil
}

// openKernel reads the kernel, adopts what an earlier run left, and makes the
// router with everything that needs no peer.
func (d *Daemon) openKernel(t *tasks, c *config.Config) error {
	states, err := d.openNamespaces(t, c)
	if err != nil {
		return err
	}
	d.bfd = failover.NewProcess(c.BFD, d.log, d.opt.StartBFD)
	if err := d.bfd.Start(); err != nil { // first: it has our sockets, too
		return err
	}
	ec, err := d.edgeConfig(c)
	if err != nil {
		return err
	}
	edge, err := eg.Open(ec)
	if err != nil {
		return err
	}
	d.edge = edge
	d.router = newRouter(d.log, c, edge, states...)
	t.start("sightings", func(ctx context.Context) error { return d.pumpSightings(ctx, edge) })
	t.start("heard", func(ctx context.Context) error { return d.pumpHeard(ctx, edge) })
	if err := d.openBFD(t); err != nil {
		return err
	}
	d.router.failover = d.failover
	for _, s := range d.namespaces {
		if err := d.firstReading(t, s); err != nil {
			return err
		}
	}
	return nil
}

// openBFD makes the BFD service, and what follows its sessions.
func (d *Daemon) openBFD(t *tasks) error {
	service, err := d.bfd.Service()
	if err != nil {
		return err
	}
	kernels := map[string]failover.Kernel{}
	for _, s := range d.namespaces {
		kernels[s.netns.Path()] = s.fib
	}
	d.failover = failover.New(failover.Config{Log: d.log, Kernels: kernels, Paths: d.sessions, Service: service})
	if service != nil {
		t.start("BFD", service.Run)
		t.start("", func(ctx context.Context) error { d.bfd.Supervise(ctx); return nil })
	}
	return nil
}

// edgeConfig says where the guests are, and where the loopback is if elsewhere.
func (d *Daemon) edgeConfig(c *config.Config) (ec eg.Config, err error) {
	home, under := c.GuestNetNS(), c.LoopbackNetNS()
	ec = eg.Config{Log: d.log, NetNS: d.namespaceOf(home).path, VRF: c.GuestVRF(), UnderlayVRF: c.LoopbackVRF(), SocketStore: handover.Open(c.BFD.HandoverSocket())}
	switch {
	case home == under:
	case under == "": // the daemon's own has no path that all threads understand
		_, ec.Underlay, err = d.openNetNS("")
	default:
		ec.Underlay = d.namespaceOf(under).path
	}
	return ec, err
}

// firstReading waits until everything is known that the kernel has.
func (d *Daemon) firstReading(t *tasks, s *openNamespace) error {
	for synced := false; !synced; {
		events, err := s.events.Next(t.ctx)
		if err != nil {
			return errors.Join(err, context.Cause(t.ctx))
		}
		d.observe(s, events)
		synced = slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventSynced })
	}
	d.observe(s, s.recount()) // events of the first reading may be on their way, or lost
	s.preserved = preservedBy(s.fib.Routes())
	d.again = d.again || s.preserved.any()
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

// eventBuffer is how many kernel events may wait for us: the first reading has one
// for each interface and address, of thousands of guests.
const eventBuffer = 1 << 18

// recount makes up for lost events with what the kernel has now.
func (s *openNamespace) recount() (events []fib.Event) {
	there := map[int]bool{}
	for _, l := range s.fib.Links() {
		there[l.IfIndex] = true
		events = append(events, fib.Event{Kind: fib.EventLink, Link: l})
	}
	events = append(events, s.readdress(there)...)
	for index, l := range s.links.byIndex {
		if !there[index] {
			events = append(events, fib.Event{Kind: fib.EventLinkGone, Link: l})
		}
	}
	return events
}

// readdress makes events of every difference between the addresses that are known and
// those that the kernel has on links that are there.
func (s *openNamespace) readdress(there map[int]bool) (events []fib.Event) {
	now, err := host.Addresses(s.path)
	if err != nil {
		s.log.Warn("addresses cannot be read", "event", "kernel-error", "err", err)
		return nil
	}
	seen := map[int]map[netip.Prefix]bool{}
	for _, a := range now {
		if seen[a.Link] == nil {
			seen[a.Link] = map[netip.Prefix]bool{}
		}
		seen[a.Link][a.Prefix] = true
		scope := fib.ScopeLink
		if a.Global {
			scope = fib.ScopeUniverse
		}
		events = append(events, fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: a.Link}, Addr: a.Prefix, Scope: scope, Permanent: a.Permanent})
	}
	for index, addrs := range s.links.addrs {
		for p := range addrs {
			if there[index] && !seen[index][p] {
				events = append(events, fib.Event{Kind: fib.EventAddress, Link: fib.Link{IfIndex: index}, Addr: p, Gone: true})
			}
		}
	}
	return events
}

// observe takes kernel events before the loop runs, or on it.
func (d *Daemon) observe(s *openNamespace, events []fib.Event) {
	if slices.ContainsFunc(events, func(e fib.Event) bool { return e.Kind == fib.EventLost }) {
		events = append(events, s.recount()...)
	}
	for _, e := range events {
		switch e.Kind {
		case fib.EventLink:
			d.failover.Link(s.netns.Path(), e.Link, false)
		case fib.EventLinkGone:
			d.failover.Link(s.netns.Path(), e.Link, true)
		}
	}
	d.router.take(s.namespace, events)
}

// pumpKernel brings the kernel's events to the loop. Loss of carrier goes to BGP
// first: it ends sessions whatever the loop is busy with (R45).
func (d *Daemon) pumpKernel(ctx context.Context, s *openNamespace) error {
	for {
		events, err := s.events.Next(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == fib.EventLink || e.Kind == fib.EventLinkGone {
				now := e.Kind == fib.EventLink && e.Link.Up()
				if was, known := s.up[e.Link.Interface]; !now && (was || !known) {
					d.sessions.LinkDown(s.netns, e.Link.Interface)
				} else if now && !was {
					d.sessions.LinkUp(s.netns, e.Link.Interface)
				}
				s.up[e.Link.Interface] = now
			}
		}
		if !d.loop.do(ctx, func() {
			d.observe(s, events)
			if d.router.dirty {
				d.router.refresh()
			}
		}) {
			return nil
		}
	}
}
