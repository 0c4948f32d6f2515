package edge

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"os"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// Proxied tells whether a guest's neighbours are answered for over IPv6: it has an
// address that is not a whole /64 of its own, or may find one.
func Proxied(g config.Guest) bool {
	if g.Find.Has(config.IPv6) {
		return true
	}
	for _, p := range g.IPv6 {
		if p.Bits() > 64 {
			return true
		}
	}
	return false
}

// Target says that a prefix is allocated: guests that ask for its addresses are
// answered, except behind link, where it lives (0: elsewhere).
func (e *Edge) Target(p netip.Prefix, link int) {
	if p.Addr().Is4() {
		e.responder.SetTarget(p, link)
	} else {
		e.proxy.SetTarget(p, link)
	}
}

// NoTarget takes Target back.
func (e *Edge) NoTarget(p netip.Prefix) {
	if p.Addr().Is4() {
		e.responder.DeleteTarget(p)
	} else {
		e.proxy.DeleteTarget(p)
	}
}

// answer begins or ends answering the guest's questions about its neighbours. The
// kernel's proxy_arp and the responder are never on together: see
// domain.Sysctls.
func (e *Edge) answer(c *config.Config, p guest.Port, mac [6]byte) error {
	rate := float64(p.Rate)
	if c.Edge.ARP == "responder" && (len(p.IPv4) > 0 || p.Find.Has(config.IPv4)) {
		if err := netns.Do(e.config.NetNS, func() error { return endProxyARP(p.Interface) }); err != nil {
			return err
		}
		err := e.responder.SetGuest(p.Link.Index, arp.Guest{MAC: arp.MAC(p.MAC), Router: arp.MAC(mac), Addresses: addresses(p.Guest), Rate: rate, Burst: rate})
		if err != nil {
			return err
		}
	} else {
		e.responder.RemoveGuest(p.Link.Index)
	}
	if !Proxied(p.Guest) {
		e.proxy.RemoveGuest(p.Link.Index)
		return nil
	}
	return e.proxy.SetGuest(p.Link.Index, ndp.Guest{MAC: ndp.MAC(p.MAC), Router: ndp.MAC(mac), Source: gateway6, Addresses: addresses(p.Guest), Rate: rate, Burst: rate})
}

// Silence ends answering the guest's ARP requests before it returns; the kernel may
// begin.
func (e *Edge) Silence(p guest.Port) { e.responder.RemoveGuest(p.Link.Index) }

// endProxyARP has the kernel not answer on an interface, before the responder does. That
// is its desired state already (see domain.Sysctls), which is reached in its own time;
// until then a question would have two answers.
func endProxyARP(name string) error {
	file := "/proc/sys/net/ipv4/conf/" + name + "/proxy_arp"
	have, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(have) == "0\n" {
		return nil // gone, or silent
	}
	return cmp.Or(err, os.WriteFile(file, []byte("0"), 0))
}

// addresses lists what a guest may speak as.
func addresses(g config.Guest) (out []netip.Prefix) {
	for _, a := range g.IPv4 {
		out = append(out, netip.PrefixFrom(a.Addr, a.BitLen()))
	}
	for _, p := range g.IPv6 {
		out = append(out, p.Prefix)
	}
	for _, p := range g.Routed {
		out = append(out, p.Prefix)
	}
	return out
}
