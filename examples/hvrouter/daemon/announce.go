package daemon

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

// announcements carries out what [domain.Exports] decides: what a domain announces is what the
// kernel has (R130).
type announcements struct {
	now func() time.Time
	// ready reports whether everything is known that the domains will have to begin with.
	ready   func() bool
	out     domain.ExportEffects // scratch
	notices lineRate
}

// want makes the announcements of fx wanted, and drops those that it withdraws: withdrawals do
// not wait for the kernel.
func (a *announcements) want(g *routing, fx *domain.Effects) {
	for _, p := range fx.Withdraw {
		g.exports.Drop(p, &a.out)
	}
	now := a.now()
	for _, one := range fx.Announce {
		g.exports.Want(one, g.namespace.HasAddress(one.Address), now, &a.out)
	}
	if len(a.out.Withdraw) > 0 {
		g.bgp.Withdraw(a.out.Withdraw)
		a.out.Withdraw = a.out.Withdraw[:0]
	}
}

// route takes how a route of a domain stands in the kernel.
func (a *announcements) route(g *routing, c *fib.RouteChange) {
	if c.Table != g.table || !c.Gone && c.Present && (c.State == fib.StatePending || c.State == fib.StateLost) {
		return // it has other next hops for a moment
	}
	g.exports.Route(domain.Key{Table: c.Table, Prefix: c.Prefix, Metric: c.Metric}, g.standing(c), a.now(), &a.out)
}

// refused takes that the kernel cannot have a route.
func (a *announcements) refused(g *routing, k domain.Key, why string) {
	g.exports.Route(k, domain.Standing{State: domain.Refused, Why: why}, a.now(), &a.out)
}

// address takes whether an address is there that announcements need.
func (a *announcements) address(g *routing, addr netip.Addr, here bool) {
	g.exports.Address(addr, here, a.now(), &a.out)
	a.flush(g)
}

// advance decides what is due.
func (a *announcements) advance(g *routing, now time.Time) {
	g.exports.Advance(now, &a.out)
	a.flush(g)
}

// flush carries out what was decided about a domain.
func (a *announcements) flush(g *routing) {
	if len(a.out.Withdraw) > 0 {
		g.bgp.Withdraw(a.out.Withdraw)
	}
	if len(a.out.Announce) > 0 {
		g.bgp.Announce(a.out.Announce)
	}
	for _, n := range a.out.Notices {
		a.log(g, n)
	}
	a.out.Reset()
	a.complete(g)
}

// log logs that a prefix is not announced, or is again.
func (a *announcements) log(g *routing, n domain.Notice) {
	if !a.notices.allow(a.now()) {
		return
	}
	if n.Why == "" {
		g.namespace.Log().Info("the kernel has the route: announced", "event", "announced", "domain", g.name, "prefix", n.Prefix)
		return
	}
	g.namespace.Log().Warn("not announced: the kernel does not have it", "event", "not-announced", "domain", g.name, "prefix", n.Prefix, "withdrawn", n.Withdrawn, "why", n.Why)
}

// complete says to BGP, once, that everything of ours is announced that will be to begin with:
// our End-of-RIB waits for it, upon which peers delete what they preserved for us while we were
// away (RFC 4724, Section 4.2).
func (a *announcements) complete(g *routing) {
	if g.complete || !g.learned || !a.ready() || !g.exports.Decided() {
		return
	}
	g.complete = true
	g.bgp.InventoryComplete()
}

// noticesPerSecond bounds the lines about single prefixes: whatever makes the kernel refuse the
// route of one guest can make it refuse those of a thousand.
const noticesPerSecond = 64

// lineRate bounds lines of the log. The zero value is ready.
type lineRate struct {
	second time.Time // when the current second began
	n      int       // lines in it
}

// allow reports whether there may be another line.
func (l *lineRate) allow(now time.Time) bool {
	if now.Sub(l.second) >= time.Second {
		l.second, l.n = now, 0
	}
	l.n++
	return l.n <= noticesPerSecond
}
