package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// connection is the state machine of one TCP connection (RFC 4271, Section 8.2.2). The
// functions of its states, in states.go, list every event in the order of the RFC.
type connection struct {
	*shared
	id        ConnID // 0: none, and none is being opened
	state     State  // Idle at first
	outgoing  bool   // we have opened it, or are opening it
	stopped   bool   // in Idle: until EventManualStart nothing starts, and nothing is accepted
	contested bool   // another connection has got as far as an OPEN; set before each event

	// The timers of RFC 4271, Section 8, and RFC 9687, Section 4.4: when they expire;
	// the zero time is one that does not run.
	retryAt, holdAt, keepaliveAt, idleAt, sendHoldAt time.Time

	hold      time.Duration // negotiated; 0: neither HoldTimer nor KEEPALIVEs
	restarts  bool          // the peer's OPEN has the capability of RFC 4724, Section 3
	openWaits bool          // our OPEN waits for the peer's
	plain     bool          // our OPEN had no capabilities
	strict    bool          // strict mode is in force, since the peer's OPEN
	bfd       bfdWait       // in OpenSent, after the peer's OPEN: the wait for BFD
	dialedAt  time.Time     // in Connect: when the attempt began
	openedAt  time.Time     // when the connection was opened
	upAt      time.Time     // when it became Established
}

// openHold is the hold time before it is negotiated. RFC 4271, Section 8.2.2: "A HoldTimer
// value of 4 minutes is suggested."
const openHold = 4 * time.Minute

// step takes in one event.
func (c *connection) step(now time.Time, ev Event) {
	switch c.state {
	case Idle:
		c.idle(now, ev)
	case Connect:
		c.connect(now, ev)
	case Active:
		c.active(now, ev)
	case OpenSent:
		c.openSent(now, ev)
	case OpenConfirm:
		c.openConfirm(now, ev)
	case Established:
		c.established(now, ev)
	}
}

// emit adds an effect on this connection.
func (c *connection) emit(e Effect) {
	e.Conn = c.id
	c.shared.emit(e)
}

// start leaves Idle.
func (c *connection) start(now time.Time) {
	c.stopTimers()
	if c.cfg.Passive {
		c.state = Active
		return
	}
	c.dial(now)
}

// dial begins an attempt to connect.
func (c *connection) dial(now time.Time) {
	c.state, c.outgoing = Connect, true
	c.id = c.newConn()
	c.emit(Effect{Kind: EffectDial})
	c.dialedAt = now
	c.retryAt = now.Add(c.cfg.dialTime(c.back.attempts))
}

// wait goes to Active: the peer may connect, and unless we are passive we try again after d.
func (c *connection) wait(now time.Time, d time.Duration) {
	c.drop()
	c.state = Active
	if !c.cfg.Passive {
		c.retryAt = now.Add(d)
	}
}

// opened sends our OPEN on a new connection.
func (c *connection) opened(now time.Time, id ConnID, outgoing bool) {
	c.stopTimers()
	c.state, c.id, c.outgoing, c.openedAt = OpenSent, id, outgoing, now
	c.sendOpen(now)
	c.holdAt = now.Add(openHold)
}

// confirm goes to OpenConfirm with our first KEEPALIVE.
func (c *connection) confirm(now time.Time) {
	c.state, c.bfd = OpenConfirm, bfdWait{}
	c.sendKeepalive(now)
}

// establish goes to Established.
func (c *connection) establish(now time.Time) {
	c.restartHold(now)
	c.state, c.upAt = Established, now
	c.back.attempts = 0
	c.restartSendHold(now)
	c.emit(Effect{Kind: EffectUp})
}

func (c *connection) sendOpen(now time.Time) {
	c.plain = now.Before(c.plainUntil)
	c.emit(Effect{Kind: EffectSendOpen, NoCapabilities: c.plain})
}

// awaitOpen takes a connection that the peer has opened beside its session. Our OPEN waits,
// as with DelayOpen: only the peer's can show that the peer has restarted, and ours would
// mislead a peer that has just lost a collision.
func (c *connection) awaitOpen(now time.Time, id ConnID) {
	c.state, c.id, c.outgoing, c.openedAt, c.openWaits = OpenSent, id, false, now, true
	c.holdAt = now.Add(openHold)
}

