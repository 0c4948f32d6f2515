package daemon

import (
	"context"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/trim"
	"github.com/hyperfib/hyperfib/vxlan"
)

// pumps bring events to the loop, each source by a goroutine of its own. While the loop is busy a
// pump waits, and its source coalesces.
type pumps struct {
	loop     loop
	router   *router
	sessions *sessions.Speakers
}

var _ sessions.Sink = (*pumps)(nil)

// start starts the pumps of a configuration, but for those of BGP and BFD.
func (p *pumps) start(t *tasks, c *config.Config) {
	p.router.announceComplete()
	p.router.startLearning = func(g *routing) (end func()) { return p.startLearning(t, g) }
	p.router.afterSweep = func(n *netns.Namespace) {
		t.start("tables", func(ctx context.Context) error { p.sweepTables(ctx, n); return nil })
	}
	for _, n := range p.router.namespaces {
		t.start("kernel events", func(ctx context.Context) error { return p.kernel(ctx, n) })
		routes := n.WatchRoutes()
		t.start("kernel routes", func(ctx context.Context) error { return p.routes(ctx, n, routes) })
		p.startFirewall(t, n)
		t.start("foreign objects", func(ctx context.Context) error { return p.watchForeign(ctx, n) })
	}
	t.start("firewall", p.repairFirewalls)
	for _, d := range c.Domains {
		if g := p.router.domains[d.Name]; d.Redistributes() {
			g.unlearn = p.startLearning(t, g)
		}
	}
	t.start("memory", p.trimMemory)
}

// kernel brings the kernel's events. Loss of carrier goes to BGP first: it ends sessions whatever
// the loop is busy with (R45).
func (p *pumps) kernel(ctx context.Context, n *netns.Namespace) error {
	c := carriers{sessions: p.sessions, netns: n.NetNS()}
	for {
		events, err := n.Next(ctx)
		if err != nil {
			return err
		}
		c.take(events)
		if !p.loop.do(ctx, func() { p.router.onEvents(n, events) }) {
			return nil
		}
	}
}

// carriers ends the sessions over interfaces of a namespace that have lost their carrier.
type carriers struct {
	netns.Carriers
	sessions *sessions.Speakers
	netns    config.NetNS
}

func (c *carriers) take(events []fib.Event) {
	c.Take(events, func(name string, up bool) {
		if up {
			c.sessions.LinkUp(c.netns, name)
		} else {
			c.sessions.LinkDown(c.netns, name)
		}
	})
}

// changesAtOnce is how many routes the loop takes at a time: enough to be worth the switch, few
// enough that the arrival of a guest waits under a millisecond.
const changesAtOnce = 256

// routes brings how the routes stand in the kernel that announcements need.
func (p *pumps) routes(ctx context.Context, n *netns.Namespace, w netns.RouteChanges) error {
	defer w.Close()
	buf := make([]fib.RouteChange, changesAtOnce)
	for {
		k, err := w.Next(ctx, buf)
		if err != nil {
			return err
		}
		if !p.loop.do(ctx, func() { p.router.onRoutes(n, buf[:k]) }) {
			return nil
		}
	}
}

// sweepTables has the routes of an earlier run deleted from the tables of a namespace that are no
// domain's any more: the configuration was changed while no daemon ran, or it ended amid the reload.
func (p *pumps) sweepTables(ctx context.Context, n *netns.Namespace) {
	tables, err := lookup.OwnTables(n.Path())
	if err != nil {
		n.Log().Warn("routes of an earlier run in other tables are not known", "event", "kernel-error", "err", err)
	}
	p.loop.do(ctx, func() { p.router.ownTables(n, tables) })
}

// startLearning starts to bring the foreign routes of a domain's table, until the function that is
// returned is called.
func (p *pumps) startLearning(t *tasks, g *routing) (end func()) {
	own, end := context.WithCancel(t.ctx)
	t.start("learning "+g.name, func(context.Context) error {
		defer end()
		if err := p.learned(own, g); own.Err() == nil {
			return err
		}
		return nil
	})
	return end
}

// learned brings foreign routes of a domain's table.
func (p *pumps) learned(ctx context.Context, g *routing) error {
	l := g.learner()
	defer l.Close()
	buf := make([]fib.LearnChange, changesAtOnce)
	for {
		k, err := l.Next(ctx, buf)
		if err != nil {
			return err
		}
		if !p.loop.do(ctx, func() {
			if ctx.Err() == nil { // the domain may have gone meanwhile
				p.router.onLearned(g, buf[:k])
			}
		}) {
			return nil
		}
	}
}

