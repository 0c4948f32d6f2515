package edge

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/hyperfib/hyperfib/arp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/internal/netns"
	"github.com/hyperfib/hyperfib/ndp"
)

// Proxied reports whether a guest's neighbours are answered for over IPv6: it has an
// address that is not a whole /64 of its own, or may find one.
func Proxied(g config.Guest) bool {
	if g.Discovery.Has(config.IPv6) {
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

// answer begins or ends answering the guest's questions: all those that the kernel does
// not answer. It hears the guest's own addresses alone (see package firewall), and knows no
// answer to a probe for another guest's; with proxy_arp it answers the rest of what they
// ask. That and the responder never answer the same question: see domain.Sysctls.
func (e *Edge) answer(c *config.Config, p guest.Port, mac [6]byte) error {
	if hasIPv4(p.Guest) {
		if c.Edge.ARP == "responder" {
			if err := netns.Do(e.config.NetNS, func() error { return endProxyARP(p.Interface) }); err != nil {
				return err
			}
			if end, was := e.proxied[p.Interface]; was && end.IsZero() {
				e.proxied[p.Interface] = time.Now()
			}
		} else {
			e.proxied[p.Interface] = time.Time{}
		}
		if err := e.responder.SetGuest(p.Link.IfIndex, arpGuest(c, p, mac, e.proxied[p.Interface])); err != nil {
			return err
		}
	} else {
		e.responder.RemoveGuest(p.Link.IfIndex)
	}
	if !domain.HasIPv6(p.Guest) {
		e.proxy.RemoveGuest(p.Link.IfIndex)
		return nil
	}
	return e.proxy.SetGuest(p.Link.IfIndex, ndpGuest(c, p, mac))
}

// hasIPv4 reports whether a guest has IPv4, or may be found to have.
func hasIPv4(g config.Guest) bool { return len(g.IPv4) > 0 || g.Discovery.Has(config.IPv4) }

// arpGuest returns what answers to a guest's ARP requests depend on; kernelUntil is when the
// kernel's proxy_arp has ended, if it has.
func arpGuest(c *config.Config, p guest.Port, mac [6]byte, kernelUntil time.Time) arp.Guest {
	rate := float64(p.Rate)
	return arp.Guest{MAC: arp.MAC(p.MAC), Router: arp.MAC(mac), Addresses: own(c, p.Guest), Gateway: domain.Gateway4(c, p.Guest), Known: known(p),
		KernelProxy: c.Edge.ARP == "kernel", KernelUntil: kernelUntil, KernelHears: c.Firewall.Off, Rate: rate, Burst: rate}
}

// ndpGuest returns what answers to a guest's neighbour solicitations depend on.
func ndpGuest(c *config.Config, p guest.Port, mac [6]byte) ndp.Guest {
	rate := float64(p.Rate)
	return ndp.Guest{MAC: ndp.MAC(p.MAC), Router: ndp.MAC(mac), Source: gateway6, Addresses: domain.GuestOwn(p.Guest),
		AnswerSource: !c.Firewall.Off, Known: known(p), Rate: rate, Burst: rate}
}

// known are the addresses of a guest that the kernel has as neighbours.
func known(p guest.Port) []netip.Addr { return append(domain.GuestNeighbours(p.Guest), p.Heard...) }

// own is what a guest may speak as. Where the responder answers, one whose addresses are
// to be found may ask before they are.
func own(c *config.Config, g config.Guest) []netip.Prefix {
	if list := domain.GuestOwn(g); list != nil || c.Edge.ARP == "responder" {
		return list
	}
	return []netip.Prefix{}
}

// Silence ends answering the guest's ARP requests before it returns; the kernel may
// begin.
func (e *Edge) Silence(p guest.Port) { e.responder.RemoveGuest(p.Link.IfIndex) }

// Known has a guest's questions from more addresses than its own left to the kernel.
func (e *Edge) Known(p guest.Port) {
	e.proxy.SetKnown(p.Link.IfIndex, known(p))
}

// Heard waits for guests that ask for their gateway from other addresses than their own,
// and returns them all. It fails when ctx ends.
func (e *Edge) Heard(ctx context.Context) ([]ndp.Sender, error) { return e.proxy.Heard(ctx) }

// endProxyARP has the kernel not answer on an interface, before the responder does. That
// is its desired state already (see domain.Sysctls), which is reached in its own time;
// until then a question would have two answers. What the kernel has answered may still wait in the
// responder's socket, and says by its time that it came before.
func endProxyARP(name string) error {
	return write("/proc/sys/net/ipv4/conf/"+name+"/proxy_arp", "0")
}

// proxying lists the interfaces on which the kernel answers ARP for others.
func proxying() map[string]time.Time {
	out := map[string]time.Time{}
	files, _ := filepath.Glob("/proc/sys/net/ipv4/conf/*/proxy_arp")
	for _, file := range files {
		if b, _ := os.ReadFile(file); string(b) == "1\n" {
			out[filepath.Base(filepath.Dir(file))] = time.Time{}
		}
	}
	return out
}

// write changes a sysctl that has another value. One that does not exist any more, or not
// on this kernel, is no error.
func write(file, value string) error {
	have, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(have) == value+"\n" {
		return nil
	}
	return cmp.Or(err, os.WriteFile(file, []byte(value), 0))
}
