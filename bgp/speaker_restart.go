package bgp

import (
	"context"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
)

// InventoryComplete declares that all local paths of the start have been
// originated. A speaker with GracefulRestart.Restarting holds its End-of-RIB back
// until then; for others it does nothing.
func (s *Speaker) InventoryComplete() {
	s.mu.Lock()
	s.inventory = true
	release := !s.deferral.Active() || !s.cfg.GracefulRestart.EarlyUpdates
	s.mu.Unlock()
	if release {
		s.table.InventoryComplete()
	}
}

// converge ends the restart.
func (s *Speaker) converge(now time.Time) {
	s.table.Converge()
	s.mu.Lock()
	inventory := s.inventory
	s.mu.Unlock()
	if inventory {
		s.table.InventoryComplete()
	}
	s.hub.publish(Event{Kind: EventConverged, Time: now})
}

// Restarting reports whether the speaker's own graceful restart is still going on:
// the R bit is set and End-of-RIB is awaited.
func (s *Speaker) Restarting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deferral.Active()
}

// watchDeferral ends the restart when it is over.
func (s *Speaker) watchDeferral(ctx context.Context) {
	for {
		now := time.Now()
		s.mu.Lock()
		was := s.deferral.Active()
		s.deferral.Advance(now)
		done, next := !s.deferral.Active(), s.deferral.Deadline()
		s.mu.Unlock()
		if done {
			if was {
				s.converge(now)
			}
			return
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.recheck:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// noteDeferral reports something to the deferral, and has it looked at.
func (s *Speaker) noteDeferral(f func(*fsm.Deferral[PeerKey])) {
	s.mu.Lock()
	active := s.deferral.Active()
	if active {
		f(s.deferral)
	}
	s.mu.Unlock()
	if !active {
		return
	}
	select {
	case s.recheck <- struct{}{}:
	default:
	}
}
