package fsm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

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
		BFDStrict:       l.BFDStrict && r.BFDStrict,
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

// check checks AS number, BGP Identifier and role.
func (c *OpenConfig) check(local, remote *wire.Open) *wire.Error {
	switch want := cmp.Or(c.PeerAS, c.AS); {
	case remote.AS == wire.ASTrans:
		return openError(wire.SubBadPeerAS, "RFC 6793, Section 9", "AS 23456 is AS_TRANS, which no router has")
	case want == ExternalAS:
		if remote.AS == c.AS {
			return openError(wire.SubBadPeerAS, "RFC 4271, Section 6.2", fmt.Sprintf("AS %d is our own", remote.AS))
		}
	case want != AnyAS && remote.AS != want:
		return openError(wire.SubBadPeerAS, "RFC 4271, Section 6.2", fmt.Sprintf("AS %d, not %d", remote.AS, want))
	}
	if c.LocalAS != 0 && (remote.AS == c.LocalAS || remote.AS == c.AS) {
		return openError(wire.SubBadPeerAS, "RFC 4271, Section 6.2", fmt.Sprintf("AS %d is our own, and a local AS is for external peers", remote.AS))
	}
	if remote.AS == local.AS && remote.ID == local.ID {
		return openError(wire.SubBadID, "RFC 6286, Section 2.1", fmt.Sprintf("BGP Identifier %v is our own", remote.ID))
	}
	if remote.AS == c.AS {
		return nil // roles are for external peers
	}
	return c.checkRole(local.Capabilities.Roles, remote.Capabilities.Roles)
}

// checkRole compares roles, if both sides have sent one. RFC 9234, Section 4.2: "If the Roles do
// not correspond, the BGP speaker MUST reject the connection using the Role Mismatch
// Notification". "If multiple BGP Role Capabilities are received and not all of them have the same
// value, then the BGP speaker MUST reject the connection".
func (c *OpenConfig) checkRole(local, remote []wire.Role) *wire.Error {
	mismatch := func(format string, arg ...any) *wire.Error {
		return openError(wire.SubRoleMismatch, "RFC 9234, Section 4.2", fmt.Sprintf(format, arg...))
	}
	switch {
	case len(local) == 0:
	case len(remote) > 1:
		return mismatch("the peer has several roles: %v", remote)
	case len(remote) == 1 && !local[0].Pairs(remote[0]):
		return mismatch("we are %v, and the peer is %v", local[0], remote[0])
	case len(remote) == 0 && c.RoleStrict:
		return mismatch("we are %v, and the peer has no role", local[0])
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
