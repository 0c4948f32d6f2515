package bfd

import "time"

// Receive takes a packet that [ParsePacket] accepted and that was demultiplexed to
// this session: the rest of RFC 5880, Section 6.8.6, in its order. Nothing is
// stored before the authentication was checked. It does not keep p.
func (s *Session) Receive(now time.Duration, p *Packet) Effects {
	if !s.authentic(p) {
		s.refuse++
		return EffectRefused
	}
	s.recv++
	s.lastRx = now
	s.remoteDiscr, s.remoteState, s.remoteDiag = p.MyDiscr, p.State, p.Diag
	s.demand, s.remoteC = p.Demand, p.ControlIndependent
	s.remoteRx, s.remoteTx, s.remoteMult = p.RequiredMinRx, p.DesiredMinTx, p.Multiplier
	s.silence = 2 * s.detectTime()
	if p.Final && s.poll {
		s.endPoll(now)
	}
	if s.state == StateAdminDown {
		s.rearm(now)
		return 0
	}
	e := s.react(now, p)
	s.rearm(now)
	if p.Poll {
		s.final = true
		e |= EffectSend
	}
	return e
}

// authentic is the authentication step: the A bit must be set exactly when
// authentication is in use.
func (s *Session) authentic(p *Packet) bool {
	if s.auth == nil {
		return p.auth == nil
	}
	return s.auth.accept(p)
}

// react is the state machine of RFC 5880, Section 6.2, as Section 6.8.6 spells
// it out.
func (s *Session) react(now time.Duration, p *Packet) Effects {
	switch {
	case p.State == StateAdminDown:
		if s.state != StateDown {
			return s.enter(now, StateDown, DiagNeighborDown, ReasonRemoteAdminDown)
		}
	case s.state == StateDown && p.State == StateDown:
		return s.enter(now, StateInit, DiagNone, ReasonNone)
	case s.state == StateDown && p.State == StateInit, s.state == StateInit && p.State >= StateInit:
		return s.enter(now, StateUp, DiagNone, ReasonNone)
	case s.state == StateUp && p.State == StateDown:
		return s.enter(now, StateDown, DiagNeighborDown, ReasonNeighborDown)
	}
	return 0
}

// detectTime is the detection time of asynchronous mode (RFC 5880, Section
// 6.8.4), or 0 while there is nothing to expect.
func (s *Session) detectTime() time.Duration {
	if s.remoteDiscr == 0 || s.activeRx == 0 {
		return 0
	}
	return time.Duration(s.remoteMult) * max(s.activeRx, s.remoteTx)
}

// detectAt is when the remote system will have been silent for too long.
func (s *Session) detectAt() time.Duration {
	if d := s.detectTime(); d != 0 {
		return s.lastRx + d
	}
	return never
}

// forgetAt is when the remote authentication sequence number counts for nothing
// any more: after twice the detection time (RFC 5880, Section 6.8.1). The
// detection time itself is forgotten at its end, so this runs on s.silence.
func (s *Session) forgetAt() time.Duration {
	if s.auth == nil || !s.auth.rxKnown || s.silence == 0 {
		return never
	}
	return s.lastRx + s.silence
}

// expire is the end of the detection time: the session goes Down, and whatever
// was known about the remote system is forgotten (RFC 5880, Sections 6.8.1 and
// 6.8.4).
func (s *Session) expire(now time.Duration) Effects {
	s.forgetRemote()
	if s.state == StateInit || s.state == StateUp {
		if s.echo {
			return s.enter(now, StateDown, DiagEchoFailed, ReasonEchoFailed)
		}
		return s.enter(now, StateDown, DiagExpired, ReasonExpired)
	}
	s.rearm(now)
	return 0
}

// forgetRemote forgets what is known about the remote system.
func (s *Session) forgetRemote() {
	s.remoteDiscr, s.remoteState = 0, StateDown
	s.remoteTx, s.remoteRx, s.remoteMult = 0, time.Microsecond, 0
	s.demand = false
}

// receiveEcho takes one of our own packets that came back, see echo.go.
func (s *Session) receiveEcho(now time.Duration, p *Packet) Effects {
	if s.state == StateAdminDown {
		return 0
	}
	s.recv++
	s.lastRx = now
	s.remoteDiscr, s.remoteState, s.remoteMult, s.remoteTx = p.MyDiscr, p.State, s.mult, s.advertisedTx()
	switch {
	case s.state == StateDown && p.State == StateDown:
		return s.enter(now, StateInit, DiagNone, ReasonNone)
	case s.state == StateDown && p.State == StateInit, s.state == StateInit && p.State >= StateInit:
		e := s.enter(now, StateUp, DiagNone, ReasonNone)
		s.remoteTx = s.cfgTx
		return e
	}
	return 0
}
