package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// backoff counts failures in a row, for the waits between attempts. What failed is told
// apart by what it says about the next attempt:
//
//   - Nobody answers, or a session that had lasted is lost: the peer may be back any
//     moment. Attempts come quickly and cost a SYN each, see retryDelay.
//   - The peer is there and will not have us: it sends a NOTIFICATION, closes after our
//     OPEN, or errs itself. It will do so again, see errorDelay.
//   - The session comes up, and ends at once: see flapDelay.
//
// The latter two are the DampPeerOscillations of RFC 4271, Section 8.1.1. The peer's own
// connections are taken all the while.
type backoff struct {
	attempts int // that nobody answered, since the last session
	errors   int // refusals and protocol errors since the last session that lasted
	flaps    int // sessions since then that did not last
	failures int // all of them, since then
}

// ended takes in for how long a session was up.
func (b *backoff) ended(d time.Duration) {
	if d >= lasting {
		*b = backoff{}
	}
}

// lasting is how long a session must have been Established to be worth a fresh
// back-off: shorter ones count as failures, so that a peer that ends each
// session at once is not called four times a second.
const lasting = 10 * time.Second

// retryDelay is the wait after an attempt that nobody answered, and after the loss of a
// session. It grows by half each time: a reflector that is back is called after half the
// time that it was away, and after retryMax at the latest.
func (m *machine) retryDelay() time.Duration {
	d := m.cfg.retryMin
	for n := m.back.attempts; n > 0 && d < m.cfg.retryMax; n-- {
		d += d / 2
	}
	m.back.attempts++
	return m.failed(min(d, m.cfg.retryMax))
}

// errorDelay is the idle hold time after a refusal or a protocol error.
func (m *machine) errorDelay() time.Duration {
	m.back.errors++
	return m.failed(doubled(m.cfg.errorMin, m.cfg.errorMax, m.back.errors-1))
}

// flapDelay is the idle hold time after a session that did not last. It starts lower: a
// peer that is restarted a few times is no reason to stay away.
func (m *machine) flapDelay() time.Duration {
	m.back.flaps++
	return m.failed(doubled(m.cfg.errorMin/4, m.cfg.errorMax, m.back.flaps-1))
}

func (m *machine) failed(d time.Duration) time.Duration {
	m.back.failures++
	return m.jittered(d)
}

// delay is the wait after the end of a connection that was in state l, which the peer or
// the network has ended, with n if the peer said so.
func (m *machine) delay(now time.Time, l *link, n wire.Notification, contested bool) time.Duration {
	switch {
	case contested:
		return m.jittered(m.cfg.retryMin) // there is another connection: no failure
	case n.Code == wire.CodeCease && n.Subcode == wire.SubCollision:
		return m.retryDelay() // with one that we have not heard of, or that the peer has not lost yet
	case l.state == Established && isBFDDown(n):
		return m.retryDelay() // the path has failed, not the peer
	case l.state != Established:
		return m.errorDelay()
	case n.Code != 0 && n.Code != wire.CodeCease:
		return m.errorDelay()
	case now.Sub(l.since) < lasting:
		return m.flapDelay()
	}
	return m.retryDelay()
}

func isBFDDown(n wire.Notification) bool {
	n = n.Unwrap()
	return n.Code == wire.CodeCease && n.Subcode == wire.SubBFDDown
}

// contested reports whether a connection ends beside another one.
func (m *machine) contested(l *link) bool {
	return l.state != Established && m.rival(l).state >= OpenSent
}

// doubled is least * 2^n, at most most.
func doubled(least, most time.Duration, n int) time.Duration {
	for ; n > 0 && least < most; n-- {
		least *= 2
	}
	return min(least, most)
}

// jittered takes up to a quarter off d, RFC 4271, Section 10.
func (m *machine) jittered(d time.Duration) time.Duration {
	return d - time.Duration(m.cfg.random()*float64(d)/4)
}

// deadline is the time of the next timer, zero if none runs.
func (m *machine) deadline() time.Time {
	return earliest(m.primary.deadline(), m.challenger.deadline())
}

func (l *link) deadline() time.Time {
	return earliest(l.retryAt, l.holdAt, l.keepaliveAt, l.idleAt, l.sendHoldAt)
}

// earliest ignores zero times: timers that do not run.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// advance fires the timers that are due.
func (m *machine) advance(now time.Time) {
	m.primary.advance(now)
	m.settle()
	m.challenger.advance(now)
	m.settle()
}

// advance fires each due timer of a link once, the hold timer last but one: the
// caller has by then fed all input there was.
func (l *link) advance(now time.Time) {
	fire := func(at *time.Time, kind eventKind) {
		if !at.IsZero() && !now.Before(*at) {
			*at = time.Time{}
			l.step(now, event{kind: kind, conn: l.conn})
		}
	}
	fire(&l.keepaliveAt, evKeepaliveExpires)
	fire(&l.holdAt, evHoldExpires)
	fire(&l.sendHoldAt, evSendHoldExpires)
	fire(&l.retryAt, evConnectRetryExpires)
	fire(&l.idleAt, evIdleHoldExpires)
}

// holdDue reports whether a hold timer is due, so that the owner can look for
// pending input before it lets advance declare it expired.
func (m *machine) holdDue(now time.Time) bool {
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	return due(m.primary.holdAt) || due(m.challenger.holdAt)
}

// postponeHold gives a hold timer that is due a little more time.
func (m *machine) postponeHold(until time.Time) {
	for _, l := range []*link{&m.primary, &m.challenger} {
		if !l.holdAt.IsZero() && l.holdAt.Before(until) {
			l.holdAt = until
		}
	}
}

// hurry makes a peer that waits for its next attempt, or for the answer to an
// attempt, try at once: there is reason to believe that it can be reached again.
func (m *machine) hurry(now time.Time) {
	l := &m.primary
	waits := l.state == Active && !l.retryAt.IsZero() || l.state == Idle && !l.idleAt.IsZero() && !now.Before(m.refuseUntil)
	if !waits && l.state != Connect {
		return
	}
	m.back.attempts = 0
	l.drop()
	l.start(now)
}
