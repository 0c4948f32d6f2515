package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// link is the state machine of one TCP connection, RFC 4271 Section 8.2.2. It is
// pure: time comes in as an argument and effects go out as values. The states'
// own files (link_*.go) list every event in the order of the RFC.
//
// A peer usually has one link. A second one exists while a connection collision
// is undecided (Section 6.8); the machine that owns both is [machine].
type link struct {
	m        *machine
	state    State
	conn     connID // 0: no connection and none being opened
	outgoing bool   // we opened it
	stopped  bool   // in Idle: no automatic start, and nobody is let in

	// Deadlines; the zero time is a timer that does not run.
	retryAt, holdAt, keepaliveAt, idleAt, sendHoldAt time.Time

	hold    time.Duration // negotiated; 0: neither hold timer nor KEEPALIVEs
	facts   openFacts     // of the peer's OPEN, from OpenConfirm on
	held    bool          // our OPEN waits for the peer's
	plain   bool          // our OPEN had no capabilities
	opening time.Time     // when the connection was opened
	since   time.Time     // Established since
}

// openHold is the hold time before it is negotiated: Section 8.2.2 suggests four
// minutes.
const openHold = 4 * time.Minute

// step feeds one event to the link.
func (l *link) step(now time.Time, ev event) {
	switch l.state {
	case Idle:
		l.idle(now, ev)
	case Connect:
		l.connect(now, ev)
	case Active:
		l.active(now, ev)
	case OpenSent:
		l.openSent(now, ev)
	case OpenConfirm:
		l.openConfirm(now, ev)
	case Established:
		l.established(now, ev)
	}
}

func (l *link) emit(e effect) {
	e.conn = l.conn
	l.m.out = append(l.m.out, e)
}

// dial starts (or restarts) our attempt to connect.
func (l *link) dial(now time.Time) {
	l.state, l.outgoing = Connect, true
	l.conn = l.m.nextConn()
	l.emit(effect{kind: effDial})
	l.retryAt = now.Add(doubled(l.m.cfg.dialMin, l.m.cfg.dialTimeout, l.m.back.attempts))
}

// wait goes to Active: the peer may come, and unless it is passive we try again
// ourselves after d.
func (l *link) wait(now time.Time, d time.Duration) {
	l.drop()
	l.state = Active
	if !l.m.cfg.passive {
		l.retryAt = now.Add(d)
	}
}

// opened sends our OPEN on a fresh connection.
func (l *link) opened(now time.Time, conn connID, outgoing bool) {
	l.stopTimers()
	l.state, l.conn, l.outgoing, l.opening = OpenSent, conn, outgoing, now
	l.sendOpen(now)
	l.holdAt = now.Add(openHold)
}

func (l *link) sendOpen(now time.Time) {
	l.plain = l.m.plain(now)
	l.emit(effect{kind: effSendOpen, plain: l.plain})
}

// heldOpen takes a connection of the peer's while a session is Established. Only
// the peer's OPEN can show that the peer has restarted; our own would mislead a
// peer that has just lost a collision.
func (l *link) heldOpen(now time.Time, conn connID) {
	l.state, l.conn, l.outgoing, l.opening, l.held = OpenSent, conn, false, now, true
	l.holdAt = now.Add(openHold)
}

// fail ends the connection with a NOTIFICATION and goes to Idle.
func (l *link) fail(now time.Time, cause eventKind, n wire.Notification) {
	was := *l
	l.end(now, cause, n, true)
	l.rest(now, l.m.errorDelay())
	l.m.notePlain(&was, wire.Notification{}, l.idleAt)
}

// lost ends a connection that the network or the peer has ended, the latter perhaps with
// a NOTIFICATION.
func (l *link) lost(now time.Time, cause eventKind, n wire.Notification) {
	was, contested := *l, l.m.contested(l)
	l.end(now, cause, n, false)
	d := l.m.delay(now, &was, n, contested)
	if was.state == OpenSent && cause == evConnFails {
		l.wait(now, d)
	} else {
		l.rest(now, d)
	}
	if !contested {
		l.m.notePlain(&was, n, now.Add(d))
	}
}

// end closes the connection, after a NOTIFICATION if send is set.
func (l *link) end(now time.Time, cause eventKind, n wire.Notification, send bool) {
	if send && n.Code != 0 {
		l.emit(effect{kind: effNotify, notif: n, cause: cause})
	}
	if l.state == Established {
		l.emit(effect{kind: effDown, cause: cause, notif: n})
		l.m.back.ended(now.Sub(l.since))
		l.m.plainUntil = time.Time{}
	}
	l.drop()
}

// drop closes the connection (or the attempt), if there is one, and stops all
// timers.
func (l *link) drop() {
	if l.conn != 0 {
		l.emit(effect{kind: effClose})
	}
	l.conn, l.facts, l.hold, l.held, l.plain = 0, openFacts{}, 0, false, false
	l.stopTimers()
}

// rest goes to Idle for a while.
func (l *link) rest(now time.Time, d time.Duration) {
	l.state = Idle
	l.idleAt = now.Add(d)
}

// halt goes to Idle for good: until ManualStart.
func (l *link) halt() {
	l.state, l.stopped = Idle, true
}

func (l *link) stopTimers() {
	l.retryAt, l.holdAt, l.keepaliveAt = time.Time{}, time.Time{}, time.Time{}
	l.idleAt, l.sendHoldAt = time.Time{}, time.Time{}
}

// heard restarts the hold timer.
func (l *link) heard(now time.Time) {
	if l.hold > 0 {
		l.holdAt = now.Add(l.hold)
	}
}

// beat sends a KEEPALIVE and arms the next, at a third of the hold time less up
// to a quarter of jitter (Section 10).
func (l *link) beat(now time.Time) {
	l.emit(effect{kind: effKeepalive})
	if l.hold > 0 {
		l.keepaliveAt = now.Add(l.m.jittered(l.hold / 3))
	}
}

// sent restarts the send hold timer: the peer's TCP took something from us
// (RFC 9687, Section 3).
func (l *link) sent(now time.Time) {
	if l.state == Established && l.hold > 0 {
		l.sendHoldAt = now.Add(l.m.cfg.sendHold(l.hold))
	}
}
