package bgp

import (
	"context"
	"time"
)

// InventoryComplete declares that all local paths of the start have been
// originated. A speaker with GracefulRestart.Restarting holds its End-of-RIB back
// until then; for others it does nothing.
func (s *Speaker) InventoryComplete() {
	s.mu.Lock()
	s.inventory = true
	release := !s.startup.active || !s.cfg.GracefulRestart.EarlyUpdates
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
	return s.startup.active
}

// watchStartup ends the restart when it is over.
func (s *Speaker) watchStartup(ctx context.Context) {
	for {
		now := time.Now()
		s.mu.Lock()
		was := s.startup.active
		done := s.startup.done(now)
		next := s.startup.next(now)
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

// noteStartup changes the startup's knowledge and has it looked at.
func (s *Speaker) noteStartup(f func(*startup)) {
	s.mu.Lock()
	active := s.startup.active
	if active {
		f(s.startup)
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

// gracefulRestart is what the peer's OPEN says: the speaker's configuration with
// the peer's own times.
func (s *Speaker) gracefulRestart(c *PeerConfig) GracefulRestart {
	g := s.cfg.GracefulRestart
	if c.GracefulRestart != nil {
		g = *c.GracefulRestart
	}
	g.RestartTime = or(c.RestartTime, g.RestartTime)
	return g
}
