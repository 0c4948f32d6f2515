package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Machine is the finite state machine of a peer (RFC 4271, Section 8), with the detection of
// connection collisions (Section 6.8). It is pure, and not safe for concurrent use.
//
// The owner reports events with Step and Received, calls Advance at the time of Deadline,
// and after each of these carries out what Effects returns, in order.
//
// A peer usually has one connection. A second one exists while a collision is undecided, or
// while a peer that may have restarted opens a new connection beside its old session.
type Machine struct {
	shared
	first  connection // in Idle while the peer has no connection
	second connection // only while there are two; else in Idle, without a number
}

// New returns the machine of a peer that is stopped: EventManualStart starts it. Zero fields
// of c have the values that [Config] says.
func New(c Config) *Machine {
	m := &Machine{shared: shared{cfg: c.withDefaults()}}
	m.first = connection{shared: &m.shared, stopped: true}
	m.second = connection{shared: &m.shared}
	return m
}

// Configure replaces the configuration. It counts from the next event on; timers that run
// are not changed.
func (m *Machine) Configure(c Config) { m.cfg = c.withDefaults() }

// State returns the state that an operator wants to see: that of the connection that is
// nearer to a session.
func (m *Machine) State() State { return max(m.first.state, m.second.state) }

// Stopped reports whether the peer is stopped until EventManualStart.
func (m *Machine) Stopped() bool { return m.first.stopped }

// Failures returns how many connections have failed since the last session that lasted for
// [StableTime].
func (m *Machine) Failures() int { return m.back.failures }

// RefusedUntil returns the time until when the peer's connections are refused because of
// Event.IdleHold. It may be over; the zero time says that none was set.
func (m *Machine) RefusedUntil() time.Time { return m.refuseUntil }

// NoCapabilities reports whether an OPEN that is sent at now goes without capabilities: see
// the package's documentation.
func (m *Machine) NoCapabilities(now time.Time) bool { return now.Before(m.plainUntil) }

// NextConn returns a new number, for a connection that the peer has opened.
func (m *Machine) NextConn() ConnID { return m.newConn() }

// Effects returns what is to be done, in order, and forgets it.
func (m *Machine) Effects() []Effect {
	out := m.out
	m.out = nil
	return out
}

// Step takes in one event.
func (m *Machine) Step(now time.Time, ev Event) {
	switch ev.Kind {
	case EventConnConfirmed:
		m.incoming(now, ev)
	case EventManualStop, EventAutomaticStop:
		m.stopBoth(now, ev)
	case EventBFDAdminDown, EventBFDDown, EventBFDUp:
		m.bfd(now, ev)
	case EventManualStart:
		m.back, m.refuseUntil, m.plainUntil = backoff{}, time.Time{}, time.Time{}
		m.gate.forgetFlaps(now, &m.cfg.Strict)
		m.step(now, &m.first, ev)
	default:
		m.route(now, ev)
	}
	m.settle()
}

// step feeds an event to a connection.
func (m *Machine) step(now time.Time, c *connection, ev Event) {
	c.contested = c.state != Established && m.other(c).state >= OpenSent
	c.step(now, ev)
}

// route feeds an event to the connection that it concerns. Reports about connections that
// are closed are ignored, except that a connection that opened too late is closed.
func (m *Machine) route(now time.Time, ev Event) {
	c := m.find(ev.Conn)
	if c == nil {
		if ev.Kind == EventConnAcked {
			m.emit(Effect{Kind: EffectClose, Conn: ev.Conn})
		}
		return
	}
	if ev.Kind == EventOpen && c.state == OpenSent && !c.bfd.on && !m.collide(now, c, ev.Negotiated) {
		return
	}
	m.step(now, c, ev)
}

// other returns the connection that c is not.
func (m *Machine) other(c *connection) *connection {
	if c == &m.first {
		return &m.second
	}
	return &m.first
}

func (m *Machine) find(id ConnID) *connection {
	switch {
	case id == 0:
		return nil
	case id == m.first.id:
		return &m.first
	case id == m.second.id:
		return &m.second
	}
	return nil
}

// incoming takes the peer's connection: as the first if there is none, else as the second.
// A second one that is there already is closed: the peer has given up on it, or is flooding
// us, and either way one is enough.
func (m *Machine) incoming(now time.Time, ev Event) {
	if m.first.stopped || now.Before(m.refuseUntil) {
		m.refuse(ev.Conn)
		return
	}
	if m.first.id == 0 {
		m.step(now, &m.first, ev)
		return
	}
	if m.second.id != 0 {
		m.second.lose()
	}
	if m.first.state == Established {
		m.second.awaitOpen(now, ev.Conn)
		return
	}
	m.second.opened(now, ev.Conn, false)
}

