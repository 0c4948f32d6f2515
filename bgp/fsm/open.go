package fsm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AnyAS as OpenConfig.PeerAS accepts every AS number in the peer's OPEN.
const AnyAS = ^uint32(0)

// OpenConfig is what our OPEN and the answer to the peer's depend on.
type OpenConfig struct {
	// AS and RouterID are our AS number and BGP Identifier.
	AS       uint32
	RouterID netip.Addr // our BGP Identifier; IPv4
	// PeerAS is the AS number that the peer's OPEN must have; 0 means AS, [AnyAS] any.
	PeerAS uint32
	// HoldTime is offered, in whole seconds; 0 means no KEEPALIVEs.
	HoldTime time.Duration
	// Families are offered, in this order.
	Families []wire.Family
	// AddPathReceive and AddPathSend are the families for which path identifiers are
	// offered (RFC 7911, Section 4).
	AddPathReceive, AddPathSend []wire.Family
	// IPv6NextHop offers IPv4 routes with IPv6 next hops (RFC 8950, Section 4).
	IPv6NextHop bool
	// NoExtendedMessage does not offer messages over 4096 octets (RFC 8654, Section 3).
	NoExtendedMessage bool
	// GracefulRestart offers the capability of RFC 4724, Section 3, with the N bit of
	// RFC 8538, Section 2.
	GracefulRestart bool
	// RestartTime is the time in that capability, in whole seconds, at most 4095 s.
	RestartTime time.Duration
	// LongLivedTime is the long-lived stale time of each family (RFC 9494, Section 3.1),
	// in whole seconds, at most 2^24-1 s; 0 does not offer that capability.
	LongLivedTime time.Duration
	// Restarting is the R bit: we have restarted, and not converged yet.
	Restarting bool
	// ForwardingPreserved has the families with the F bit: our forwarding state of them
	// was preserved.
	ForwardingPreserved wire.FamilySet
	// NoCapabilities leaves all capabilities out: see [Machine.NoCapabilities].
	NoCapabilities bool
}

// Open returns our OPEN.
func (c *OpenConfig) Open() wire.Open {
	o := wire.Open{AS: c.AS, HoldTime: c.HoldTime, ID: c.RouterID}
	if c.NoCapabilities {
		return o
	}
	caps := &o.Capabilities
	caps.Families = c.Families
	caps.RouteRefresh, caps.EnhancedRefresh, caps.AS4 = true, true, true
	caps.ExtendedMessage = !c.NoExtendedMessage
	for _, f := range c.Families {
		add := wire.AddPath{Family: f, Receive: slices.Contains(c.AddPathReceive, f), Send: slices.Contains(c.AddPathSend, f)}
		if add.Receive || add.Send {
			caps.AddPath = append(caps.AddPath, add)
		}
		if f == wire.IPv4Unicast && c.IPv6NextHop {
			caps.ExtendedNextHop = append(caps.ExtendedNextHop, wire.ExtendedNextHop{Family: f, NextHopAFI: wire.IPv6Unicast.AFI})
		}
	}
	if c.GracefulRestart {
		c.addRestart(caps)
	}
	return o
}

// addRestart adds the capabilities of graceful restart.
func (c *OpenConfig) addRestart(caps *wire.Capabilities) {
	g := &wire.GracefulRestart{Restarting: c.Restarting, Notification: true, Time: c.RestartTime}
	for _, f := range c.Families {
		preserved := c.ForwardingPreserved.Has(f)
		g.Families = append(g.Families, wire.RestartFamily{Family: f, ForwardingPreserved: preserved})
		if c.LongLivedTime > 0 {
			caps.LongLived = append(caps.LongLived, wire.LongLived{Family: f, ForwardingPreserved: preserved, StaleTime: c.LongLivedTime})
		}
	}
	caps.GracefulRestart = g
}
