package bfd

import (
	"math/bits"
	"time"
)

// maxSlack is how much earlier than its jittered moment a packet may leave. A
// millisecond lets 1000 sessions at 50 ms share a wake-up between twenty; it is
// taken out of the jitter, so that no gap grows beyond the interval or shrinks
// below 75 % of it.
const maxSlack = time.Millisecond

// advertisedTx is bfd.DesiredMinTxInterval: what the user wants while Up, and at
// least a second otherwise. RFC 5880, Section 6.8.3: "When bfd.SessionState is not Up, the
// system MUST set bfd.DesiredMinTxInterval to a value of not less than one second
// (1,000,000 microseconds)."
func (s *Session) advertisedTx() time.Duration {
	if s.state == StateUp {
		return s.cfgTx
	}
	return max(s.cfgTx, slowInterval)
}

// renegotiate begins a Poll Sequence after an interval changed, and puts into
// force at once what need not wait for its end: everything while not Up, faster
// sending, slower receiving. RFC 5880, Section 6.8.3: "If bfd.DesiredMinTxInterval is
// increased and bfd.SessionState is Up, the actual transmission interval used MUST NOT change
// until the Poll Sequence described above has terminated." The same holds for the detection
// time if bfd.RequiredMinRxInterval is reduced.
func (s *Session) renegotiate(now time.Duration) {
	if tx := s.advertisedTx(); s.state != StateUp || tx < s.activeTx {
		s.activeTx = tx
	}
	if s.state != StateUp || s.cfgRx > s.activeRx && s.activeRx != 0 {
		s.activeRx = s.cfgRx
	}
	if s.echo {
		s.activeTx, s.activeRx = s.advertisedTx(), s.cfgRx
	} else {
		s.pollAgain = s.poll
		s.poll = true
	}
	s.rearm(now)
}

// endPoll is the end of a Poll Sequence: the remote system knows our intervals.
// If they changed while it ran, another one begins (RFC 5880, Section 6.5).
func (s *Session) endPoll(now time.Duration) {
	if s.pollAgain {
		s.pollAgain = false
		return
	}
	s.poll = false
	s.activeTx, s.activeRx = s.advertisedTx(), s.cfgRx
	s.rearm(now)
}

// periodic is the interval between periodic packets, before jitter, or 0 if RFC
// 5880, Section 6.8.7, forbids them: in the Passive role before anything was heard, to a
// system whose Required Min RX Interval is zero, and to one in Demand mode while both ends
// are Up and no Poll Sequence runs. It is "the larger of bfd.DesiredMinTxInterval and
// bfd.RemoteMinRxInterval".
//
// We deviate after a session that was Up was taken to AdminDown: for Detect Mult intervals it is sent as
// often as before, although bfd.DesiredMinTxInterval is 1 s then. A remote system that has not
// received the first of these packets still has the old detection time, and would see a
// failure. RFC 5880, Section 6.8.16, wants AdminDown to be sent for at least a Detection Time.
func (s *Session) periodic(now time.Duration) time.Duration {
	switch {
	case s.passive && s.remoteDiscr == 0, s.remoteRx == 0, s.echo && s.state == StateAdminDown:
		return 0
	case s.demand && s.state == StateUp && s.remoteState == StateUp && !s.poll:
		return 0
	case s.state == StateAdminDown && now < s.fastTo:
		return max(s.cfgTx, s.remoteRx)
	}
	return max(s.activeTx, s.remoteRx)
}

// rearm schedules the next periodic packet if the interval is not what it was.
func (s *Session) rearm(now time.Duration) {
	interval := s.periodic(now)
	if interval == s.interval && s.txAt != 0 {
		return
	}
	s.interval = interval
	s.schedule(now)
}

// schedule sets the next transmission, counted from the last one: after 75 to
// 100 % of the interval, or 75 to 90 % if one lost packet is enough to end the
// session. RFC 5880, Section 6.8.7: "If bfd.DetectMult is equal to 1, the interval between
// transmitted BFD Control packets MUST be no more than 90% of the negotiated transmission
// interval, and MUST be no less than 75% of the negotiated transmission interval." The slack
// never reaches below 75 %.
func (s *Session) schedule(now time.Duration) {
	if s.interval == 0 {
		s.txAt, s.slack, s.opensAt = never, 0, never
		return
	}
	s.slack = min(maxSlack, s.interval/32)
	percent := time.Duration(100)
	if s.mult == 1 {
		percent = 90
	}
	low := s.interval/4*3 + s.slack
	s.opensAt = s.lastTx + low
	span := uint64(s.interval/100*percent - low)
	extra, _ := bits.Mul64(span, uint64(s.random())<<32)
	s.txAt = max(now, s.lastTx+low+time.Duration(extra))
}

// maySend reports whether the next periodic packet may go already, though it is not due:
// RFC 5880, Section 6.8.7, leaves the sender a quarter of the interval.
func (s *Session) maySend(now time.Duration) bool { return s.interval != 0 && now >= s.opensAt }

// soon asks for a packet outside the schedule because its content changed. Where
// periodic packets are forbidden it keeps silent.
func (s *Session) soon(now time.Duration) Effects {
	if s.interval == 0 {
		return 0
	}
	s.txAt = now
	return EffectSend
}

// AppendPacket appends the packet to be sent at now, authenticated if so
// configured, and counts it as sent.
func (s *Session) AppendPacket(b []byte, now time.Duration) []byte {
	p := Packet{
		Diag: s.diag, State: s.state, Poll: s.poll && !s.final, Final: s.final,
		ControlIndependent: s.independent, Multiplier: s.mult,
		MyDiscr: s.discr, YourDiscr: s.remoteDiscr,
		DesiredMinTx: s.advertisedTx(), RequiredMinRx: s.cfgRx,
	}
	if s.echo {
		p.YourDiscr = s.discr
	}
	start := len(b)
	b = p.append(b)
	if s.auth != nil {
		b = s.auth.sign(b, start)
	}
	s.sent++
	s.afterSend(now)
	return b
}

// afterSend schedules the packet after the one that is sent now, or cannot be.
func (s *Session) afterSend(now time.Duration) {
	s.final = false
	s.lastTx = now
	s.interval = s.periodic(now)
	s.schedule(now)
}
