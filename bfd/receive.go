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
	// "If a Poll Sequence is being transmitted by the local system and the Final (F) bit in
	// the received packet is set, the Poll Sequence MUST be terminated."
	if p.Final && s.poll {
		s.endPoll(now)
	}
	// "If bfd.SessionState is AdminDown, Discard the packet": what it said about intervals is
	// kept, as the RFC stores that before.
	if s.state == StateAdminDown {
		s.rearm(now)
		return 0
	}
	e := s.react(now, p)
	s.rearm(now)
	// "If the Poll (P) bit is set, send a BFD Control packet to the remote system with the
	// Poll (P) bit clear, and the Final (F) bit set".
	if p.Poll {
		s.final = true
		e |= EffectSend
	}
	return e
}

// authentic is the authentication step of RFC 5880, Section 6.8.6: "If the A bit is set and no
// authentication is in use (bfd.AuthType is zero), the packet MUST be discarded. If the A bit
// is clear and authentication is in use (bfd.AuthType is nonzero), the packet MUST be
// discarded." No session begins to use it because a packet asks for it.
func (s *Session) authentic(p *Packet) bool {
	if s.auth == nil {
		return p.auth == nil
	}
	return s.auth.accept(p)
}

// react is the state machine of RFC 5880, Section 6.2, as Section 6.8.6 spells
// it out, by the state of the session and the state received:
//
//	any but Down, AdminDown   Down, Neighbor Signaled Session Down (3)
//	Down, Down                Init
//	Down, Init                Up
//	Init, Init or Up          Up
//	Up, Down                  Down, Neighbor Signaled Session Down (3)
//
// Everything else changes nothing.
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
