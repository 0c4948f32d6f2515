package bfd

import "time"

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
