package peering

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Policy makes a policy of package rib, of a speaker with an AS. Each call makes another one, and
// sessions share what is encoded for them only if they share a policy: keep it. An empty policy
// is nil.
func Policy(p config.Policy, as uint32) rib.Policy {
	if len(p) == 0 {
		return nil
	}
	return func(r *rib.Route) rib.Verdict {
		if r.Family == wire.RTConstrain { // it says what the peer is to send, and is no route
			return rib.VerdictAccept
		}
		for i := range p {
			if !matches(&p[i], r) {
				continue
			}
			change(&p[i], r, as)
			switch p[i].Action {
			case "accept":
				return rib.VerdictAccept
			case "reject":
				return rib.VerdictReject
			}
		}
		return rib.VerdictAccept
	}
}

// Default makes of the file what a speaker with an AS announces as the default route. Each call makes other
// policies, as Policy does. draining leaves the route with GRACEFUL_SHUTDOWN, whatever the file makes of it.
func Default(d *config.DefaultOriginate, as uint32, draining bool) (out rib.DefaultRoute) {
	if d == nil {
		return out
	}
	out.Families = wire.Families(families(d.Families)...)
	if len(d.When) > 0 {
		out.When = func(r *rib.Route) rib.Verdict {
			for i := range d.When {
				if t := &d.When[i]; t.Action != "" && matches(t, r) {
					return verdicts[t.Action]
				}
			}
			return rib.VerdictReject
		}
	}
	policy := Policy(d.Policy, as)
	if out.Policy = policy; draining {
		out.Policy = func(r *rib.Route) (v rib.Verdict) {
			if policy != nil {
				v = policy(r)
			}
			r.SetLocalPref(0)
			r.AddCommunity(GracefulShutdown)
			return v
		}
	}
	return out
}

var verdicts = map[string]rib.Verdict{"accept": rib.VerdictAccept, "reject": rib.VerdictReject}

func matches(t *config.Term, r *rib.Route) bool {
	if t.Prefix.IsValid() && !within(t, r.Prefix) {
		return false
	}
	if len(t.Prefixes) > 0 && !slices.ContainsFunc(t.Prefixes, func(p config.PrefixRange) bool { return p.Contains(r.Prefix) }) {
		return false
	}
	c := t.Community
	switch {
	case c.IsZero():
		return true
	case c.Large:
		return r.HasLargeCommunity(c.Triple)
	}
	return r.HasCommunity(c.Standard)
}

func within(t *config.Term, p netip.Prefix) bool {
	return t.Prefix.Contains(p.Addr()) && p.Bits() >= int(t.GE) && p.Bits() <= int(t.LE)
}

func change(t *config.Term, r *rib.Route, as uint32) {
	if t.LocalPref != nil {
		r.SetLocalPref(*t.LocalPref)
	}
	if t.MED != nil {
		r.SetMED(*t.MED)
	}
	if t.Bandwidth != nil {
		r.SetLinkBandwidth(float32(*t.Bandwidth) * (1e6 / 8)) // octets per second
	}
	if t.Prepend > 0 {
		r.Prepend(as, t.Prepend)
	}
	for _, c := range t.Remove {
		if c.Large {
			r.DeleteLargeCommunity(c.Triple)
		} else {
			r.DeleteCommunity(c.Standard)
		}
	}
	for _, c := range t.Add {
		if c.Large {
			r.AddLargeCommunity(c.Triple)
		} else {
			r.AddCommunity(c.Standard)
		}
	}
}
