package edge

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/ndp"
)

func (e *Edge) advertise(c *config.Config, p guest.Port, mac [6]byte) error {
	ra := c.Edge.RAFor(p.Guest)
	if advertisesNothing(ra, p.Guest) {
		e.ra.Remove(p.Link.IfIndex)
		return nil
	}
	return e.ra.Set(p.Link.IfIndex, ndp.Router{
		MAC:           mac,
		Source:        gateway6,
		Advertisement: Advertisement(ra, p.Guest),
		Timing:        ndp.Timing{MaxInterval: ra.Interval.Duration},
	})
}

// advertisesNothing reports whether a guest hears of no router; ra has its overrides applied.
func advertisesNothing(ra config.RA, g config.Guest) bool {
	return ra.Silent() || len(g.IPv6) == 0 && !g.Discovery.Has(config.IPv6)
}

var preferences = map[string]ndp.Preference{"low": ndp.PreferenceLow, "medium": ndp.PreferenceMedium, "high": ndp.PreferenceHigh}

// Advertisement is what one guest is told; ra has the guest's overrides applied.
func Advertisement(ra config.RA, g config.Guest) ndp.RouterAdvertisement {
	lifetime := ra.DefaultLifetime()
	var prefixes prefixes
	for _, p := range g.Discovery.Within {
		if p.Addr().Is6() && p.Bits() == 64 {
			prefixes.add(ra, p.Prefix, g.Discovery.Neighbors) // what the guest forms there is found
		}
	}
	out := ndp.RouterAdvertisement{HopLimit: ra.HopLimit, Preference: preferences[ra.Preference], Lifetime: within(ra.Lifetime, lifetime), MTU: ra.MTU}
	for _, p := range g.IPv6 {
		if p.Bits() < 64 {
			continue // a router behind the guest's link-local address: nothing to tell
		}
		// An address inside a shared /64: its neighbours seem to be on the link, and are
		// answered for. The guest has the address from elsewhere.
		prefixes.add(ra, p.Prefix, p.Bits() == 64)
	}
	out.Prefixes = prefixes
	for _, r := range ra.Routes {
		out.Routes = append(out.Routes, ndp.Route{Prefix: r.Prefix.Prefix,
			Preference: preferences[cmp.Or(r.Preference, ra.Preference)], Lifetime: within(r.Lifetime, lifetime)})
	}
	for _, p := range ra.PREF64 {
		out.PREF64 = append(out.PREF64, ndp.PREF64{Prefix: p.Prefix, Lifetime: lifetime})
	}
	if len(ra.DNS) > 0 {
		r := ndp.RDNSS{Lifetime: lifetime}
		for _, a := range ra.DNS {
			r.Servers = append(r.Servers, a.Addr)
		}
		out.RDNSS = []ndp.RDNSS{r}
	}
	if len(ra.Search) > 0 {
		out.DNSSL = []ndp.DNSSL{{Lifetime: lifetime, Domains: ra.Search}}
	}
	if ra.CaptivePortal != config.NoPortal {
		out.CaptivePortal = ra.CaptivePortal
	}
	return out
}

// prefixes is what a guest believes to be on its link, none twice.
type prefixes []ndp.Prefix

// add takes the /64 of p.
func (ps *prefixes) add(ra config.RA, p netip.Prefix, autonomous bool) {
	p = netip.PrefixFrom(p.Addr(), 64).Masked()
	if slices.ContainsFunc(*ps, func(o ndp.Prefix) bool { return o.Prefix == p }) {
		return
	}
	*ps = append(*ps, ndp.Prefix{Prefix: p, OnLink: true, Autonomous: autonomous,
		Valid: ra.Valid.Duration, Preferred: min(ra.Preferred.Duration, ra.Valid.Duration)})
}

func within(given *config.Duration, otherwise time.Duration) time.Duration {
	if given != nil {
		return given.Duration
	}
	return otherwise
}
