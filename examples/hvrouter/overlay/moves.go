package overlay

import (
	"fmt"
	"time"
)

// moves is what is remembered of a guest's MAC that has moved: that the guest took over from another VTEP, that one took
// over, or that one gave back.
//
// RFC 7432, Section 15.1: "if it detects N MAC moves before the timer expires [...] it concludes that a duplicate-MAC
// situation has occurred. The PE MUST alert the operator and stop sending and processing any BGP MAC/IP Advertisement
// routes for that MAC address until a corrective action is taken by the operator."
//
// Here the MAC is frozen: its sequence number is raised no more, so that it is not taken from the other VTEP again. What
// others announce is followed as before, and if nobody else has the MAC, the guest that is here is announced: to withdraw
// it would take it off the network. It ends when the operator has said where the guest is (see Station.Down), or when the
// MAC has not moved for the time in which the moves are counted.
type moves struct {
	guest       string
	since, last time.Time // the first and the last that are counted
	count       int
	frozen      bool
}

// until returns when the moves are forgotten if there is none until then.
func (m *moves) until(within time.Duration) time.Time {
	if m.frozen {
		return m.last.Add(within)
	}
	return m.since.Add(within)
}

// moved counts a move of a guest's MAC, of which the last notice says what it was.
func (s *segment) moved(l *local, b *entry, now time.Time, fx *Effects) {
	within := s.config.EVPN.DuplicateTime.Duration
	m := s.history[l.MAC]
	if m == nil || !now.Before(m.until(within)) {
		m = &moves{since: now}
		s.history[l.MAC] = m
	}
	m.guest, m.last = l.Guest, now
	if m.count++; m.count >= s.config.EVPN.DuplicateMoves && !m.frozen {
		m.frozen = true
		fx.notice(Frozen, s, l, b)
	}
}

// frozen reports whether the sequence number of a MAC is raised no more.
func (s *segment) frozen(mac MAC, now time.Time) bool {
	m := s.history[mac]
	return m != nil && m.frozen && now.Before(m.until(s.config.EVPN.DuplicateTime.Duration))
}

// forget forgets the moves of a MAC.
func (s *segment) forget(mac MAC, fx *Effects) {
	m := s.history[mac]
	if m == nil {
		return
	}
	delete(s.history, mac)
	if m.frozen {
		s.moves[Thawed]++
		fx.Notices = append(fx.Notices, Notice{Kind: Thawed, Overlay: s.config.Name, Guest: m.guest, MAC: mac})
	}
}

// forgetOld forgets moves whose time is over.
func (s *segment) forgetOld(now time.Time, fx *Effects) {
	for _, mac := range sortedMACs(s.history) {
		if !now.Before(s.history[mac].until(s.config.EVPN.DuplicateTime.Duration)) {
			s.forget(mac, fx)
		}
	}
}

// why says that a MAC is frozen, "" if it is not.
func (m *moves) why() string {
	if m == nil || !m.frozen {
		return ""
	}
	return fmt.Sprintf("it is a duplicate: it has moved %d times in %v, and its sequence number is raised no more", m.count, m.last.Sub(m.since).Round(time.Second))
}
