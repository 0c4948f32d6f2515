package bfd

import "time"

// Unaffiliated echo (RFC 9747, Section 2) watches a next hop that speaks no BFD. We send
// packets that are addressed to ourselves to the next hop's link-layer address; it
// forwards them back like any other traffic, with a TTL of 254. The same states
// are passed through as with a real peer, Down, Init and Up, only that both ends
// are we, and the interval needs no negotiation.
//
// Such packets can be neither sent nor received by the IP stack: it would deliver
// them to ourselves, and drops what comes from our own address. So packet sockets
// are used, and the attacher looks the link-layer address up.

// echoTTL is the TTL of our packets when they come back: one hop.
const echoTTL = 254

// receiveEcho takes one of our own packets that came back.
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
