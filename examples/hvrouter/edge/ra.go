package edge

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/ndp"
)

// Lifetimes of a prefix: RFC 4861, Section 6.2.1 has 30 days and 7 days; a guest's
// prefix follows the guest, so it may as well last.
const (
	validLifetime     = 30 * 24 * time.Hour
	preferredLifetime = 7 * 24 * time.Hour
)

func (e *Edge) advertise(c *config.Config, p guest.Port, mac [6]byte) error {
	if c.Edge.RA.Off || len(p.IPv6) == 0 {
		e.ra.Remove(p.Link.Index)
		return nil
	}
	return e.ra.Set(p.Link.Index, ndp.Router{
		MAC:           mac,
		Source:        gateway6,
		Advertisement: Advertisement(c.Edge.RA, p.Guest),
		Timing:        ndp.Timing{MaxInterval: c.Edge.RA.Interval.Duration},
	})
}

// Advertisement is what one guest is told.
func Advertisement(ra config.RA, g config.Guest) ndp.RouterAdvertisement {
	// Three advertisements may be lost before a guest drops its default route.
	lifetime := min(3*ra.Interval.Duration, 9000*time.Second).Round(time.Second)
	out := ndp.RouterAdvertisement{HopLimit: 64, Lifetime: lifetime, MTU: ra.MTU}
	for _, p := range g.IPv6 {
		if p.Bits() < 64 {
			continue // a router behind the guest's link-local address: nothing to tell
		}
		// An address inside a shared /64: its neighbours seem to be on the link, and are
		// answered for. The guest has the address from elsewhere.
		whole := netip.PrefixFrom(p.Addr(), 64).Masked()
		out.Prefixes = append(out.Prefixes, ndp.Prefix{Prefix: whole, OnLink: true, Autonomous: p.Bits() == 64,
			Valid: validLifetime, Preferred: preferredLifetime})
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
	return out
}
