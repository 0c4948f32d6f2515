package rib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AcceptAll accepts every path.
func AcceptAll(*Route) Verdict { return VerdictAccept }

// RejectAll rejects every path.
func RejectAll(*Route) Verdict { return VerdictReject }

// Chain asks one policy after another; the first that accepts or rejects decides.
func Chain(policies ...Policy) Policy {
	return func(r *Route) Verdict {
		for _, p := range policies {
			if v := p(r); v != VerdictNext {
				return v
			}
		}
		return VerdictNext
	}
}

// Match is a condition on a path. Reading a Route allocates nothing, so a Match does not
// either.
type Match func(*Route) bool

// If asks then for paths that match, and has no opinion on others.
func If(m Match, then Policy) Policy {
	return func(r *Route) Verdict {
		if m(r) {
			return then(r)
		}
		return VerdictNext
	}
}

// Not turns a condition round.
func Not(m Match) Match { return func(r *Route) bool { return !m(r) } }

// AllOf is the conjunction of conditions.
func AllOf(ms ...Match) Match {
	return func(r *Route) bool {
		for _, m := range ms {
			if !m(r) {
				return false
			}
		}
		return true
	}
}

// AnyOf is the disjunction of conditions.
func AnyOf(ms ...Match) Match {
	return func(r *Route) bool {
		for _, m := range ms {
			if m(r) {
				return true
			}
		}
		return false
	}
}

// PrefixRange is an entry of a prefix list: the prefixes within Prefix whose length is
// between Min and Max. Min 0 means Prefix's own length; Max 0 means Min.
type PrefixRange struct {
	Prefix   netip.Prefix // covers what is meant
	Min, Max int          // prefix lengths, inclusive
}

func (e PrefixRange) contains(p netip.Prefix) bool {
	lo := e.Min
	if lo == 0 {
		lo = e.Prefix.Bits()
	}
	hi := e.Max
	if hi == 0 {
		hi = lo
	}
	return p.Bits() >= lo && p.Bits() <= hi && p.Bits() >= e.Prefix.Bits() && e.Prefix.Contains(p.Addr())
}

// PrefixIn matches the prefixes of a list.
func PrefixIn(list ...PrefixRange) Match {
	return func(r *Route) bool {
		for _, e := range list {
			if e.contains(r.Prefix) {
				return true
			}
		}
		return false
	}
}

// HasCommunity matches paths that carry a standard community.
func HasCommunity(c wire.Community) Match { return func(r *Route) bool { return r.HasCommunity(c) } }

// HasExtCommunity matches paths that carry an extended community.
func HasExtCommunity(c wire.ExtCommunity) Match {
	return func(r *Route) bool { return r.HasExtCommunity(c) }
}

// HasLargeCommunity matches paths that carry a large community.
func HasLargeCommunity(c wire.LargeCommunity) Match {
	return func(r *Route) bool { return r.HasLargeCommunity(c) }
}

// AddCommunity adds a standard community.
func AddCommunity(c wire.Community) Policy {
	return func(r *Route) Verdict { r.AddCommunity(c); return VerdictNext }
}

// DeleteCommunity removes a standard community.
func DeleteCommunity(c wire.Community) Policy {
	return func(r *Route) Verdict { r.DeleteCommunity(c); return VerdictNext }
}

// SetCommunities replaces all standard communities.
func SetCommunities(cs ...wire.Community) Policy {
	return func(r *Route) Verdict {
		r.ClearCommunities()
		for _, c := range cs {
			r.AddCommunity(c)
		}
		return VerdictNext
	}
}

// AddLargeCommunity adds a large community.
func AddLargeCommunity(c wire.LargeCommunity) Policy {
	return func(r *Route) Verdict { r.AddLargeCommunity(c); return VerdictNext }
}

// DeleteLargeCommunity removes a large community.
func DeleteLargeCommunity(c wire.LargeCommunity) Policy {
	return func(r *Route) Verdict { r.DeleteLargeCommunity(c); return VerdictNext }
}

// AddExtCommunity adds an extended community.
func AddExtCommunity(c wire.ExtCommunity) Policy {
	return func(r *Route) Verdict { r.AddExtCommunity(c); return VerdictNext }
}

// DeleteExtCommunity removes an extended community.
func DeleteExtCommunity(c wire.ExtCommunity) Policy {
	return func(r *Route) Verdict { r.DeleteExtCommunity(c); return VerdictNext }
}

// SetLocalPref sets LOCAL_PREF.
func SetLocalPref(v uint32) Policy {
	return func(r *Route) Verdict { r.SetLocalPref(v); return VerdictNext }
}

// SetMED sets MULTI_EXIT_DISC.
func SetMED(v uint32) Policy { return func(r *Route) Verdict { r.SetMED(v); return VerdictNext } }

// Prepend puts an AS number in front of AS_PATH n times. On export to an external peer it is to
// be our own, or that of EBGP.LocalAS: many peers refuse a path that begins with another.
func Prepend(as uint32, n uint8) Policy {
	return func(r *Route) Verdict { r.Prepend(as, n); return VerdictNext }
}

// IsDefault matches the default routes, 0.0.0.0/0 and ::/0.
func IsDefault(r *Route) bool { return r.Prefix.Bits() == 0 }

// NextHopSelf, as an export policy, replaces the next hop by the session's local address.
func NextHopSelf(r *Route) Verdict {
	r.SetNextHop(wire.NextHop{})
	return VerdictNext
}

// OnLink, as an import policy, refuses paths whose next hop is on none of the connected
// networks.
func OnLink(networks ...netip.Prefix) Policy {
	return func(r *Route) Verdict {
		nh := r.NextHop()
		for _, n := range networks {
			if n.Contains(nh) {
				return VerdictNext
			}
		}
		return r.Refuse(ReasonNextHopNotOnLink)
	}
}

// linkBandwidth returns what the first link bandwidth community says that is well-formed, in octets
// per second; 0 if there is none.
func linkBandwidth(a Attrs) float32 {
	for c := range a.ExtCommunities().All() {
		if octets, ok := c.LinkBandwidth(); ok {
			return octets
		}
	}
	return 0
}

// SetLinkBandwidth sets the link bandwidth, in octets per second; 0 removes it. A receiver shares
// traffic among equal paths accordingly.
func SetLinkBandwidth(octets float32) Policy {
	return func(r *Route) Verdict { r.SetLinkBandwidth(octets); return VerdictNext }
}

// ASPathHas matches paths that went through an AS.
func ASPathHas(as uint32) Match { return func(r *Route) bool { return r.ASPath().Contains(as) } }

// IsLocal matches the paths that we originate.
func IsLocal(r *Route) bool { return r.Local() }

// GracefulShutdown, as an import policy, makes paths the last choice whose sender is about to
// go away: those with the community GRACEFUL_SHUTDOWN get LOCAL_PREF 0 (RFC 8326, Section 4.1).
func GracefulShutdown(r *Route) Verdict {
	if r.HasCommunity(wire.CommunityGracefulShutdown) {
		r.SetLocalPref(0)
	}
	return VerdictNext
}
