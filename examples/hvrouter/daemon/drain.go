package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// drainTime is how long peers get to move traffic away after the announcement
// with GRACEFUL_SHUTDOWN and before the withdrawal: routers need a best-path run and
// a write of their FIB, which took BIRD up to a second.
const drainTime = 2 * time.Second

// withdrawTime is how long withdrawals, and then NOTIFICATIONs, get to reach the
// peers.
const withdrawTime = 200 * time.Millisecond

// Drain implements [api.Backend]: a planned stop for good. Everything is announced
// with the graceful shutdown community, withdrawn, the sessions are ended with
// a text, and the daemon ends. The kernel keeps forwarding what still arrives.
//
// Once begun it goes on, whether or not who asked for it still waits.
func (d backend) Drain(context.Context) error {
	ctx := d.ctx
	lists := map[announcer][]domain.Announcement{}
	d.ask(func(r *router) {
		for _, g := range r.domains {
			lists[g.bgp] = slices.Collect(g.exports.Announced)
		}
	})
	for m, list := range lists {
		m.Drain(list)
	}
	d.log.Info("draining", "event", "drain")
	if err := pause(ctx, drainTime); err != nil {
		return err
	}
	for m, list := range lists {
		for _, a := range list {
			m.Withdraw([]netip.Prefix{a.Prefix})
		}
	}
	if err := pause(ctx, withdrawTime); err != nil {
		return err
	}
	d.sessions.Shutdown("drained")
	// Or a peer hears of BFD's end before it has read why BGP ended.
	if err := pause(ctx, withdrawTime); err != nil {
		return err
	}
	d.failover.Shutdown()
	d.leave()
	return nil
}
