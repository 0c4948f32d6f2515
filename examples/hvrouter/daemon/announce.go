package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
)

// What a domain announces is what the kernel has (R130): domain.Exports decides, and hears
// from the kernel by way of a fib.RouteWatcher, one for each namespace.

// want makes the announcements of fx wanted, and drops those that it withdraws.
func (r *router) want(g *routing, fx *domain.Effects) {
	for _, p := range fx.Withdraw {
		g.exports.Drop(p, &r.out)
	}
	now := r.now()
	for _, a := range fx.Announce {
		g.exports.Want(a, g.namespace.HasAddress(a.Address), now, &r.out)
	}
	if len(r.out.Withdraw) > 0 {
		g.bgp.Withdraw(r.out.Withdraw)
		r.out.Withdraw = r.out.Withdraw[:0]
	}
}

// export carries out what the exports of a domain decided.
func (r *router) export(g *routing) {
	if len(r.out.Withdraw) > 0 {
		g.bgp.Withdraw(r.out.Withdraw)
	}
	if len(r.out.Announce) > 0 {
		g.bgp.Announce(r.out.Announce)
	}
	for _, n := range r.out.Notices {
		r.notify(g, n)
	}
	r.out.Reset()
	r.completeInventory(g)
}

// notify says that a prefix is not announced, or is again.
func (r *router) notify(g *routing, n domain.Notice) {
	if !r.notices.allow(r.now()) {
		return
	}
	if n.Why == "" {
		g.namespace.Log().Info("the kernel has the route: announced", "event", "announced", "domain", g.name, "prefix", n.Prefix)
		return
	}
	g.namespace.Log().Warn("not announced: the kernel does not have it", "event", "not-announced", "domain", g.name, "prefix", n.Prefix, "withdrawn", n.Withdrawn, "why", n.Why)
}

// completeInventory tells BGP, once, that everything of ours is announced that will be to
// begin with: our End-of-RIB waits for it, upon which peers forget what they kept for us
// while we were away.
func (r *router) completeInventory(g *routing) {
	if g.complete || !g.learned || !r.started || r.unread != (unread{}) || !g.exports.Decided() {
		return
	}
	g.complete = true
	g.bgp.InventoryComplete()
}

// onRoutes takes how routes of a namespace stand in the kernel.
func (r *router) onRoutes(p *netns.Namespace, changes []fib.RouteChange) {
	for _, g := range r.domains {
		if g.namespace != p {
			continue
		}
		now := r.now()
		for i := range changes {
			c := &changes[i]
			if c.Table != g.table || !c.Gone && c.Present && (c.State == fib.StatePending || c.State == fib.StateLost) {
				continue // it has other next hops for a moment
			}
			g.exports.Route(domain.Key{Table: c.Table, Prefix: c.Prefix, Metric: c.Metric}, r.standing(g, c), now, &r.out)
		}
		r.export(g)
	}
}

// standing says what the status of a route means for its announcement.
func (r *router) standing(g *routing, c *fib.RouteChange) domain.Standing {
	switch {
	case c.Gone:
		return domain.Standing{State: domain.Missing}
	case c.State == fib.StateInstalled:
		return domain.Standing{State: domain.Present}
	case c.State == fib.StatePartial:
		if r.reaches(g, c.Prefix) {
			return domain.Standing{State: domain.Present}
		}
		return domain.Standing{State: domain.Refused, Why: "of its next hops none that is here is up"}
	case c.State == fib.StateHeld:
		return domain.Standing{State: domain.Refused, Why: "its interface is down"}
	case c.State == fib.StateFailed, c.State == fib.StateForeign:
		return domain.Standing{State: domain.Refused, Why: fmt.Sprint(c.Err)}
	}
	return domain.Standing{State: domain.Missing}
}

// reaches reports whether a prefix that is shared with other hypervisors is still reached
// here: if not, packets would only be passed on to those.
func (r *router) reaches(g *routing, p netip.Prefix) bool {
	s, _ := g.rib.Explain(p)
	if s.Local == nil || len(s.BGP) == 0 || !g.rib.Spread() {
		return true
	}
	for _, h := range s.Local.NextHops {
		if l, ok := g.namespace.Links().ByName(h.Link); ok && l.Up() {
			return true
		}
	}
	return false
}

// deadline returns when advance has something to do, the zero time if never.
func (r *router) deadline() (next time.Time) {
	for _, g := range r.domains {
		if t := g.exports.Deadline(); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// advance does what is due.
func (r *router) advance(now time.Time) {
	for _, g := range r.domains {
		g.exports.Advance(now, &r.out)
		r.export(g)
	}
}

// noticesPerSecond bounds the lines about single prefixes: whatever makes the kernel
// refuse the route of one guest can make it refuse those of a thousand.
const noticesPerSecond = 64

// bounded counts lines of the log.
type bounded struct {
	second time.Time
	n      int
}

// allow reports whether there may be another line.
func (b *bounded) allow(now time.Time) bool {
	if now.Sub(b.second) >= time.Second {
		b.second, b.n = now, 0
	}
	b.n++
	return b.n <= noticesPerSecond
}

// routesAtOnce is how many routes the loop takes from the kernel at a time.
const routesAtOnce = 256

// pumpRoutes brings to the loop how the routes stand that announcements need.
func (d *Daemon) pumpRoutes(ctx context.Context, n *netns.Namespace) error {
	w := n.WatchRoutes()
	defer w.Close()
	buf := make([]fib.RouteChange, routesAtOnce)
	for {
		k, _, err := w.Next(ctx, buf)
		if err != nil {
			return err
		}
		if !d.loop.do(ctx, func() { d.router.onRoutes(n, buf[:k]) }) {
			return nil
		}
	}
}

// held counts the prefixes of each domain that should be announced and are not, and those
// that were withdrawn because the kernel had lost them.
func (r *router) held() (held map[string]int, withdrawn map[string]uint64) {
	held, withdrawn = map[string]int{}, map[string]uint64{}
	for name, g := range r.domains {
		held[name], withdrawn[name] = g.exports.Held(), g.exports.Withdrawn()
	}
	return held, withdrawn
}
