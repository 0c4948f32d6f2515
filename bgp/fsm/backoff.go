package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// StableTime is how long a session must have been Established for the failures before it to
// be forgotten. A shorter one counts as a failure, so that a peer that ends each session at
// once is not called four times a second.
const StableTime = 10 * time.Second

// backoff counts failures in a row, for the waits between attempts. Failures differ in what
// they say about the next attempt:
//
//   - Nobody answers, or a session that had lasted is lost: the peer may be back any
//     moment. Attempts come quickly and cost a SYN each, see retryDelay.
//   - The peer is there and refuses: it sends a NOTIFICATION, closes after our OPEN, or
//     breaks the protocol itself. It will do so again, see errorDelay.
//   - The session comes up, and ends at once: see flapDelay.
//
// The latter two are the DampPeerOscillations of RFC 4271, Section 8.1.1. The peer's own
// connections are accepted meanwhile. All waits are jittered.
type backoff struct {
	attempts int // that nobody answered, since the last session
	errors   int // refusals and protocol errors since the last session that lasted
	flaps    int // sessions since then that did not last
	failures int // all of them, since then
}

// ended takes in for how long a session was up, and the NOTIFICATION that ended it. One that
// ended because the path failed shows that the peer refuses no more, however short it was.
func (b *backoff) ended(d time.Duration, n wire.Notification) {
	switch {
	case d >= StableTime:
		*b = backoff{}
	case isBFDDown(n):
		b.errors, b.attempts = 0, 0
	}
}

// retryDelay returns the wait after an attempt that nobody answered, and after the loss of a
// session. It grows by half each time: a reflector that is back is called after half the
// time that it was away, and after RetryMax at the latest.
func (b *backoff) retryDelay(c *Config) time.Duration {
	d := c.RetryMin
	for n := b.attempts; n > 0 && d < c.RetryMax; n-- {
		d += d / 2
	}
	b.attempts++
	return b.failed(c, min(d, c.RetryMax))
}

// errorDelay returns the IdleHoldTime after a refusal or a protocol error.
func (b *backoff) errorDelay(c *Config) time.Duration {
	b.errors++
	return b.failed(c, doubled(c.IdleHoldMin, c.IdleHoldMax, b.errors-1))
}

// flapDelay returns the IdleHoldTime after a session that did not last. It starts lower: a
// peer that is restarted a few times is no reason to wait for long.
func (b *backoff) flapDelay(c *Config) time.Duration {
	b.flaps++
	return b.failed(c, doubled(c.IdleHoldMin/4, c.IdleHoldMax, b.flaps-1))
}

func (b *backoff) failed(c *Config, d time.Duration) time.Duration {
	b.failures++
	return c.jittered(d)
}

// delay returns the wait after the network or the peer has ended a connection that was in
// some state, since established if that is Established, with the NOTIFICATION n if the peer
// sent one. contested says that there is another connection.
func (b *backoff) delay(c *Config, state State, lasted time.Duration, n wire.Notification, contested bool) time.Duration {
	switch {
	case contested:
		return c.jittered(c.RetryMin) // no failure: there is the other one
	case n.Code == wire.CodeCease && n.Subcode == wire.SubCollision:
		return b.retryDelay(c) // with a connection that we have not heard of, or that the peer has not lost yet
	case isBFDDown(n):
		return b.retryDelay(c) // the path has failed, not the peer
	case state != Established:
		return b.errorDelay(c)
	case n.Code != 0 && n.Code != wire.CodeCease:
		return b.errorDelay(c)
	case lasted < StableTime:
		return b.flapDelay(c)
	}
	return b.retryDelay(c)
}

// isBFDDown reports whether n is Cease/BFD Down (RFC 9384, Section 3), perhaps inside a Hard
// Reset.
func isBFDDown(n wire.Notification) bool {
	n = n.Unwrap()
	return n.Code == wire.CodeCease && n.Subcode == wire.SubBFDDown
}
