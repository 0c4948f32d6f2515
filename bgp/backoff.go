package bgp

import "time"

// sessionEnded is told how long a session lasted.
func (m *machine) sessionEnded(lasted time.Duration) {
	m.plain = false
	if lasted >= lasting {
		m.attempts, m.errors = 0, 0
	}
}

// retryDelay is the wait after a connection that failed or was lost. It doubles
// with each failure in a row; it is short because a TCP attempt every two
// seconds costs nothing, while a reflector that is back and not called costs
// routes.
func (m *machine) retryDelay() time.Duration {
	d := m.jittered(doubled(m.cfg.retryMin, m.cfg.retryMax, m.attempts))
	m.attempts++
	return d
}

// errorDelay is the idle hold time after a protocol error, the damping of
// RFC 4271, Section 8.1.1: what failed once will most likely fail again.
func (m *machine) errorDelay() time.Duration {
	d := m.jittered(doubled(m.cfg.errorMin, m.cfg.errorMax, m.errors))
	m.errors++
	return d
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
	switch {
	case l.state == Connect:
		l.retryAt = now
	case l.state == Active && !l.retryAt.IsZero():
		l.retryAt = now
	case l.state == Idle && !l.idleAt.IsZero() && !now.Before(m.refuseUntil):
		l.idleAt = now
	}
}
