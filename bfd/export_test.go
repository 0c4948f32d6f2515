package bfd

import "time"

// What tests outside the package look at inside a Session.

// DetectTime is how long the session stays Up without a packet.
func (s *Session) DetectTime() time.Duration { return s.detectTime() }

// Downs is how often the session has left Up.
func (s *Session) Downs() uint64 { return s.downs }

// Polling reports whether changed intervals are not in force yet.
func (s *Session) Polling() bool { return s.poll || s.activeTx != s.cfgTx || s.activeRx != s.cfgRx }
