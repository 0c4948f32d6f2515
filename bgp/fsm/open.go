package fsm

import (
	"cmp"
	"fmt"
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
	RouterID netip.Addr
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

// Negotiate compares our OPEN, as it was sent, with the peer's (RFC 4271, Section 6.2). The
// error is the one to send.
func (c *OpenConfig) Negotiate(local, remote *wire.Open) (Negotiated, *wire.Error) {
	if err := c.check(local, remote); err != nil {
		return Negotiated{}, err
	}
	l, r := &local.Capabilities, &remote.Capabilities
	n := Negotiated{
		RemoteAS: remote.AS, RemoteID: remote.ID,
		HoldTime:        min(local.HoldTime, remote.HoldTime),
		IPv6NextHop:     extendedNextHop(l) && extendedNextHop(r),
		AS4:             l.AS4 && r.AS4,
		RouteRefresh:    l.RouteRefresh && r.RouteRefresh,
		EnhancedRefresh: l.EnhancedRefresh && r.EnhancedRefresh,
		ExtendedMessage: l.ExtendedMessage && r.ExtendedMessage,
		GracefulRestart: l.GracefulRestart != nil && r.GracefulRestart != nil,
		Local:           *l, Remote: *r,
	}
	n.Notification = n.GracefulRestart && l.GracefulRestart.Notification && r.GracefulRestart.Notification
	for _, f := range c.Families {
		if !l.HasFamily(f) || !r.HasFamily(f) {
			continue
		}
		n.Families = n.Families.With(f)
		ours, theirs := addPath(l, f), addPath(r, f)
		if ours.Receive && theirs.Send {
			n.AddPathReceive = n.AddPathReceive.With(f)
		}
		if ours.Send && theirs.Receive {
			n.AddPathSend = n.AddPathSend.With(f)
		}
	}
	if n.Families == 0 {
		return n, missing(wire.Capabilities{Families: c.Families}, fmt.Sprintf("no common address family: peer has %v", r.Families))
	}
	return n, nil
}

// check checks AS number and BGP Identifier.
func (c *OpenConfig) check(local, remote *wire.Open) *wire.Error {
	if want := cmp.Or(c.PeerAS, local.AS); c.PeerAS != AnyAS && remote.AS != want {
		return openError(wire.SubBadPeerAS, "RFC 4271, Section 6.2", fmt.Sprintf("AS %d, not %d", remote.AS, want))
	}
	if remote.AS == local.AS && remote.ID == local.ID {
		return openError(wire.SubBadID, "RFC 6286, Section 2.1", fmt.Sprintf("BGP Identifier %v is our own", remote.ID))
	}
	return nil
}

// missing returns the error for capabilities that the peer does not have. RFC 5492, Section
// 5: "The Data field in the NOTIFICATION message MUST list the set of capabilities that
// causes the speaker to send the message."
func missing(caps wire.Capabilities, text string) *wire.Error {
	e := openError(wire.SubUnsupportedCapability, "RFC 5492, Section 3", text)
	e.Data = caps.Append(nil, 0)
	return e
}

func openError(subcode uint8, rfc, text string) *wire.Error {
	return &wire.Error{Disposition: wire.SessionReset, Code: wire.CodeOpen, Subcode: subcode, Message: wire.TypeOpen, RFC: rfc, Text: text}
}

func extendedNextHop(caps *wire.Capabilities) bool {
	return slices.Contains(caps.ExtendedNextHop, wire.ExtendedNextHop{Family: wire.IPv4Unicast, NextHopAFI: wire.IPv6Unicast.AFI})
}

func addPath(caps *wire.Capabilities, f wire.Family) wire.AddPath {
	for _, a := range caps.AddPath {
		if a.Family == f {
			return a
		}
	}
	return wire.AddPath{}
}
