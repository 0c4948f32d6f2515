package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// What package fsm must know of the configuration of the speaker, s, and of a peer, c.

func machineConfig(s *Config, c *PeerConfig) fsm.Config {
	dialMin := dialTimeout
	if c.TTLSecurity {
		dialMin = dialTimeoutTTL
	}
	return fsm.Config{
		RouterID: s.RouterID, AS: or(c.EBGP.LocalAS, s.AS),
		Passive: c.Passive,
		// A peer of our own AS, if that needs four octets, knows the capability.
		RequireAS4: s.AS > 0xffff && or(c.AS, s.AS) == s.AS,
		RetryMax:   c.ConnectRetry, IdleHoldMax: c.IdleHold,
		DialMin: dialMin, DialMax: dialTimeout, SendHold: c.SendHold,
		Strict: c.BFDStrict, Random: s.Random,
	}
}

// dialTimeout is how long an attempt to connect may take: the kernel sends a SYN at
// once and after one second, then less and less often, so a fresh attempt finds a
// path that is back sooner than an old one.
const dialTimeout = 2 * time.Second

// dialTimeoutTTL is how long the first attempt may take with GTSM: the RST of a peer
// that does not listen yet has a TTL of 64, so our own kernel drops it, and the attempt
// hangs until the next SYN. A peer next door answers within milliseconds.
const dialTimeoutTTL = 250 * time.Millisecond

// openConfig leaves out what changes from OPEN to OPEN: Restarting, ForwardingPreserved and
// NoCapabilities.
func openConfig(s *Config, c *PeerConfig) fsm.OpenConfig {
	g := s.gracefulRestart(c)
	return fsm.OpenConfig{
		AS: s.AS, LocalAS: c.EBGP.LocalAS, Role: c.EBGP.Role, RoleStrict: c.RoleStrict, RouterID: s.RouterID, PeerAS: c.AS, HoldTime: c.HoldTime,
		Families: c.Families, AddPathReceive: c.AddPathReceive, AddPathSend: c.AddPathSend,
		IPv6NextHop: c.IPv6NextHop, NoExtendedMessage: c.NoExtendedMessage, BFDStrict: c.BFDStrict.Enabled,
		GracefulRestart: g.Enabled, RestartTime: g.RestartTime, LongLivedTime: g.LongLivedTime,
	}
}

func helperConfig(s *Config, c *PeerConfig) fsm.HelperConfig {
	g := s.gracefulRestart(c)
	return fsm.HelperConfig{Enabled: g.Enabled, StaleTime: g.StaleTime, LongLivedTime: g.LongLivedTime}
}

// deferralConfig is for a speaker that has restarted; another defers nothing.
func deferralConfig(s *Config) fsm.DeferralConfig {
	g := &s.GracefulRestart
	if !g.Enabled || !g.Restarting {
		return fsm.DeferralConfig{}
	}
	return fsm.DeferralConfig{DeferralTime: g.DeferralTime, EstablishTime: g.EstablishTime}
}

// gracefulRestart is what the peer's OPEN says: the speaker's configuration with
// the peer's own times.
func (s *Config) gracefulRestart(c *PeerConfig) GracefulRestart {
	g := s.GracefulRestart
	if c.GracefulRestart != nil {
		g = *c.GracefulRestart
	}
	g.RestartTime = or(c.RestartTime, g.RestartTime)
	return g
}

// preserved returns the families whose forwarding state is in place: there was a session
// since the speaker started, so this process has been there all the time; or it has found
// the state.
func (s *Config) preserved(session bool, all []wire.Family) wire.FamilySet {
	g := &s.GracefulRestart
	switch {
	case session || g.ForwardingPreserved && g.PreservedFamilies == nil:
		return wire.Families(all...)
	case g.ForwardingPreserved:
		return wire.Families(g.PreservedFamilies...)
	}
	return 0
}
