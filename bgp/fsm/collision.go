package fsm

import (
	"cmp"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// collisionTime is how long after the session became Established a connection that the peer
// has opened may still be the loser of a collision, rather than the sign of a restart.
const collisionTime = time.Second

// collide detects a connection collision (RFC 4271, Section 6.8) when an OPEN has come on c,
// and reports whether c remains.
func (m *Machine) collide(now time.Time, c *connection, open *Negotiated) bool {
	other := m.other(c)
	switch other.state {
	case Established:
		// RFC 4724, Section 4.2: "In case [it] does not detect the termination of the
		// old TCP session and still considers the BGP session as being established, it
		// MUST treat the subsequent open connection from the peer as an indication of
		// the termination of the old TCP session and act accordingly (when the Graceful
		// Restart Capability has been received from the peer)." A connection as old as
		// the session is not a subsequent one, but an ordinary collision.
		if other.restarts && open.restarts() && c.openedAt.Sub(other.upAt) >= collisionTime {
			other.end(now, EventCollisionDump, wire.Notification{}, false)
			other.state = Idle
			return true
		}
		c.lose()
		return false
	case OpenSent:
		// One that waits for BFD has its OPEN behind it, as in OpenConfirm. It may wait for long:
		// that the peer has opened another one since shows that it has given this one up.
		if other.bfd.on && (c.openedAt.Sub(other.openedAt) >= collisionTime || m.wins(c, other, open)) {
			other.lose()
			return true
		}
		if other.bfd.on {
			c.lose()
			return false
		}
		// The OPEN says who wins. The loser is closed before it can become Established
		// on the peer's side. A connection on which nothing was said for a while is not
		// worth waiting for.
		if c.outgoing != other.outgoing && now.Sub(other.openedAt) < collisionTime && !m.wins(c, other, open) {
			c.lose()
			return false
		}
	case OpenConfirm:
		if m.wins(c, other, open) {
			other.lose()
			return true
		}
		c.lose()
		return false
	}
	return true
}

// wins reports whether c wins against other: the connection opened by the side with the
// higher BGP Identifier does, with equal ones the higher AS number (RFC 6286, Section 2.3).
// Between two that the same side opened the newer one wins.
func (m *Machine) wins(c, other *connection, open *Negotiated) bool {
	if c.outgoing == other.outgoing {
		return c.id > other.id
	}
	id, as := open.remote()
	ours := cmp.Or(m.cfg.RouterID.Compare(id), cmp.Compare(m.cfg.AS, as)) > 0
	return c.outgoing == ours
}
