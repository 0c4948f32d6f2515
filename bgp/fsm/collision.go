package bgp

import (
	"cmp"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// collisionTime is how long after the session became Established a connection of
// the peer's may still be the loser of a collision, rather than the sign of a
// restart.
const collisionTime = time.Second

// collide applies RFC 4271, Section 6.8 when an OPEN arrives on l, and reports
// whether l lives on.
func (m *machine) collide(now time.Time, l *link, open openFacts) bool {
	other := m.rival(l)
	switch other.state {
	case Established:
		// A peer that can restart gracefully has lost the old session without our
		// noticing: the new connection replaces it (RFC 4724, Section 4.2).
		// A connection as old as the session is an ordinary collision.
		if other.facts.restart && open.restart && l.opening.Sub(other.since) >= collisionTime {
			other.end(now, evCollisionDump, wire.Notification{}, false)
			other.state = Idle
			return true
		}
		m.dismiss(l)
		return false
	case OpenSent:
		// The OPEN has told us who wins: the loser goes before it can become
		// Established on the peer's side. A connection on which nothing was said
		// for a while is not worth waiting for.
		if l.outgoing != other.outgoing && now.Sub(other.opening) < collisionTime && !m.keeps(l, other, open) {
			m.dismiss(l)
			return false
		}
	case OpenConfirm:
		if m.keeps(l, other, open) {
			m.dismiss(other)
			return true
		}
		m.dismiss(l)
		return false
	}
	return true
}

// keeps reports whether l wins against other: the connection opened by the side
// with the higher BGP Identifier does, with equal ones the higher AS (RFC 6286,
// Section 2.3). Between two that the same side opened the newer one wins.
func (m *machine) keeps(l, other *link, open openFacts) bool {
	if l.outgoing == other.outgoing {
		return l.conn > other.conn
	}
	ours := cmp.Or(cmp.Compare(m.cfg.localID, open.id), cmp.Compare(m.cfg.localAS, open.as)) > 0
	return l.outgoing == ours
}

// dismiss ends the loser of a collision, which is not Established.
func (m *machine) dismiss(l *link) {
	if l.state >= OpenSent {
		l.emit(effect{kind: effNotify, notif: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubCollision}})
	}
	l.drop()
	l.state = Idle
}
