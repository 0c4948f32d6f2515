package daemon

import (
	"context"
	"errors"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// openKernel reads the kernel, adopts what an earlier run left, and makes the
// router with everything that needs no peer.
func (d *Daemon) openKernel(t *tasks, c *config.Config) error {
	all, err := netns.Open(d.log, c)
	if err != nil {
		return err
	}
	d.namespaces = all
	for _, n := range all {
		t.start("kernel", n.Kernel().Run)
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
	d.router = newRouter(d.log, c, edge, all...)
	t.start("sightings", func(ctx context.Context) error { return d.pumpSightings(ctx, edge) })
	t.start("heard", func(ctx context.Context) error { return d.pumpHeard(ctx, edge) })
	if err := d.openBFD(t); err != nil {
		return err
	}
	d.router.failover = d.failover
	for _, n := range d.namespaces {
		if err := n.FirstReading(t.ctx, func(events []fib.Event) { d.observe(n, events) }); err != nil {
			return errors.Join(err, context.Cause(t.ctx))
		}
		d.again = d.again || n.Continues()
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
	for _, n := range d.namespaces {
		kernels[n.NetNS().Path()] = n.Kernel()
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
	ec = eg.Config{Log: d.log, NetNS: at(d.namespaces, home).Path(), VRF: c.GuestVRF(), UnderlayVRF: c.LoopbackVRF(), SocketStore: handover.Open(c.BFD.HandoverSocket())}
	switch {
	case home == under:
	case under == "": // the daemon's own has no path that all threads understand
		d.underlay, ec.Underlay, err = netns.OpenFile("")
	default:
		ec.Underlay = at(d.namespaces, under).Path()
	}
	return ec, err
}

// observe takes kernel events before the loop runs, or on it.
func (d *Daemon) observe(n *netns.Namespace, events []fib.Event) {
	for _, e := range events {
		switch e.Kind {
		case fib.EventLink:
			d.failover.Link(n.NetNS().Path(), e.Link, false)
		case fib.EventLinkGone:
			d.failover.Link(n.NetNS().Path(), e.Link, true)
		}
	}
	d.router.take(n, events)
}

// pumpKernel brings the kernel's events to the loop. Loss of carrier goes to BGP
// first: it ends sessions whatever the loop is busy with (R45).
func (d *Daemon) pumpKernel(ctx context.Context, n *netns.Namespace) error {
	var carriers netns.Carriers
	for {
		events, err := n.Next(ctx)
		if err != nil {
			return err
		}
		carriers.Take(events, func(name string, up bool) {
			if up {
				d.sessions.LinkUp(n.NetNS(), name)
			} else {
				d.sessions.LinkDown(n.NetNS(), name)
			}
		})
		if !d.loop.do(ctx, func() {
			d.observe(n, n.Complete(events))
			if d.router.dirty {
				d.router.refresh()
			}
		}) {
			return nil
		}
	}
}
