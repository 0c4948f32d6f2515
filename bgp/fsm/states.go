package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// idle is RFC 4271, Section 8.2.2, "Idle state". It deviates from "In this state, BGP FSM
// refuses all incoming BGP connections for this peer": a peer that only waits for its
// IdleHoldTimer accepts them, so that a peer that has restarted is back as soon as it
// connects.
func (c *connection) idle(now time.Time, ev Event) {
	switch ev.Kind {
	case EventManualStart: // 1
		c.stopped = false
		c.start(now)
	case EventIdleHoldExpires: // 13
		if !c.stopped {
			c.start(now)
		}
	case EventManualStop: // 2
		c.stopTimers()
		c.stopped = true
	case EventConnConfirmed: // 17
		c.opened(now, ev.Conn, false)
	}
}

// connect is RFC 4271, Section 8.2.2, "Connect State". It deviates twice: a failed attempt
// leads to Active rather than Idle, the state in which we wait for either side; and so does
// one that took too long, after which the RFC begins the next at once, every two minutes.
func (c *connection) connect(now time.Time, ev Event) {
	switch ev.Kind {
	case EventManualStop: // 2
		c.drop()
		c.halt()
	case EventConnectRetryExpires: // 9: the attempt took too long
		c.emit(Effect{Kind: EffectNoAnswer})
		c.wait(now, c.back.retryDelay(&c.cfg))
	case EventConnFails: // 18
		c.wait(now, c.soon(now, c.back.retryDelay(&c.cfg)))
	case EventConnAcked: // 16
		c.opened(now, ev.Conn, true)
	case EventAutomaticStop: // 8
		c.drop()
		c.restStopped(now, ev)
	}
}

// active is RFC 4271, Section 8.2.2, "Active State".
func (c *connection) active(now time.Time, ev Event) {
	switch ev.Kind {
	case EventManualStop: // 2
		c.stopTimers()
		c.halt()
	case EventConnectRetryExpires: // 9
		c.dial(now)
	case EventConnConfirmed: // 17
		c.opened(now, ev.Conn, false)
	case EventAutomaticStop: // 8
		c.restStopped(now, ev)
	}
}

// openSent is RFC 4271, Section 8.2.2, "OpenSent". The machine has looked for a collision
// before event 19.
func (c *connection) openSent(now time.Time, ev Event) {
	if c.bfd.on {
		c.openSentBFD(now, ev)
		return
	}
	switch ev.Kind {
	case EventOpen: // 19
		if c.openWaits {
			c.openWaits = false
			c.sendOpen(now)
		}
		c.restarts, c.hold = ev.Negotiated.restarts(), ev.Negotiated.holdTime()
		c.strict = c.cfg.Strict.applies(ev.Negotiated)
		c.holdAt = time.Time{}
		c.restartHold(now)
		if c.strict && !c.gate.open() {
			c.awaitBFD(now)
			return
		}
		c.confirm(now)
	case EventConnFails: // 18
		c.lost(now, ev.Kind, wire.Notification{})
	case EventKeepalive, EventUpdate, EventUpdateError: // 26, 27, 28: not before an OPEN
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(c.state)})
	default:
		c.anyOpen(now, ev)
	}
}

// openSentBFD is draft-ietf-idr-bgp-bfd-strict-mode-19, Section 8.5, OpenSentBfdUpPending, and
// OpenSentConfirmedBfdUpPending once the peer's KEEPALIVE has come.
func (c *connection) openSentBFD(now time.Time, ev Event) {
	switch ev.Kind {
	case EventBFDUp, EventBFDAdminDown: // 32, 30
		confirmed := c.bfd.confirmed
		c.restartHold(now)
		c.confirm(now)
		if confirmed {
			c.establish(now)
		}
	case EventKeepalive: // 26: the peer's BFD was quicker
		c.restartHold(now)
		c.bfd.confirmed = true
	case EventBFDHoldExpires: // 34
		c.fail(now, ev.Kind, bfdDown)
	case EventConnFails: // 18
		c.lost(now, ev.Kind, wire.Notification{})
	case EventOpen, EventUpdate, EventUpdateError: // 19, 27, 28
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(c.state)})
	default:
		c.anyOpen(now, ev)
	}
}

