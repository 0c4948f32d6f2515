package app

import (
	"errors"
	"net/netip"
)

// maxProbes bounds the addresses that are listened for: a passive session is cheap,
// but a /64 of them is not.
const maxProbes = 1024

// hosts counts the addresses of prefixes, up to more than maxProbes.
func hosts(prefixes []netip.Prefix) (n int) {
	for _, p := range prefixes {
		n += 1 << min(p.Addr().BitLen()-p.Bits(), 16)
	}
	return n
}

// answer waits for BFD from addresses that probe this machine as a next hop on its link.
// The sessions are passive: nothing is sent to who does not ask, and what becomes of them
// is the other side's business.
func (w *watch) answer(prefixes []netip.Prefix) error {
	var errs []error
	for _, p := range prefixes {
		for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
			if wide := p.Bits() < p.Addr().BitLen()-1; wide && (a == p.Masked().Addr() || a.Is4() && !p.Contains(a.Next())) {
				continue // the network's own address, and its broadcast address
			}
			c := w.session
			c.Peer, c.Passive = a, true
			errs = append(errs, w.bfd.Add(c))
		}
	}
	return errors.Join(errs...)
}
