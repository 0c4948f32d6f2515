package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// idle is RFC 4271, Section 8.2.2, "Idle state". Unlike the RFC, which refuses
// every connection here, a peer that only waits for its idle hold time takes
// the connection that the other side opens: a restarted peer is back as soon as
// it is back.
func (l *link) idle(now time.Time, ev event) {
	switch ev.kind {
	case evManualStart: // 1
		l.stopped = false
		l.start(now)
	case evIdleHoldExpires: // 13: the automatic start of 8.1.1
		if !l.stopped {
			l.start(now)
		}
	case evManualStop: // 2
		l.stopTimers()
		l.stopped = true
	case evConnConfirmed: // 17
		l.opened(now, ev.conn, false)
	}
}

// start leaves Idle.
func (l *link) start(now time.Time) {
	l.stopTimers()
	if l.m.cfg.passive {
		l.state = Active
		return
	}
	l.dial(now)
}

// connect is RFC 4271, Section 8.2.2, "Connect State". A failed attempt goes to
// Active rather than Idle: the state in which we wait for either side. So does one that
// took too long, after which the RFC connects again at once, every two minutes.
func (l *link) connect(now time.Time, ev event) {
	switch ev.kind {
	case evManualStop: // 2
		l.drop()
		l.halt()
	case evConnectRetryExpires: // 9: the attempt took too long
		l.emit(effect{kind: effNoAnswer})
		l.wait(now, l.m.retryDelay())
	case evConnFails: // 18
		l.wait(now, l.m.retryDelay())
	case evConnAcked: // 16
		l.opened(now, ev.conn, true)
	case evAutomaticStop: // 8
		l.drop()
		l.restStopped(now, ev)
	}
}

// active is RFC 4271, Section 8.2.2, "Active State".
func (l *link) active(now time.Time, ev event) {
	switch ev.kind {
	case evManualStop: // 2
		l.stopTimers()
		l.halt()
	case evConnectRetryExpires: // 9
		l.dial(now)
	case evConnConfirmed: // 17
		l.opened(now, ev.conn, false)
	case evAutomaticStop: // 8
		l.restStopped(now, ev)
	}
}

// openSent is RFC 4271, Section 8.2.2, "OpenSent". The collision check of event
// 19 is the machine's, which has run it before.
func (l *link) openSent(now time.Time, ev event) {
	switch ev.kind {
	case evOpen: // 19
		if l.held {
			l.held = false
			l.sendOpen(now)
		}
		l.state, l.facts, l.hold = OpenConfirm, ev.open, ev.open.hold
		l.holdAt = time.Time{}
		l.heard(now)
		l.beat(now)
	case evConnFails: // 18
		l.lost(now, ev.kind, wire.Notification{})
	case evKeepalive, evUpdate, evUpdateErr: // 26, 27, 28: not before an OPEN
		l.fail(now, ev.kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(l.state)})
	default:
		l.anyOpen(now, ev)
	}
}

// openConfirm is RFC 4271, Section 8.2.2, "OpenConfirm State".
func (l *link) openConfirm(now time.Time, ev event) {
	switch ev.kind {
	case evKeepalive: // 26
		l.heard(now)
		l.state, l.since = Established, now
		l.m.back.attempts = 0
		l.sent(now)
		l.emit(effect{kind: effUp})
	case evKeepaliveExpires: // 11
		l.beat(now)
	case evConnFails: // 18
		l.lost(now, ev.kind, wire.Notification{})
	case evOpen, evUpdate, evUpdateErr: // 19, 27, 28
		l.fail(now, ev.kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(l.state)})
	default:
		l.anyOpen(now, ev)
	}
}

// established is RFC 4271, Section 8.2.2, "Established State".
func (l *link) established(now time.Time, ev event) {
	switch ev.kind {
	case evKeepalive, evUpdate: // 26, 27
		l.heard(now)
	case evKeepaliveExpires: // 11
		l.beat(now)
	case evSendHoldExpires: // 29, RFC 9687
		l.fail(now, ev.kind, wire.Notification{Code: wire.CodeSendHold})
	case evConnFails: // 18
		l.lost(now, ev.kind, wire.Notification{})
	case evUpdateErr: // 28
		l.fail(now, ev.kind, ev.notif)
	case evOpen: // 19
		l.fail(now, ev.kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(l.state)})
	default:
		l.anyOpen(now, ev)
	}
}

// anyOpen holds the events that OpenSent, OpenConfirm and Established treat
// alike.
func (l *link) anyOpen(now time.Time, ev event) {
	switch ev.kind {
	case evManualStop: // 2
		l.end(now, ev.kind, stopNotification(ev), true)
		l.halt()
	case evAutomaticStop: // 8
		l.end(now, ev.kind, stopNotification(ev), true)
		l.restStopped(now, ev)
	case evHoldExpires: // 10
		l.fail(now, ev.kind, wire.Notification{Code: wire.CodeHoldTimer})
	case evHeaderErr, evOpenErr: // 21, 22
		l.fail(now, ev.kind, ev.notif)
	case evCollisionDump: // 23
		l.end(now, ev.kind, wire.Notification{Code: wire.CodeCease, Subcode: wire.SubCollision}, true)
		l.rest(now, l.m.retryDelay())
	case evNotifVersion, evNotif: // 24, 25
		l.lost(now, ev.kind, ev.notif)
	}
}

// restStopped goes to Idle after an automatic stop, refusing everybody if the
// hold was asked for explicitly.
func (l *link) restStopped(now time.Time, ev event) {
	l.stopTimers()
	if ev.hold == 0 {
		l.rest(now, l.m.retryDelay())
		return
	}
	l.rest(now, ev.hold)
	l.m.refuseUntil = l.idleAt
}

// stopNotification is what a stop says: nothing if it is to look like a crash.
func stopNotification(ev event) wire.Notification {
	if ev.quiet {
		return wire.Notification{}
	}
	if ev.notif.Code == 0 {
		return wire.Notification{Code: wire.CodeCease, Subcode: wire.SubShutdown}
	}
	return ev.notif
}

// fsmSubcode is the subcode of Finite State Machine Error that names the state,
// RFC 6608.
func fsmSubcode(s State) uint8 { return uint8(s) - uint8(OpenSent) + 1 }
