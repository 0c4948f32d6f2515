package daemon

import (
	"context"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/handover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// opened is what a daemon has opened of Linux.
type opened struct {
	namespaces []*netns.Namespace // the daemon's own first
	edge       edge
	process    *failover.Process
	bfd        bfd.Service // nil: off
	underlay   *os.File    // the namespace of overlays' packets, if no other path leads there
	// adverts opens the router advertisements of a namespace, where neighbours are to be found.
	adverts func(path string) (advertisements, error)
}

// open opens what the daemon needs of Linux. What was opened is to be closed also after an error.
func (d *Daemon) open(t *tasks, c *config.Config) (m opened, err error) {
	m.adverts = openAdvertisements
	if m.namespaces, err = netns.Open(d.log, c); err != nil {
		return m, err
	}
	for _, n := range m.namespaces {
		t.start("", n.Run)
	}
	for _, n := range m.namespaces { // before anything is taken over: another program may own this kernel
		if err := n.Started(t.ctx); err != nil {
			return m, t.ended(err)
		}
	}
	m.process = failover.NewProcess(c.BFD, d.log, d.opt.StartBFD)
	if err := m.process.Start(); err != nil { // before the edge: it has our sockets, too
		return m, err
	}
	ec := eg.Config{Log: d.log, NetNS: at(m.namespaces, c.GuestNetNS()).Path(), VRF: c.GuestVRF(), UnderlayVRF: c.LoopbackVRF(), SocketStore: handover.Open(c.BFD.HandoverSocket()),
		AuditRound: c.Audit.Round(), Differed: d.entryDiffers(at(m.namespaces, c.GuestNetNS())), Repaired: d.overlayRepaired(at(m.namespaces, c.GuestNetNS()))}
	switch under := c.LoopbackNetNS(); under {
	case c.GuestNetNS():
	case "": // the daemon's own has no path that all threads understand
		if m.underlay, ec.Underlay, err = netns.OpenFile(""); err != nil {
			return m, err
		}
	default:
		ec.Underlay = at(m.namespaces, under).Path()
	}
	e, err := eg.Open(ec)
	if err != nil {
		return m, err
	}
	m.edge = e
	m.bfd, err = m.process.Service()
	return m, err
}

// close closes what was opened, once nothing uses it any more.
func (m *opened) close() {
	if m.edge != nil {
		m.edge.Close() // it may not have run
	}
	if m.underlay != nil {
		m.underlay.Close()
	}
	netns.Close(m.namespaces)
}

// begin makes the router, has it read the kernel and adopt what an earlier run left, and sets
// everything that follows from the configuration.
func (d *Daemon) begin(t *tasks, c *config.Config, m opened) error {
	d.failover = newFailover(d.log, time.Now, m.namespaces, d.sessions, m.bfd)
	if m.bfd != nil {
		t.start("BFD", m.bfd.Run)
		t.start("", func(ctx context.Context) error { m.process.Supervise(ctx); return nil })
	}
	r := newRouter(d.log, time.Now, c, m.edge, m.namespaces...)
	r.failover = d.failover
	d.router = r
	d.pumps = &pumps{loop: d.loop, router: r, sessions: d.sessions}
	t.start("sightings", d.pumps.sightings)
	t.start("askers", d.pumps.askers)
	for _, n := range m.namespaces {
		if err := n.FirstReading(t.ctx, func(events []fib.Event) { r.observe(n, events) }); err != nil {
			return t.ended(err)
		}
		d.again = d.again || n.Continues()
	}
	return d.beginRouting(t, c, m)
}

// beginRouting makes speakers and BFD sessions and sets everything that follows from the
// configuration.
func (d *Daemon) beginRouting(t *tasks, c *config.Config, m opened) error {
	r := d.router
	if err := d.openFinders(t, c, m.adverts); err != nil {
		return err
	}
	for _, p := range r.finders.list { // uplinks by patterns are uplinks from the beginning
		p.find(r.now(), c)
	}
	c = r.finders.withFound(c)
	r.adopt(c)
	if err := r.addDomains(d.sessions); err != nil {
		return err
	}
	r.setDrain(newDrainFile(c.StateDirectory).load(t.ctx, d.log))
	if f, err := newEVPNFile(c.StateDirectory); err != nil {
		d.log.Warn("where guests' MACs are is not kept over a restart", "event", "evpn-unwritten", "err", err)
	} else {
		r.evpn.core.Restore(f.load(t.ctx, d.log))
		r.evpn.keep = make(chan struct{}, 1)
		t.start("", func(ctx context.Context) error { f.writer(d).follow(ctx); return nil })
	}
	moves := d.openMoves(t.ctx, d.log)
	t.start("", func(ctx context.Context) error { moves.follow(ctx); return nil })
	d.inventory = newInventory(d.log, c, d.loop, r, moves)
	d.inventory.load(t.ctx, c)
	r.begin()
	t.start("edge", m.edge.Run) // now that it serves all guests that are here
	d.disabled = d.openDisabled(t.ctx)
	t.start("", func(ctx context.Context) error { d.disabled.follow(ctx); return nil })
	r.configureSessions()
	t.start("", func(ctx context.Context) error { return d.sessions.Run(ctx, d.pumps) })
	d.failover.Configure(c)
	d.pumps.followSessions(t)
	r.findNeighbors()
	t.start("BFD events", func(ctx context.Context) error {
		d.findFirst(ctx)
		return d.failover.Run(ctx)
	})
	return nil
}
