package ndp

import (
	"errors"
	"fmt"
	"time"
)

// Check reports what in m cannot be sent or contradicts itself, as the sum of all
// findings.
func (m *RouterAdvertisement) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ndp: "+format, args...)) }
	if m.Lifetime < 0 || m.Lifetime > 65535*time.Second {
		bad("router lifetime %v is not from 0 to 65535 s", m.Lifetime)
	}
	if m.MTU != 0 && m.MTU < 1280 {
		bad("MTU %d is under IPv6's minimum of 1280", m.MTU)
	}
	for _, p := range m.Prefixes {
		if !p.Prefix.IsValid() || p.Prefix.Addr().Is4() || p.Prefix.Addr().IsLinkLocalUnicast() {
			bad("prefix %v cannot be advertised", p.Prefix)
		}
		if p.Preferred > p.Valid {
			bad("prefix %v: preferred lifetime %v is over the valid lifetime %v", p.Prefix, p.Preferred, p.Valid)
		}
		if p.Autonomous && p.Prefix.Bits() != 64 {
			bad("prefix %v: hosts on Ethernet form addresses in a /64 only", p.Prefix)
		}
	}
	for _, r := range m.Routes {
		if !r.Prefix.IsValid() || r.Prefix.Addr().Is4() {
			bad("route %v is not an IPv6 prefix", r.Prefix)
		}
	}
	m.checkNames(bad)
	return errors.Join(errs...)
}

func (m *RouterAdvertisement) checkNames(bad func(string, ...any)) {
	for _, r := range m.RDNSS {
		if len(r.Servers) == 0 || len(r.Servers) > 127 {
			bad("%d DNS servers in an option; 1 to 127 fit", len(r.Servers))
		}
		for _, s := range r.Servers {
			if !s.Is6() || s.Is4In6() {
				bad("DNS server %v is not IPv6", s)
			}
		}
	}
	for _, l := range m.DNSSL {
		size := 0
		for _, d := range l.Domains {
			if size += len(d) + 2; !validName(d) {
				bad("search domain %q is not a domain name", d)
			}
		}
		if size == 0 || size > 255*8-8 {
			bad("search domains take %d octets; 1 to %d fit", size, 255*8-8)
		}
	}
	for _, p := range m.PREF64 {
		if len(appendPREF64(nil, p)) == 0 || p.Prefix.Addr().Is4() {
			bad("NAT64 prefix %v has no length of 32, 40, 48, 56, 64 or 96", p.Prefix)
		}
	}
	if len(m.CaptivePortal) > maxOption {
		bad("captive portal URI of %d octets; %d fit", len(m.CaptivePortal), maxOption)
	}
}
