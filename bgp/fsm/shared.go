package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// shared is what both connections of a peer have in common.
type shared struct {
	cfg  Config   // as given to New or Configure, with defaults
	out  []Effect // what Effects has not returned yet
	last ConnID   // the last number that was given to a connection
	back backoff  // the delay before the next attempt to connect

	gate bfdGate // what BFD says of the path

	plainUntil  time.Time // until then our OPENs go without capabilities
	refuseUntil time.Time // the peer's connections are refused until then
	pathUp      time.Time // RetryNow was called while there was a connection, and BFD has not been Down since
}

func (s *shared) emit(e Effect) { s.out = append(s.out, e) }

// newConn returns a number for a connection.
func (s *shared) newConn() ConnID {
	s.last++
	return s.last
}

// plainTime is for how long after the wait for the next attempt our OPEN may go without
// capabilities. Later it may be another peer that answers.
const plainTime = 2 * time.Minute

// pathUpTime is how much later than the word that the path is up the end of a connection may be heard of
// that is older than that. Both come from the peer's restart, by ways of their own.
const pathUpTime = time.Second

// soon returns the wait d, or none if the path has just come up: what has ended is of before.
func (s *shared) soon(now time.Time, d time.Duration) time.Duration {
	if s.pathUp.IsZero() || now.Sub(s.pathUp) > pathUpTime {
		return d
	}
	s.pathUp, s.back.attempts = time.Time{}, 0 // once
	return 0
}

// noteRefusal decides, when a connection in state s has failed, whether the next OPEN goes
// without capabilities. It does after Unsupported Optional Parameter, by which a peer says
// that it knows none (RFC 5492, Section 3), and only until such an OPEN has failed, too, or
// its session has ended: a peer that said it wrongly, or that has learned them since, is
// asked in full again. plain says that the OPEN of this connection had none; next is when
// the next attempt begins.
func (s *shared) noteRefusal(state State, plain bool, n wire.Notification, next time.Time) {
	switch {
	case state == Established:
	case plain:
		s.plainUntil = time.Time{}
	case n.Code == wire.CodeOpen && n.Subcode == wire.SubOptionalParameter && !s.cfg.RequireAS4:
		s.plainUntil = next.Add(plainTime)
	}
}

// earliest returns the first of several deadlines; the zero time is one that never comes.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// due reports whether a deadline has come; the zero time is one that never comes.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }
