package bfd

import (
	"cmp"
	"math"
	"time"
)

// never is the deadline of a timer that is not running.
const never = time.Duration(math.MaxInt64)

// slowInterval is the least Desired Min TX Interval of a session that is not Up
// (RFC 5880, Section 6.8.3).
const slowInterval = time.Second

// Effects is what the caller of a [Session] has to do next. The bits are
// independent of each other.
type Effects uint8

const (
	// EffectSend: transmit what AppendPacket returns, now.
	EffectSend Effects = 1 << iota
	// EffectState: the state changed; State, Diag and Reason say how.
	EffectState
	// EffectRefused: the packet failed a check and left no trace.
	EffectRefused
)

// Session is the pure state machine of one session: RFC 5880, Section 6.8,
// without sockets and clock. Time is a Duration since an epoch of the caller's
// choice and never goes back. The caller carries out the [Effects] that
// Receive, Advance and Configure return, and calls Advance no later than Next
// says. It never allocates after NewSession.
//
// A Session is not safe for concurrent use.
type Session struct {
	// Configuration.
	cfgTx, cfgRx time.Duration // as wanted by the user; cfgRx 0: send us nothing
	mult         uint8         // bfd.DetectMult
	passive      bool          // sends nothing before it has received (Section 6.1)
	independent  bool          // set the C bit
	echo         bool          // unaffiliated echo, see echo.go

	// RFC 5880, Section 6.8.1.
	state       State         // bfd.SessionState
	remoteState State         // bfd.RemoteSessionState
	discr       uint32        // bfd.LocalDiscr
	remoteDiscr uint32        // bfd.RemoteDiscr; 0: not known
	diag        Diag          // bfd.LocalDiag
	reason      Reason        // why it is in state
	remoteDiag  Diag          // of the last packet
	remoteTx    time.Duration // remote Desired Min TX Interval
	remoteRx    time.Duration // bfd.RemoteMinRxInterval
	remoteMult  uint8         // Detect Mult of the last packet
	remoteC     bool          // C bit of the last packet
	demand      bool          // bfd.RemoteDemandMode
	auth        *authState    // nil: without authentication

	// Intervals in force, which follow the advertised ones with a delay while a
	// Poll Sequence runs.
	activeTx time.Duration // for transmission
	activeRx time.Duration // for the detection time

	poll      bool // a Poll Sequence is in progress
	pollAgain bool // something changed since it began: another one follows
	final     bool // the next packet answers a Poll

	interval time.Duration // of periodic transmission, before jitter; 0: none
	lastTx   time.Duration // when the last packet went out
	txAt     time.Duration // latest moment of the next periodic packet
	slack    time.Duration // how much earlier it may go
	opensAt  time.Duration // when it may go at the earliest
	lastRx   time.Duration // when the last good packet came
	silence  time.Duration // after so much of it the remote sequence number is forgotten
	fastTo   time.Duration // until then AdminDown is sent at the interval that it ended: see periodic

	rng uint32 // state of the generator of jitter

	since, downSince   time.Duration // when state was entered, and when the session last went down
	downs              uint64        // how often the session went down
	downDiag           Diag          // bfd.LocalDiag when it last went down
	downReason         Reason        // why it last went down
	downRemote         Diag          // remoteDiag when it last went down
	sent, recv, refuse uint64        // packets: sent, accepted, discarded
}

// NewSession returns a session in state Down, or AdminDown if the config says
// so. discr is the local discriminator, not zero and unique among the caller's
// sessions; seed makes jitter and authentication sequence differ between
// sessions. The session wants to send at once.
//
// The Key, MinTTL and Failover of the config mean nothing to a Session.
func NewSession(c SessionConfig, discr, seed uint32, now time.Duration) (*Session, error) {
	if err := c.checkTimers(); err != nil {
		return nil, err
	}
	s := &Session{
		discr: discr, state: StateDown, rng: cmp.Or(seed, 1), since: now,
		remoteRx: time.Microsecond, remoteState: StateDown,
		lastTx: now - slowInterval, lastRx: now, echo: c.Echo,
	}
	s.take(c)
	if c.AdminDown {
		s.state, s.diag, s.reason = StateAdminDown, DiagAdminDown, ReasonLocalAdminDown
	}
	s.activeTx, s.activeRx = s.advertisedTx(), s.cfgRx
	s.rearm(now)
	if s.interval != 0 {
		s.txAt = now + s.slack
	}
	return s, nil
}

// take stores the parts of a config that need no Poll Sequence.
func (s *Session) take(c SessionConfig) {
	s.cfgTx, s.cfgRx = c.DesiredMinTx, max(0, c.RequiredMinRx)
	s.mult, s.passive = c.Multiplier, c.Passive
	if s.echo {
		s.cfgRx, s.passive, c.Auth = s.cfgTx, false, Auth{}
	}
	switch {
	case c.Auth.Type == AuthNone:
		s.auth = nil
	case s.auth == nil:
		s.auth = &authState{Auth: c.Auth, txSeq: s.random()}
	default:
		s.auth.Auth = c.Auth
	}
}