// openConfirm is RFC 4271, Section 8.2.2, "OpenConfirm State".
func (c *connection) openConfirm(now time.Time, ev Event) {
	switch ev.Kind {
	case EventKeepalive: // 26
		c.establish(now)
	case EventKeepaliveExpires: // 11
		c.sendKeepalive(now)
	case EventConnFails: // 18
		c.lost(now, ev.Kind, wire.Notification{})
	case EventOpen, EventUpdate, EventUpdateError: // 19, 27, 28
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(c.state)})
	default:
		c.anyOpen(now, ev)
	}
}

// established is RFC 4271, Section 8.2.2, "Established State".
func (c *connection) established(now time.Time, ev Event) {
	switch ev.Kind {
	case EventKeepalive, EventUpdate: // 26, 27
		c.restartHold(now)
	case EventKeepaliveExpires: // 11
		c.sendKeepalive(now)
	case EventSendHoldExpires: // 29 (RFC 9687, Section 4.3)
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeSendHold})
	case EventConnFails: // 18
		c.lost(now, ev.Kind, wire.Notification{})
	case EventUpdateError: // 28
		c.fail(now, ev.Kind, ev.Notification)
	case EventOpen: // 19
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeFSM, Subcode: fsmSubcode(c.state)})
	default:
		c.anyOpen(now, ev)
	}
}

// anyOpen has the events that OpenSent, OpenConfirm and Established treat alike.
func (c *connection) anyOpen(now time.Time, ev Event) {
	switch ev.Kind {
	case EventManualStop: // 2
		c.end(now, ev.Kind, stopNotification(ev), true)
		c.halt()
	case EventAutomaticStop: // 8
		c.end(now, ev.Kind, stopNotification(ev), true)
		c.restStopped(now, ev)
	case EventBFDDown: // 31
		if ev.Notification.Code == 0 {
			ev.Notification = bfdDown
		}
		c.end(now, ev.Kind, ev.Notification, true)
		c.rest(now, c.back.retryDelay(&c.cfg))
	case EventHoldExpires: // 10
		c.fail(now, ev.Kind, wire.Notification{Code: wire.CodeHoldTimer})
	case EventHeaderError, EventOpenError: // 21, 22
		c.fail(now, ev.Kind, ev.Notification)
	case EventCollisionDump: // 23
		c.end(now, ev.Kind, wire.Notification{Code: wire.CodeCease, Subcode: wire.SubCollision}, true)
		c.rest(now, c.back.retryDelay(&c.cfg))
	case EventVersionError, EventNotification: // 24, 25
		c.lost(now, ev.Kind, ev.Notification)
	}
}

// restStopped goes to Idle after an automatic stop. If the stop says for how long, the
// peer's connections are refused meanwhile.
func (c *connection) restStopped(now time.Time, ev Event) {
	c.stopTimers()
	if ev.IdleHold == 0 {
		c.rest(now, c.back.retryDelay(&c.cfg))
		return
	}
	c.rest(now, ev.IdleHold)
	c.refuseUntil = c.idleAt
}

// stopNotification returns the NOTIFICATION of a stop; Code is 0 if it is to be silent.
func stopNotification(ev Event) wire.Notification {
	if ev.Silent {
		return wire.Notification{}
	}
	if ev.Notification.Code == 0 {
		return wire.Notification{Code: wire.CodeCease, Subcode: wire.SubShutdown}
	}
	return ev.Notification
}

// fsmSubcode returns the subcode of Finite State Machine Error that names a state: 1 for
// OpenSent, 2 for OpenConfirm, 3 for Established (RFC 6608, Section 3).
func fsmSubcode(s State) uint8 { return uint8(s) - uint8(OpenSent) + 1 }
