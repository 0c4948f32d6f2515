package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// machine is the whole state of a peer's sessions: the link of RFC 4271 and,
// while a collision is undecided or a restarted peer knocks, a challenger. It is
// pure and not safe for concurrent use.
//
// The caller feeds events with step, calls advance when the time of deadline has
// come, and carries out what effects returns, in order, before the next step.
type machine struct {
	cfg        machineConfig
	primary    link
	challenger link // state Idle: none
	conns      connID
	out        []effect

	back        backoff
	plainUntil  time.Time // until then our OPENs go without capabilities
	refuseUntil time.Time // incoming connections are refused until then
}

// machineConfig holds what the machine must know of the peer's configuration.
type machineConfig struct {
	localID, localAS uint32
	passive          bool
	as4              bool           // without the capability of RFC 6793 there can be no session
	retryMin         time.Duration  // first wait after an attempt that nobody answered, growing ...
	retryMax         time.Duration  // ... up to this
	errorMin         time.Duration  // first wait after a refusal or a protocol error, doubling ...
	errorMax         time.Duration  // ... up to this
	dialMin          time.Duration  // first time an attempt to connect may take, doubling ...
	dialTimeout      time.Duration  // ... up to this
	sendHoldTime     time.Duration  // 0: RFC 9687's default
	random           func() float64 // uniform in [0, 1)
}

// sendHold is the send hold time: the greater of 8 minutes and twice the hold
// time unless configured (RFC 9687, Section 5).
func (c *machineConfig) sendHold(hold time.Duration) time.Duration {
	if c.sendHoldTime > 0 {
		return c.sendHoldTime
	}
	return max(8*time.Minute, 2*hold)
}

func newMachine(cfg machineConfig) *machine {
	m := &machine{cfg: cfg}
	m.primary = link{m: m, stopped: true}
	m.challenger = link{m: m}
	return m
}

// state is the state an operator wants to see: that of the link that got
// farther.
func (m *machine) state() State { return max(m.primary.state, m.challenger.state) }

// effects returns what is to be done and forgets it.
func (m *machine) effects() []effect {
	out := m.out
	m.out = nil
	return out
}

// step feeds one event.
func (m *machine) step(now time.Time, ev event) {
	switch ev.kind {
	case evConnConfirmed:
		m.incoming(now, ev)
	case evManualStop, evAutomaticStop:
		m.stopBoth(now, ev)
	case evManualStart:
		m.back, m.refuseUntil, m.plainUntil = backoff{}, time.Time{}, time.Time{}
		m.primary.step(now, ev)
	default:
		m.route(now, ev)
	}
	m.settle()
}

// nextConn names a new connection.
func (m *machine) nextConn() connID {
	m.conns++
	return m.conns
}

// route gives an event to the link whose connection it concerns. Reports about
// connections that are gone are ignored, except that a connection that opened
// too late is closed.
func (m *machine) route(now time.Time, ev event) {
	l := m.find(ev.conn)
	if l == nil {
		if ev.kind == evConnAcked {
			m.out = append(m.out, effect{kind: effClose, conn: ev.conn})
		}
		return
	}
	if ev.kind == evOpen && l.state == OpenSent && !m.collide(now, l, ev.open) {
		return
	}
	l.step(now, ev)
}

// plainTime is for how long after the wait for the next attempt the peer is held for one
// that knows no capabilities. Later it may be another.
const plainTime = 2 * time.Minute

// notePlain decides, when a connection in state l has failed, whether the next OPEN goes
// without capabilities: after Unsupported Optional Parameter, by which a peer says that
// it knows none (RFC 5492, Section 3), and only until such an OPEN has failed, too, or
// its session has ended. So a peer that says it wrongly, or that has learned them since,
// is asked in full again. next is when the next attempt begins.
func (m *machine) notePlain(l *link, n wire.Notification, next time.Time) {
	switch {
	case l.state == Established:
	case l.plain:
		m.plainUntil = time.Time{}
	case n.Code == wire.CodeOpen && n.Subcode == wire.SubOptionalParameter && !m.cfg.as4:
		m.plainUntil = next.Add(plainTime)
	}
}

// plain reports whether an OPEN that is sent now goes without capabilities.
func (m *machine) plain(now time.Time) bool { return now.Before(m.plainUntil) }

// rival returns the other link.
func (m *machine) rival(l *link) *link {
	if l == &m.primary {
		return &m.challenger
	}
	return &m.primary
}

func (m *machine) find(conn connID) *link {
	switch {
	case conn == 0:
		return nil
	case conn == m.primary.conn:
		return &m.primary
	case conn == m.challenger.conn:
		return &m.challenger
	}
	return nil
}

// admits reports whether an incoming connection is taken at all.
func (m *machine) admits(now time.Time) bool {
	return !m.primary.stopped && !now.Before(m.refuseUntil)
}

// incoming takes the peer's connection: on the primary link if that has none, as
// the challenger otherwise. A challenger that is still there gives way: the
// peer has given up on it, or is flooding us, and either way one is enough.
func (m *machine) incoming(now time.Time, ev event) {
	if !m.admits(now) {
		m.reject(ev.conn)
		return
	}
	if m.primary.conn == 0 {
		m.primary.step(now, ev)
		return
	}
	if m.challenger.conn != 0 {
		m.dismiss(&m.challenger)
	}
	if m.primary.state == Established {
		m.challenger.heldOpen(now, ev.conn)
		return
	}
	m.challenger.opened(now, ev.conn, false)
}

// reject refuses a connection: without a word if the peer is stopped, since it
// has been told why already, else with Cease/Connection Rejected (RFC 4486).
func (m *machine) reject(conn connID) {
	if !m.primary.stopped {
		n := wire.Notification{Code: wire.CodeCease, Subcode: wire.SubRejected}
		m.out = append(m.out, effect{kind: effNotify, conn: conn, notif: n})
	}
	m.out = append(m.out, effect{kind: effClose, conn: conn})
}

// stopBoth feeds a stop to both links; the challenger then ceases to be.
func (m *machine) stopBoth(now time.Time, ev event) {
	if m.challenger.conn != 0 {
		m.challenger.step(now, ev)
		m.challenger = link{m: m}
	}
	m.primary.step(now, ev)
}

// settle restores the invariants after a step: a challenger without a connection
// does not exist; one whose rival has nothing to show takes its place.
func (m *machine) settle() {
	if m.challenger.conn == 0 {
		m.challenger = link{m: m}
		return
	}
	if m.challenger.state == Established && m.primary.conn != 0 {
		m.dismiss(&m.primary)
	}
	if m.primary.conn == 0 {
		m.primary = m.challenger
		m.challenger = link{m: m}
	}
}