// Configure changes the parameters of a running session. It does not take the
// session down: changed intervals are negotiated by a Poll Sequence (RFC 5880,
// Section 6.8.3).
func (s *Session) Configure(now time.Duration, c SessionConfig) (Effects, error) {
	if err := c.checkTimers(); err != nil {
		return 0, err
	}
	oldTx, oldRx, oldMult := s.advertisedTx(), s.cfgRx, s.mult
	s.take(c)
	if oldTx != s.advertisedTx() || oldRx != s.cfgRx {
		s.renegotiate(now)
	}
	e := s.SetAdminDown(now, c.AdminDown)
	if oldTx != s.advertisedTx() || oldRx != s.cfgRx || oldMult != s.mult {
		e |= s.soon(now)
	}
	return e, nil
}

// SetAdminDown takes the session to AdminDown or lets it go again (RFC 5880,
// Section 6.8.16).
func (s *Session) SetAdminDown(now time.Duration, on bool) Effects {
	switch {
	case on && s.state != StateAdminDown:
		if s.state == StateUp { // else it was sent once a second
			s.fastTo = now + time.Duration(s.mult)*s.interval
		}
		return s.enter(now, StateAdminDown, DiagAdminDown, ReasonLocalAdminDown)
	case !on && s.state == StateAdminDown:
		return s.enter(now, StateDown, DiagNone, ReasonNone)
	}
	return 0
}

// SetControlIndependent sets the C bit of packets to come: it is true only of a
// session that lives on when the control plane dies.
func (s *Session) SetControlIndependent(on bool) { s.independent = on }

// State returns the present state, why it was entered, and our diagnostic.
func (s *Session) State() (State, Reason, Diag) { return s.state, s.reason, s.diag }

// Discr returns the local and the remote discriminator; the remote one is zero
// while unknown.
func (s *Session) Discr() (local, remote uint32) { return s.discr, s.remoteDiscr }

// Next returns the time by which Advance must be called. It may be called
// earlier at no harm, and returns a time that lies a little before the packet is
// due, so that a caller can serve several sessions at one wake-up: up to
// [Session.Slack] later is early enough.
func (s *Session) Next() time.Duration {
	return min(s.txAt-s.slack, s.detectAt(), s.forgetAt())
}

// Slack returns by how much Next is early: nothing if the detection time expires then.
func (s *Session) Slack() time.Duration {
	return min(s.txAt, s.detectAt(), s.forgetAt()) - s.Next()
}

// Advance lets time pass.
func (s *Session) Advance(now time.Duration) Effects {
	var e Effects
	if at := s.forgetAt(); now >= at && at != never {
		s.auth.rxKnown = false
	}
	if now >= s.detectAt() {
		e |= s.expire(now)
	}
	if s.txAt != never && now >= s.txAt-s.slack {
		e |= EffectSend
	}
	return e
}

// enter changes the state, starts what follows from that, and asks for a packet,
// whose content now differs from the last one's.
func (s *Session) enter(now time.Duration, to State, d Diag, r Reason) Effects {
	if s.state == StateUp {
		s.downs++
		s.downSince, s.downDiag, s.downReason, s.downRemote = now, d, r, s.remoteDiag
	}
	was, heard := s.advertisedTx(), s.state > StateDown
	s.state, s.diag, s.reason, s.since = to, d, r, now
	if was != s.advertisedTx() {
		s.renegotiate(now)
	}
	s.rearm(now)
	if heard {
		return EffectState | EffectSend // once, even where nothing periodic may go
	}
	return EffectState | s.soon(now)
}

// restart begins anew in another place, with another remote system at the other end.
func (s *Session) restart(now time.Duration, discr uint32) Effects {
	s.forgetRemote()
	s.remoteDiag, s.remoteC, s.lastRx, s.silence = DiagNone, false, now, 0
	s.discr, s.poll, s.pollAgain, s.final = discr, false, false, false
	if s.auth != nil {
		s.auth.rxKnown = false
	}
	if s.state > StateDown {
		return s.enter(now, StateDown, DiagPathDown, ReasonUnavailable)
	}
	s.rearm(now)
	return EffectState
}

// restored works out what is not handed over.
func (s *Session) restored() {
	s.opensAt = never
	if s.interval != 0 {
		s.opensAt = s.lastTx + s.interval/4*3 + s.slack
	}
}

// random returns a number that jitter is made of.
func (s *Session) random() uint32 {
	s.rng = xorshift(s.rng)
	return s.rng
}

// xorshift returns the successor of x, which is not zero: jitter needs no more.
func xorshift(x uint32) uint32 {
	x ^= x << 13
	x ^= x >> 17
	x ^= x << 5
	return x
}
