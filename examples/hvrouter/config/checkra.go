package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ra checks what is given; in a guest much may be left open.
func (k *checker) ra(path string, r RA) {
	if d := r.Interval.Duration; d != 0 && (d < 4*time.Second || d > 1800*time.Second) {
		k.bad(path+".interval", "%v: want 4s to 30m", r.Interval)
	}
	if !r.lasts() || r.Lifetime != nil && r.Lifetime.Duration > 9000*time.Second {
		k.bad(path+".lifetime", "%v: want 0s, or from the interval to 9000s", r.Lifetime)
	}
	if r.MTU != 0 && (r.MTU < 1280 || r.MTU > 65535) {
		k.bad(path+".mtu", "%d: want 1280 to 65535", r.MTU)
	}
	if r.Valid.Duration != 0 && r.Preferred.Duration > r.Valid.Duration {
		k.bad(path+".preferred", "%v is more than valid, %v", r.Preferred, r.Valid)
	}
	k.preference(path+".preference", r.Preference)
	for i, a := range r.DNS {
		if !a.Is6() || a.Is4In6() {
			k.bad(fmt.Sprintf("%s.dns[%d]", path, i), "%v is not an IPv6 address", a)
		}
	}
	k.fits(path+".dns", len(r.DNS), 127)
	size := 0
	for i, name := range r.Search {
		size += len(name) + 2
		if !domainName(name) {
			k.bad(fmt.Sprintf("%s.search[%d]", path, i), "%q is not a domain name", name)
		}
	}
	k.fits(path+".search", size, 255*8-8)
	k.raPrefixes(path, r)
	k.portal(path+".captive-portal", r.CaptivePortal)
}

// lasts reports whether a default router is believed from one advertisement to the next.
func (r RA) lasts() bool {
	return r.Lifetime == nil || r.Lifetime.Duration == 0 || r.Lifetime.Duration >= r.Interval.Duration
}

// raTogether checks what a guest gives together with what it takes from the edge.
func (k *checker) raTogether(path string, own, base RA) {
	all := own.Over(base)
	if own.lasts() && base.lasts() && !all.lasts() {
		k.bad(path, "the lifetime is %v and the interval %v", all.Lifetime, all.Interval)
	}
	bad := func(r RA) bool { return r.Valid.Duration != 0 && r.Preferred.Duration > r.Valid.Duration }
	if bad(all) && !bad(own) && !bad(base) {
		k.bad(path, "preferred is %v and valid %v", all.Preferred, all.Valid)
	}
}

func (k *checker) raPrefixes(path string, r RA) {
	for i, route := range r.Routes {
		at := fmt.Sprintf("%s.routes[%d]", path, i)
		if k.need(at+".prefix", route.Prefix.IsValid()) && !route.Prefix.Addr().Is6() {
			k.bad(at+".prefix", "%v is not an IPv6 prefix", route.Prefix)
		}
		k.preference(at+".preference", route.Preference)
	}
	for i, p := range r.PREF64 {
		if !p.Addr().Is6() || !slices.Contains([]int{32, 40, 48, 56, 64, 96}, p.Bits()) {
			k.bad(fmt.Sprintf("%s.pref64[%d]", path, i), "%v: want an IPv6 prefix of length 32, 40, 48, 56, 64 or 96", p)
		}
	}
	// All of it must fit one packet of IPv6's least MTU.
	k.fits(path+".routes", len(r.Routes), 17)
	k.fits(path+".pref64", len(r.PREF64), 8)
}

func (k *checker) fits(path string, n, most int) {
	if n > most {
		k.bad(path, "too long for an advertisement: %d, and %d fit", n, most)
	}
}

func (k *checker) preference(path, word string) {
	if word != "" {
		k.oneOf(path, word, "low", "medium", "high")
	}
}

// portal checks a captive portal's URI: RFC 8908, Section 4.1 wants https, RFC 8910,
// Section 2 no address in place of a name.
func (k *checker) portal(path, uri string) {
	if uri == "" || uri == NoPortal || uri == "urn:ietf:params:capport:unrestricted" {
		return
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		k.bad(path, "%q: want an https URI, or none", uri)
	case len(uri) > 1024:
		k.bad(path, "the URI has %d octets: 1024 fit", len(uri))
	case !domainName(u.Hostname()):
		k.bad(path, "%q: want a domain name, not an address", u.Hostname())
	}
}

// domainName reports whether s can be encoded as a domain name and is no IPv4 address.
func domainName(s string) bool {
	if s == "" || len(s) > 253 || strings.Trim(s, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	return true
}
