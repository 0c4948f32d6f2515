package bgp

import (
	"fmt"
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
	RemoteID netip.Addr
	// HoldTime is the lower of both sides' hold times; 0: no KEEPALIVEs.
	HoldTime time.Duration
	// Families are exchanged.
	Families wire.FamilySet
	// AddPathReceive and AddPathSend are the families with path identifiers.
	AddPathReceive, AddPathSend wire.FamilySet
	// IPv6NextHop: IPv4 routes may have IPv6 next hops (RFC 8950).
	IPv6NextHop bool
	// AS4: AS numbers have four octets on this session (RFC 6793).
	AS4 bool
	// RouteRefresh and EnhancedRefresh: RFC 2918 and RFC 7313.
	RouteRefresh, EnhancedRefresh bool
	// ExtendedMessage: messages of up to 65535 octets (RFC 8654).
	ExtendedMessage bool
	// GracefulRestart is set if both sides can (RFC 4724).
	GracefulRestart bool
	// Notification is the N bit on both sides (RFC 8538).
	Notification bool
	// Local and Remote are the capabilities as we and the peer sent them.
	Local, Remote wire.Capabilities
}

// internal reports whether the session is an iBGP session.
func (n *Negotiated) internal(localAS uint32) bool { return n.RemoteAS == localAS }

// restartFamily returns what the peer's graceful restart capability says of f.
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

// longLived returns the peer's long-lived stale time for f, 0 if there is none.
func (n *Negotiated) longLived(f wire.Family) time.Duration {
	for _, l := range n.Remote.LongLived {
		if l.Family == f {
			return l.StaleTime
		}
	}
	return 0
}

// openParams is what our OPEN depends on.
type openParams struct {
	as       uint32
	id       netip.Addr
	peer     *PeerConfig
	restart  GracefulRestart
	starting bool           // the R bit: we have restarted and are not done yet
	kept     wire.FamilySet // the F bits: our forwarding state is in place
	plain    bool           // without capabilities
}

// localOpen builds our OPEN.
func localOpen(p openParams) wire.Open {
	o := wire.Open{AS: p.as, HoldTime: p.peer.HoldTime, ID: p.id}
	if p.plain {
		return o
	}
	c := &o.Capabilities
	c.Families = p.peer.Families
	c.RouteRefresh, c.EnhancedRefresh, c.AS4 = true, true, true
	c.ExtendedMessage = !p.peer.NoExtendedMessage
	for _, f := range p.peer.Families {
		add := wire.AddPath{Family: f, Receive: slices.Contains(p.peer.AddPathReceive, f), Send: slices.Contains(p.peer.AddPathSend, f)}
		if add.Receive || add.Send {
			c.AddPath = append(c.AddPath, add)
		}
		if f == wire.IPv4Unicast && p.peer.IPv6NextHop {
			c.ExtendedNextHop = append(c.ExtendedNextHop, wire.ExtendedNextHop{Family: f, NextHopAFI: wire.IPv6Unicast.AFI})
		}
	}
	if p.restart.Enabled {
		addRestart(c, p)
	}
	return o
}

// addRestart adds the graceful restart capabilities.
func addRestart(c *wire.Capabilities, p openParams) {
	g := &wire.GracefulRestart{Restarting: p.starting, Notification: true, Time: p.restart.RestartTime}
	for _, f := range p.peer.Families {
		kept := p.kept.Has(f)
		g.Families = append(g.Families, wire.RestartFamily{Family: f, ForwardingPreserved: kept})
		if p.restart.LongLivedTime > 0 {
			c.LongLived = append(c.LongLived, wire.LongLived{Family: f, ForwardingPreserved: kept, StaleTime: p.restart.LongLivedTime})
		}
	}
	c.GracefulRestart = g
}

// negotiate compares our OPEN with the peer's (RFC 4271, Section 6.2). The error
// is the one to send.
func negotiate(local, remote *wire.Open, peer *PeerConfig) (Negotiated, *wire.Error) {
	if err := acceptable(local, remote, peer); err != nil {
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
	for _, f := range peer.Families {
		if !l.HasFamily(f) || !r.HasFamily(f) {
			continue
		}
		n.Families = n.Families.With(f)
		mine, theirs := addPath(l, f), addPath(r, f)
		if mine.Receive && theirs.Send {
			n.AddPathReceive = n.AddPathReceive.With(f)
		}
		if mine.Send && theirs.Receive {
			n.AddPathSend = n.AddPathSend.With(f)
		}
	}
	if n.Families == 0 {
		return n, missing(wire.Capabilities{Families: peer.Families}, fmt.Sprintf("no common address family: peer has %v", r.Families))
	}
	return n, nil
}

// acceptable checks AS number and BGP Identifier.
func acceptable(local, remote *wire.Open, peer *PeerConfig) *wire.Error {
	if peer.AS != AnyAS && remote.AS != or(peer.AS, local.AS) {
		return openError(wire.SubBadPeerAS, "RFC 4271, Section 6.2", fmt.Sprintf("AS %d, not %d", remote.AS, or(peer.AS, local.AS)))
	}
	if remote.AS == local.AS && remote.ID == local.ID {
		return openError(wire.SubBadID, "RFC 6286, Section 2.1", fmt.Sprintf("BGP Identifier %v is our own", remote.ID))
	}
	return nil
}

// missing is the error for capabilities that the peer does not have. RFC 5492, Section 5:
// "The Data field in the NOTIFICATION message MUST list the set of capabilities that causes
// the speaker to send the message."
func missing(c wire.Capabilities, text string) *wire.Error {
	e := openError(wire.SubUnsupportedCapability, "RFC 5492, Section 3", text)
	e.Data = c.Append(nil, 0)
	return e
}

func openError(subcode uint8, rfc, text string) *wire.Error {
	return &wire.Error{Disposition: wire.SessionReset, Code: wire.CodeOpen, Subcode: subcode, Message: wire.TypeOpen, RFC: rfc, Text: text}
}

func extendedNextHop(c *wire.Capabilities) bool {
	return slices.Contains(c.ExtendedNextHop, wire.ExtendedNextHop{Family: wire.IPv4Unicast, NextHopAFI: wire.IPv6Unicast.AFI})
}

func addPath(c *wire.Capabilities, f wire.Family) wire.AddPath {
	for _, a := range c.AddPath {
		if a.Family == f {
			return a
		}
	}
	return wire.AddPath{}
}

// idNumber is a BGP Identifier as the number that collisions compare.
func idNumber(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
