package fsm

import (
	"cmp"
	"net/netip"
	"time"
)

// Config is what a [Machine] must know of the speaker and the peer.
type Config struct {
	// RouterID and AS are our BGP Identifier and AS number, by which collisions are
	// decided (RFC 6286, Section 2.3).
	RouterID netip.Addr
	AS       uint32 // ours
	// Passive never opens a connection.
	Passive bool
	// RequireAS4 says that the peer cannot do without the capability of RFC 6793, Section 3,
	// so that an OPEN without capabilities is pointless.
	RequireAS4 bool
	// RetryMin and RetryMax bound the waits after attempts to connect that nobody
	// answered, and after the loss of a session: each is half as long again as the one
	// before. RetryMax 0 means 5 s. RetryMin 0 means 50 ms, or RetryMax if that is less.
	RetryMin, RetryMax time.Duration
	// IdleHoldMin and IdleHoldMax bound the waits after a refusal or a protocol error:
	// each is twice as long as the one before. IdleHoldMax 0 means 60 s. IdleHoldMin 0
	// means 1 s, or IdleHoldMax if that is less.
	IdleHoldMin, IdleHoldMax time.Duration
	// DialMin and DialMax bound the time that an attempt to connect may take: each may
	// take twice as long as the one before. DialMax 0 means 2 s, DialMin 0 means DialMax.
	DialMin, DialMax time.Duration
	// SendHold is the SendHoldTime; 0 means the greater of 8 minutes and twice the hold
	// time (RFC 9687, Section 6).
	SendHold time.Duration
	// Strict has sessions wait for BFD.
	Strict StrictConfig
	// Random returns numbers uniform in [0, 1), for the jitter of RFC 4271, Section 10.
	// Nil means no jitter.
	Random func() float64
}

// Defaults of the waits.
const (
	// defaultRetryMin is short because a host that starts together with its peer meets
	// it soon.
	defaultRetryMin    = 50 * time.Millisecond
	defaultRetryMax    = 5 * time.Second
	defaultIdleHoldMin = time.Second
	defaultIdleHoldMax = time.Minute
	// defaultDial: the kernel sends a SYN at once and after one second, then less and
	// less often (net.ipv4.tcp_syn_retries), so that a new attempt finds a path that has
	// come back sooner than an old one.
	defaultDial = 2 * time.Second
)

func (c Config) withDefaults() Config {
	c.RetryMax = cmp.Or(c.RetryMax, defaultRetryMax)
	c.RetryMin = cmp.Or(c.RetryMin, min(defaultRetryMin, c.RetryMax))
	c.IdleHoldMax = cmp.Or(c.IdleHoldMax, defaultIdleHoldMax)
	c.IdleHoldMin = cmp.Or(c.IdleHoldMin, min(defaultIdleHoldMin, c.IdleHoldMax))
	c.DialMax = cmp.Or(c.DialMax, defaultDial)
	c.DialMin = cmp.Or(c.DialMin, c.DialMax)
	if c.Random == nil {
		c.Random = func() float64 { return 0 }
	}
	return c
}

// sendHold returns the SendHoldTime of a session: unless it is configured, what RFC 9687,
// Section 6, recommends, the greater of 8 minutes and twice the negotiated hold time.
func (c *Config) sendHold(hold time.Duration) time.Duration {
	if c.SendHold > 0 {
		return c.SendHold
	}
	return max(8*time.Minute, 2*hold)
}

// dialTime returns how long an attempt to connect may take after n that nobody answered.
func (c *Config) dialTime(n int) time.Duration { return doubled(c.DialMin, c.DialMax, n) }

// jittered takes up to a quarter off d (RFC 4271, Section 10).
func (c *Config) jittered(d time.Duration) time.Duration {
	return d - time.Duration(c.Random()*float64(d)/4)
}

// doubled returns least * 2^n, at most most.
func doubled(least, most time.Duration, n int) time.Duration {
	for ; n > 0 && least < most; n-- {
		least *= 2
	}
	return min(least, most)
}
