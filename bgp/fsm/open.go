package fsm

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AnyAS as OpenConfig.PeerAS accepts every AS number in the peer's OPEN.
const AnyAS = ^uint32(0)

// ExternalAS as OpenConfig.PeerAS accepts every AS number but our own. Like AnyAS it is one
// that no router has (RFC 7300, Section 2).
const ExternalAS = 65535

// OpenConfig is what our OPEN and the answer to the peer's depend on.
type OpenConfig struct {
	// AS and RouterID are our AS number and BGP Identifier.
	AS uint32
	// LocalAS is the AS number that our OPEN has instead of AS; 0 means AS.
	LocalAS  uint32
	RouterID netip.Addr // our BGP Identifier; IPv4
	// PeerAS is the AS number that the peer's OPEN must have; 0 means AS, [AnyAS] any,
	// [ExternalAS] any but ours.
	PeerAS uint32
	// Role is what we are to an external peer (RFC 9234, Section 4.1), [wire.RoleNone] is not
	// sent and not compared.
	Role wire.Role
	// RoleStrict refuses a peer whose OPEN has no role (RFC 9234, Section 4.2).
	RoleStrict bool
	// BFDStrict offers that the session waits for BFD (draft-ietf-idr-bgp-bfd-strict-mode-19,
	// Section 5): see [StrictConfig].
	BFDStrict bool
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
	o := wire.Open{AS: cmp.Or(c.LocalAS, c.AS), HoldTime: c.HoldTime, ID: c.RouterID}
	if c.NoCapabilities {
		return o
	}
	caps := &o.Capabilities
	caps.Families = c.Families
	caps.RouteRefresh, caps.EnhancedRefresh, caps.AS4 = true, true, true
	caps.ExtendedMessage, caps.BFDStrict = !c.NoExtendedMessage, c.BFDStrict
	for _, f := range c.Families {
		add := wire.AddPath{Family: f, Receive: slices.Contains(c.AddPathReceive, f), Send: slices.Contains(c.AddPathSend, f)}
		if add.Receive || add.Send {
			caps.AddPath = append(caps.AddPath, add)
		}
		if f == wire.IPv4Unicast && c.IPv6NextHop {
			caps.ExtendedNextHop = append(caps.ExtendedNextHop, wire.ExtendedNextHop{Family: f, NextHopAFI: wire.IPv6Unicast.AFI})
		}
	}
	if c.Role != wire.RoleNone && c.PeerAS != 0 && c.PeerAS != c.AS {
		caps.Roles = []wire.Role{c.Role}
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