// refuse closes a connection that the peer has opened: without a NOTIFICATION if the peer is
// stopped, since it has had one for that, else after Cease/Connection Rejected (RFC 4486,
// Section 4).
func (m *Machine) refuse(id ConnID) {
	if !m.first.stopped {
		n := wire.Notification{Code: wire.CodeCease, Subcode: wire.SubRejected}
		m.emit(Effect{Kind: EffectSendNotification, Conn: id, Notification: n})
	}
	m.emit(Effect{Kind: EffectClose, Conn: id})
}

// stopBoth stops both connections.
func (m *Machine) stopBoth(now time.Time, ev Event) {
	if m.second.id != 0 {
		m.step(now, &m.second, ev)
		m.second = connection{shared: &m.shared}
	}
	m.step(now, &m.first, ev)
}

// settle restores what holds between events: there is a second connection only beside a
// first one, and none beside a session that it has become itself.
func (m *Machine) settle() {
	if m.second.id == 0 {
		m.second = connection{shared: &m.shared}
		return
	}
	if m.second.state == Established && m.first.id != 0 {
		m.first.lose()
	}
	if m.first.id == 0 {
		m.first = m.second
		m.second = connection{shared: &m.shared}
	}
}

// Received restarts the HoldTimer of the session on a connection: an UPDATE or a
// ROUTE-REFRESH has come. It has no effects.
func (m *Machine) Received(now time.Time, id ConnID) {
	if c := m.find(id); c != nil {
		c.restartHold(now)
	}
}

// Sent restarts the SendHoldTimer of the session on a connection: the peer's TCP has taken a
// message of ours. It has no effects.
func (m *Machine) Sent(now time.Time, id ConnID) {
	if c := m.find(id); c != nil {
		c.restartSendHold(now)
	}
}

// Deadline returns the time of the next timer; zero if none runs.
func (m *Machine) Deadline() time.Time {
	at := earliest(m.first.deadline(), m.second.deadline())
	if m.first.stopped {
		return at
	}
	return earliest(at, m.gate.opensAt, m.gate.forgetAt)
}

// Advance does what is due at now. The owner first reports the input that it has: see
// HoldDue.
func (m *Machine) Advance(now time.Time) {
	if due(now, m.gate.forgetAt) {
		m.gate.flaps, m.gate.forgetAt = 0, time.Time{}
	}
	if due(now, m.gate.opensAt) {
		m.gate.opensAt = time.Time{}
		m.bfdOpen(now, Event{Kind: EventBFDUp})
	}
	m.first.advance(now)
	m.settle()
	m.second.advance(now)
	m.settle()
}

// HoldDue reports whether a HoldTimer has expired that Advance has not acted upon. An owner
// that was busy looks for input of the peer's before it lets Advance end the session.
func (m *Machine) HoldDue(now time.Time) bool {
	return due(now, m.first.holdAt) || due(now, m.second.holdAt)
}

// PostponeHold lets the HoldTimers that expire before until run until then.
func (m *Machine) PostponeHold(until time.Time) {
	for _, c := range []*connection{&m.first, &m.second} {
		if !c.holdAt.IsZero() && c.holdAt.Before(until) {
			c.holdAt = until
		}
	}
}

// RetryNow makes a peer that waits for its next attempt to connect, or for the answer to one
// for longer than [youngDial], try at once: there is reason to believe that it can be reached
// again. If the peer has a connection, or an attempt is younger, and the peer or the network ends that within
// [pathUpTime], the next one follows at once. A peer that is stopped or refused is not concerned.
func (m *Machine) RetryNow(now time.Time) {
	c := &m.first
	waits := c.state == Active && !c.retryAt.IsZero() || c.state == Idle && !c.idleAt.IsZero() && !now.Before(m.refuseUntil)
	if !waits && (c.state != Connect || now.Sub(c.dialedAt) < youngDial) {
		m.pathUp = now
		return
	}
	m.pathUp, m.back.attempts = time.Time{}, 0
	c.drop()
	c.start(now)
}

// Returned is RetryNow for a peer that has been away and is there again: what was refused or not
// answered is of before, and is forgotten. It changes nothing for a peer that has a session.
func (m *Machine) Returned(now time.Time) {
	if m.State() == Established {
		return
	}
	m.back = backoff{}
	m.RetryNow(now)
}

// youngDial is how long the answer to an attempt to connect may be on its way. An attempt that is
// younger is not given up for a new one: the peer may have accepted its connection already, and
// would have two of them.
const youngDial = 250 * time.Millisecond
