package daemon

import (
	"context"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
)

// The least and the longest time between two repairs, lest two programs that want different
// things occupy the machine. The longest is shorter than for a route: meanwhile guests may
// be without a firewall.
const (
	leastFight = 20 * time.Millisecond
	mostFight  = time.Second
)

// firewallPause notes a repair. It returns how long the next one waits, and whether this is
// the first of a row that waits longer than usual.
func firewallPause(b *brake.Brake, now time.Time) (wait time.Duration, contended bool) {
	contended = b.Repaired(now)
	return min(max(b.Next.Sub(now), leastFight), mostFight), contended
}

// watchFirewall puts a namespace's firewall up again as soon as somebody else has changed it:
// reloading the distribution's nftables service flushes the whole ruleset, and where
// domains are told by marks nothing is routed without. A kernel that can't be listened
// to leaves it to mendFirewalls.
func (d *Daemon) watchFirewall(ctx context.Context, p *namespace) {
	if p.firewall == nil {
		return
	}
	var row brake.Brake
	err := p.firewall.Watch(ctx, func() {
		d.loop.do(ctx, func() {
			p.log.Warn("repaired a foreign change", "event", "repair", "op", "replace", "key", "nftables table "+p.cfg.Firewall.Table)
			d.router.mendFirewall(p)
		})
		wait, contended := firewallPause(&row, time.Now())
		if contended {
			p.log.Warn("somebody undoes each repair: repairs are delayed", "event", "contended", "key", "nftables table "+p.cfg.Firewall.Table)
		}
		_ = pause(ctx, wait)
	})
	if err != nil {
		p.log.Warn("firewall", "event", "firewall-error", "err", err)
	}
}

// balanceFlows keeps the flows of one transparent address from taking the room of others,
// and says when it must.
func (d *Daemon) balanceFlows(ctx context.Context, p *namespace) {
	if p.firewall == nil {
		return
	}
	for ctx.Err() == nil {
		err := p.firewall.Balance(ctx, func(a netip.Addr, flows int) {
			p.log.Warn("transparent address has more than its part of the table of connections: no new flows", "event", "connections-crowded", "address", a, "flows", flows)
		})
		if err != nil {
			p.log.Warn("firewall", "event", "firewall-error", "err", err)
			_ = pause(ctx, mendTime)
		}
	}
}
