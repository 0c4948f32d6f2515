package bgp

import (
	"context"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// ownRestart is the speaker's own graceful restart (RFC 4724, Section 4.1): for how long best
// paths, End-of-RIB and the end of the R bit are deferred. It is safe for concurrent use.
type ownRestart struct {
	table   *rib.Table    // whose best paths are deferred
	hub     *eventHub     // where the end becomes an event
	early   bool          // GracefulRestart.EarlyUpdates
	changed chan struct{} // the deadline may have changed

	mu        sync.Mutex             // guards the following
	deferral  *fsm.Deferral[PeerKey] // decides until when
	inventory bool                   // InventoryComplete was called
}

func (r *ownRestart) init(c *Config, table *rib.Table, hub *eventHub) {
	r.table, r.hub, r.early = table, hub, c.GracefulRestart.EarlyUpdates
	r.changed = make(chan struct{}, 1)
	r.deferral = fsm.NewDeferral[PeerKey](deferralConfig(c))
}

// begin starts the timers.
func (r *ownRestart) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deferral.Begin(now)
}

// active reports whether the restart goes on.
func (r *ownRestart) active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deferral.Active()
}

// inventoryComplete takes in that all local paths of the start have been originated.
func (r *ownRestart) inventoryComplete() {
	r.mu.Lock()
	r.inventory = true
	release := !r.deferral.Active() || !r.early
	r.mu.Unlock()
	if release {
		r.table.InventoryComplete()
	}
}

// note reports something to the deferral, and has it looked at.
func (r *ownRestart) note(f func(*fsm.Deferral[PeerKey])) {
	r.mu.Lock()
	active := r.deferral.Active()
	if active {
		f(r.deferral)
	}
	r.mu.Unlock()
	if !active {
		return
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// pending reports, once, that something was noted since the last time.
func (r *ownRestart) pending() bool {
	select {
	case <-r.changed:
		return true
	default:
		return false
	}
}

// advance ends the restart if it is over.
func (r *ownRestart) advance(now time.Time) {
	r.mu.Lock()
	was := r.deferral.Active()
	r.deferral.Advance(now)
	over := was && !r.deferral.Active()
	r.mu.Unlock()
	if over {
		r.converge(now)
	}
}

// deadline returns when advance may end the restart without another word; zero: it is over.
func (r *ownRestart) deadline() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deferral.Deadline()
}

// watch ends the restart when it is over.
func (r *ownRestart) watch(ctx context.Context) {
	for {
		r.advance(time.Now())
		next := r.deadline()
		if next.IsZero() {
			return
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// converge has best paths selected.
func (r *ownRestart) converge(now time.Time) {
	r.table.Converge()
	r.mu.Lock()
	inventory := r.inventory
	r.mu.Unlock()
	if inventory {
		r.table.InventoryComplete()
	}
	r.hub.publish(Event{Kind: EventConverged, Time: now})
}
