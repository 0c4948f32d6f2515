package fsm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Negotiated is what both sides of a session agreed on. It is a value; slices are
// not to be modified.
type Negotiated struct {
	// RemoteAS, RemoteID are the peer's AS number and BGP Identifier.
	RemoteAS uint32
	RemoteID netip.Addr // an IPv4 address
	// HoldTime is the lower of both sides' hold times; 0: no KEEPALIVEs.
	HoldTime time.Duration
	// Families are exchanged.
	Families wire.FamilySet
	// AddPathReceive and AddPathSend are the families with path identifiers
	// (RFC 7911, Section 4).
	AddPathReceive, AddPathSend wire.FamilySet
	// IPv6NextHop: IPv4 routes may have IPv6 next hops (RFC 8950, Section 4).
	IPv6NextHop bool
	// AS4: AS numbers have four octets on this session (RFC 6793, Section 3).
	AS4 bool
	// RouteRefresh and EnhancedRefresh: RFC 2918, Section 2, and RFC 7313, Section 3.1.
	RouteRefresh, EnhancedRefresh bool
	// ExtendedMessage: messages of up to 65535 octets (RFC 8654, Section 3).
	ExtendedMessage bool
	// BFDStrict: the session waits for BFD (draft-ietf-idr-bgp-bfd-strict-mode-19, Section 6).
	BFDStrict bool
	// GracefulRestart is set if both sides can (RFC 4724, Section 3).
	GracefulRestart bool
	// Notification is the N bit on both sides (RFC 8538, Section 2).
	Notification bool
	// Local and Remote are the capabilities as we and the peer sent them.
	Local, Remote wire.Capabilities
}

// UpdateOptions returns how UPDATEs of the session are to be read by a speaker in localAS.
func (n *Negotiated) UpdateOptions(localAS uint32) wire.Options {
	return wire.Options{
		AS4: n.AS4, IBGP: n.RemoteAS == localAS, Families: n.Families,
		AddPath: n.AddPathReceive, ExtendedNextHop: n.IPv6NextHop,
	}
}

// Retains reports whether graceful restart retains the peer's routes after the session has
// ended by the event cause, with a NOTIFICATION that was sent or received (the zero value:
// none). A lost connection retains them (RFC 4724, Section 4.2); an expired timer or a
// NOTIFICATION only does with the N bit on both sides, and unless it is a Hard Reset (RFC
// 8538, Section 4).
func (n *Negotiated) Retains(cause EventKind, notification wire.Notification) bool {
	switch {
	case !n.GracefulRestart:
		return false
	case cause == EventConnFails, cause == EventCollisionDump:
		return true
	}
	return n.Notification && !notification.IsHardReset()
}

// The following may be called with a nil n, which is the zero value.

// holdTime returns HoldTime.
func (n *Negotiated) holdTime() time.Duration {
	if n == nil {
		return 0
	}
	return n.HoldTime
}

// restarts reports whether the peer's OPEN has the capability of RFC 4724, Section 3.
func (n *Negotiated) restarts() bool { return n != nil && n.Remote.GracefulRestart != nil }

// bfdStrict returns BFDStrict.
func (n *Negotiated) bfdStrict() bool { return n != nil && n.BFDStrict }

// remote returns what decides a collision.
func (n *Negotiated) remote() (id netip.Addr, as uint32) {
	if n == nil {
		return id, 0
	}
	return n.RemoteID, n.RemoteAS
}

// restartFamily returns what the peer's graceful restart capability says of f: whether it is
// listed, and its F bit, Forwarding State (RFC 4724, Section 3).
func (n *Negotiated) restartFamily(f wire.Family) (forwarding, listed bool) {
	g := n.Remote.GracefulRestart
	if g == nil || !n.GracefulRestart {
		return false, false
	}
	for _, r := range g.Families {
		if r.Family == f {
			return r.ForwardingPreserved, true
		}
	}
	return false, false
}

// longLived returns the peer's long-lived stale time for f, 0 if there is none (RFC 9494,
// Section 3.1).
func (n *Negotiated) longLived(f wire.Family) time.Duration {
	for _, l := range n.Remote.LongLived {
		if l.Family == f {
			return l.StaleTime
		}
	}
	return 0
}

// longLivedForwarding returns the F bit of the peer's long-lived capability for f (RFC 9494,
// Section 3.1).
func (n *Negotiated) longLivedForwarding(f wire.Family) bool {
	return slices.ContainsFunc(n.Remote.LongLived, func(l wire.LongLived) bool { return l.Family == f && l.ForwardingPreserved })
}
