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

// forgetAt is when the remote authentication sequence number counts for nothing
// any more: after twice the detection time (RFC 5880, Section 6.8.1). The
// detection time itself is forgotten at its end, so this runs on s.silence.
func (s *Session) forgetAt() time.Duration {
	if s.auth == nil || !s.auth.rxKnown || s.silence == 0 {
		return never
	}
	return s.lastRx + s.silence
}
