package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// drainTime is how long peers get to move traffic away after the announcement
// with GRACEFUL_SHUTDOWN and before the withdrawal: routers need a best-path run and
// a write of their FIB, which took BIRD up to a second.
const drainTime = 2 * time.Second

// withdrawTime is how long withdrawals, and then NOTIFICATIONs, get to reach the
// peers.
const withdrawTime = 200 * time.Millisecond

// drain is a planned stop for good: everything is announced with the graceful shutdown community,
// withdrawn, the sessions are ended with a text, and then BFD's.
type drain struct {
	sessions *sessions.Speakers
	failover *failover.Monitor
	lists    []announced // of the domains, in the order of the file
	done     int         // steps
}

// announced is what a domain announces when a drain begins.
type announced struct {
	bgp  announcer
	list []domain.Announcement
}

// newDrain begins the drain of everything that is announced now.
func (r *router) newDrain(s *sessions.Speakers) *drain {
	d := &drain{sessions: s, failover: r.failover}
	for g := range r.all {
		d.lists = append(d.lists, announced{g.bgp, slices.SortedFunc(g.exports.Announced, func(a, b domain.Announcement) int { return a.Prefix.Compare(b.Prefix) })})
	}
	return d
}

// step takes the next step and returns how long the one after it waits. After the last one there
// is none.
func (d *drain) step() (wait time.Duration, more bool) {
	d.done++
	switch d.done {
	case 1:
		for _, a := range d.lists {
			a.bgp.Drain(a.list)
		}
		return drainTime, true
	case 2:
		for _, a := range d.lists {
			for _, one := range a.list {
				a.bgp.Withdraw([]netip.Prefix{one.Prefix})
			}
		}
		return withdrawTime, true
	case 3:
		d.sessions.Shutdown("drained")
		return withdrawTime, true // or a peer hears of BFD's end before it has read why BGP ended
	}
	d.failover.Shutdown()
	return 0, false
}

// Drain implements [api.Backend]: a planned stop for good. The daemon ends with it. The kernel
// keeps forwarding what still arrives.
//
// Once begun it goes on, whether or not who asked for it still waits.
func (d backend) Drain(context.Context) error {
	var steps *drain
	d.ask(func(r *router) { steps = r.newDrain(d.sessions) })
	if steps == nil {
		return d.ctx.Err()
	}
	d.log.Info("draining", "event", "drain")
	for wait, more := steps.step(); more; wait, more = steps.step() {
		if err := pause(d.ctx, wait); err != nil {
			return err
		}
	}
	d.leave()
	return nil
}