// fail ends the connection with a NOTIFICATION and goes to Idle.
func (c *connection) fail(now time.Time, cause EventKind, n wire.Notification) {
	state, plain := c.state, c.plain
	c.end(now, cause, n, true)
	c.rest(now, c.back.errorDelay(&c.cfg))
	c.noteRefusal(state, plain, wire.Notification{}, c.idleAt)
}

// lost ends a connection that the network or the peer has ended, the latter perhaps with
// the NOTIFICATION n.
func (c *connection) lost(now time.Time, cause EventKind, n wire.Notification) {
	was := *c
	c.end(now, cause, n, false)
	d := c.back.delay(&c.cfg, was.state, now.Sub(was.upAt), n, was.contested)
	if !was.contested && (cause == EventConnFails || n.Code == wire.CodeCease) {
		d = c.soon(now, d)
	}
	if was.state == OpenSent && cause == EventConnFails {
		c.wait(now, d)
	} else {
		c.rest(now, d)
	}
	if !was.contested {
		c.noteRefusal(was.state, was.plain, n, now.Add(d))
	}
}

// end closes the connection, after the NOTIFICATION n if send is set.
func (c *connection) end(now time.Time, cause EventKind, n wire.Notification, send bool) {
	if send && n.Code != 0 {
		c.emit(Effect{Kind: EffectSendNotification, Notification: n, Cause: cause})
	}
	if c.state == Established {
		c.emit(Effect{Kind: EffectDown, Cause: cause, Notification: n})
		c.back.ended(now.Sub(c.upAt), n)
		c.plainUntil = time.Time{}
	}
	c.drop()
}

// lose ends the connection that has lost a collision, and is not Established (RFC 4271,
// Section 6.8).
func (c *connection) lose() {
	if c.state >= OpenSent {
		c.emit(Effect{Kind: EffectSendNotification, Notification: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubCollision}})
	}
	c.drop()
	c.state = Idle
}

// drop closes the connection (or the attempt), if there is one, and stops all timers.
func (c *connection) drop() {
	if c.id != 0 {
		c.emit(Effect{Kind: EffectClose})
	}
	c.id, c.restarts, c.hold, c.openWaits, c.plain, c.strict = 0, false, 0, false, false, false
	c.bfd = bfdWait{}
	c.stopTimers()
}

// rest goes to Idle until the IdleHoldTimer expires after d.
func (c *connection) rest(now time.Time, d time.Duration) {
	c.state = Idle
	c.idleAt = now.Add(d)
}

// halt goes to Idle until EventManualStart.
func (c *connection) halt() {
	c.state, c.stopped = Idle, true
}

func (c *connection) stopTimers() {
	c.retryAt, c.holdAt, c.keepaliveAt = time.Time{}, time.Time{}, time.Time{}
	c.idleAt, c.sendHoldAt = time.Time{}, time.Time{}
}

// restartHold restarts the HoldTimer.
func (c *connection) restartHold(now time.Time) {
	if c.hold > 0 {
		c.holdAt = now.Add(c.hold)
	}
}

// sendKeepalive sends a KEEPALIVE and starts the KeepaliveTimer: a third of the hold time
// (RFC 4271, Section 4.4) less up to a quarter of jitter (Section 10).
func (c *connection) sendKeepalive(now time.Time) {
	c.emit(Effect{Kind: EffectSendKeepalive})
	if c.hold > 0 {
		c.keepaliveAt = now.Add(c.cfg.jittered(c.hold / 3))
	}
}

// restartSendHold restarts the SendHoldTimer (RFC 9687, Section 4.4).
func (c *connection) restartSendHold(now time.Time) {
	if c.state == Established && c.hold > 0 {
		c.sendHoldAt = now.Add(c.cfg.sendHold(c.hold))
	}
}

func (c *connection) deadline() time.Time {
	return earliest(c.retryAt, c.holdAt, c.keepaliveAt, c.idleAt, c.sendHoldAt, c.bfd.until)
}

// advance fires each timer that is due once.
func (c *connection) advance(now time.Time) {
	fire := func(at *time.Time, kind EventKind) {
		if due(now, *at) {
			*at = time.Time{}
			c.step(now, Event{Kind: kind, Conn: c.id})
		}
	}
	fire(&c.keepaliveAt, EventKeepaliveExpires)
	fire(&c.holdAt, EventHoldExpires)
	fire(&c.bfd.until, EventBFDHoldExpires)
	fire(&c.sendHoldAt, EventSendHoldExpires)
	fire(&c.retryAt, EventConnectRetryExpires)
	fire(&c.idleAt, EventIdleHoldExpires)
}
