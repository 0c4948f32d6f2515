package config

import (
	"cmp"
	"time"
)

// RA is router advertisement to guests, RFC 4861, Section 6.2.1. In a guest, whatever is not given
// is the edge's.
type RA struct {
	// Off tells guests nothing. A guest may say off: false where the edge says true.
	Off *bool `yaml:"off,omitempty" json:"off,omitempty"`
	// Interval is MaxRtrAdvInterval, 4s to 1800s. Default 600s.
	Interval Duration `yaml:"interval,omitempty" json:"interval,omitzero"`
	// Lifetime as a default router: from Interval to 9000s, or 0s for a router that is
	// nobody's default. Default three times the Interval.
	Lifetime *Duration `yaml:"lifetime,omitempty" json:"lifetime,omitempty"`
	// Preference among default routers, RFC 4191, Section 2.1: low, medium (default) or high.
	Preference string `yaml:"preference,omitempty" json:"preference,omitempty"`
	// HopLimit that guests shall use. Default 64.
	HopLimit uint8 `yaml:"hop-limit,omitempty" json:"hop-limit,omitempty"`
	// MTU announced, at least 1280; 0 announces none. DHCP says the same.
	MTU uint32 `yaml:"mtu,omitempty" json:"mtu,omitempty"`
	// Valid and Preferred are the lifetimes of a guest's prefix. Default 720h and 168h.
	Valid     Duration `yaml:"valid,omitempty" json:"valid,omitzero"`
	Preferred Duration `yaml:"preferred,omitempty" json:"preferred,omitzero"`
	// DNS servers (RDNSS) and search domains (DNSSL), RFC 8106, Section 5.
	DNS    []Addr   `yaml:"dns,omitempty" json:"dns,omitzero"`
	Search []string `yaml:"search,omitempty" json:"search,omitzero"`
	// Routes more specific than the default route, RFC 4191, Section 2.3.
	Routes []RARoute `yaml:"routes,omitempty" json:"routes,omitzero"`
	// PREF64 are NAT64 prefixes of length 32, 40, 48, 56, 64 or 96, RFC 8781, Section 4.
	PREF64 []Prefix `yaml:"pref64,omitempty" json:"pref64,omitzero"`
	// CaptivePortal is the URI of the captive portal API, RFC 8910, Section 2.3: https, or the word
	// none where the edge has one.
	CaptivePortal string `yaml:"captive-portal,omitempty" json:"captive-portal,omitempty"`
}

// RARoute is a Route Information option.
type RARoute struct {
	// Prefix that the guest reaches through us. Required.
	Prefix Prefix `yaml:"prefix" json:"prefix"`
	// Preference as that of the router.
	Preference string `yaml:"preference,omitempty" json:"preference,omitempty"`
	// Lifetime. Default: three times the interval.
	Lifetime *Duration `yaml:"lifetime,omitempty" json:"lifetime,omitempty"`
}

// NoPortal as a captive portal is none.
const NoPortal = "none"

func (r *RA) fill() {
	defDuration(&r.Interval, 600*time.Second)
	def(&r.Preference, "medium")
	def(&r.HopLimit, 64)
	// RFC 4861, Section 6.2.1 has 30 days and 7 days; a guest's prefix follows the
	// guest, so it may as well last.
	defDuration(&r.Valid, 30*24*time.Hour)
	defDuration(&r.Preferred, 7*24*time.Hour)
}

// Over returns r with what it leaves open taken from base.
func (r RA) Over(base RA) RA {
	list := func(given bool, set func()) {
		if !given {
			set()
		}
	}
	list(r.Off != nil, func() { r.Off = base.Off })
	list(r.Lifetime != nil, func() { r.Lifetime = base.Lifetime })
	list(r.DNS != nil, func() { r.DNS = base.DNS })
	list(r.Search != nil, func() { r.Search = base.Search })
	list(r.Routes != nil, func() { r.Routes = base.Routes })
	list(r.PREF64 != nil, func() { r.PREF64 = base.PREF64 })
	r.Interval.Duration = cmp.Or(r.Interval.Duration, base.Interval.Duration)
	r.Valid.Duration = cmp.Or(r.Valid.Duration, base.Valid.Duration)
	r.Preferred.Duration = cmp.Or(r.Preferred.Duration, base.Preferred.Duration)
	r.Preference = cmp.Or(r.Preference, base.Preference)
	r.HopLimit = cmp.Or(r.HopLimit, base.HopLimit)
	r.MTU = cmp.Or(r.MTU, base.MTU)
	r.CaptivePortal = cmp.Or(r.CaptivePortal, base.CaptivePortal)
	return r
}

// RAFor returns what one guest is told, defaults and overrides applied.
func (e Edge) RAFor(g Guest) RA { return g.RA.Over(e.RA) }

// Silent reports whether nothing is advertised.
func (r RA) Silent() bool { return r.Off != nil && *r.Off }

// DefaultLifetime is three intervals: so many advertisements may be lost before a guest
// drops its default route.
func (r RA) DefaultLifetime() time.Duration {
	return min(3*r.Interval.Duration, 9000*time.Second).Round(time.Second)
}