// Paths implements [sessions.Sink]. ctx ends when the domain goes: what was on its way then is
// nobody's.
func (p *pumps) Paths(ctx context.Context, domain string, u sessions.Update) {
	p.loop.do(ctx, func() {
		if ctx.Err() == nil {
			p.router.onPaths(p.router.domains[domain], u)
		}
	})
}

// EVPN implements [sessions.Sink].
func (p *pumps) EVPN(ctx context.Context, domain string, changes []sessions.EVPN, more bool) {
	p.loop.do(ctx, func() {
		if ctx.Err() == nil {
			p.router.onEVPN(domain, changes, more)
		}
	})
}

// Dead implements [sessions.Sink].
func (p *pumps) Dead(ctx context.Context, domain string, dead failover.Dead) (prefixes []netip.Prefix) {
	p.loop.do(ctx, func() {
		if ctx.Err() == nil {
			prefixes = p.router.onDead(p.router.domains[domain], dead)
		}
	})
	return prefixes
}

// sightings brings what was seen of guests' addresses.
func (p *pumps) sightings(ctx context.Context) error {
	for {
		list, err := p.router.edge.Sightings(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		p.loop.do(ctx, func() { p.router.onSightings(list) })
	}
}

// askerPause is between two looks at who has asked: a refresh costs time at a thousand guests.
const askerPause = time.Second

// askers brings the addresses that asked for the gateway.
func (p *pumps) askers(ctx context.Context) error {
	for {
		list, err := p.router.edge.Heard(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		p.loop.do(ctx, func() { p.router.onAskers(list) })
		if pause(ctx, askerPause) != nil {
			return nil
		}
	}
}

// startFirewall begins to repair the firewall of a namespace as soon as a change is heard of.
func (p *pumps) startFirewall(t *tasks, n *netns.Namespace) {
	table := n.Part().Firewall.Table
	do := func(ctx context.Context, f func()) {
		p.loop.do(ctx, func() {
			f()
			p.router.openGateways()
		})
	}
	t.start("firewall", func(ctx context.Context) error {
		n.FollowFirewall(ctx, table, func(f func()) { do(ctx, f) })
		return nil
	})
	if round := n.Part().Audit.Round(); round > 0 {
		t.start("firewall", func(ctx context.Context) error {
			n.AuditFirewall(ctx, table, round, func(f func()) { do(ctx, f) })
			return nil
		})
	}
	t.start("connections", func(ctx context.Context) error { n.BalanceFlows(ctx); return nil })
	t.start("floods", func(ctx context.Context) error { n.FollowFloods(ctx); return nil })
}

// repairFirewalls repairs the firewalls every now and then, should one be gone without an event.
func (p *pumps) repairFirewalls(ctx context.Context) error {
	for pause(ctx, netns.RepairTime) == nil {
		p.loop.do(ctx, func() {
			for _, n := range p.router.namespaces {
				n.RepairFirewall()
			}
			p.router.openGateways()
		})
	}
	return nil
}

// entryDiffers takes forwarding entries of overlays in a namespace that differ from what was known.
func (d *Daemon) entryDiffers(n *netns.Namespace) func(context.Context, vxlan.Event) {
	return func(ctx context.Context, e vxlan.Event) {
		d.loop.do(ctx, func() { n.EntryDiffers(e, d.router.now()) })
	}
}

// overlayRepaired takes what was put back of overlays in a namespace.
func (d *Daemon) overlayRepaired(n *netns.Namespace) func(context.Context, eg.Repair) {
	return func(ctx context.Context, r eg.Repair) {
		d.loop.do(ctx, func() { n.OverlayRepaired(r.Kind, r.Op, r.Difference, r.Key, r.Interface, r.Contended, d.router.now()) })
	}
}

// trimMemory gives memory back that guests and routes needed which have gone.
func (p *pumps) trimMemory(ctx context.Context) error {
	return trim.Run(ctx, func() (held int) {
		held = p.sessions.Paths()
		p.loop.do(ctx, func() { held += len(p.router.attached.ports) })
		return held
	})
}
