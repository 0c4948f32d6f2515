package daemon

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// gateway6 is our address on every guest's interface.
var gateway6 = netip.MustParsePrefix("fe80::1/64")

// linksOf returns what is to be known of a namespace's interfaces besides its guests.
func (r *router) linksOf(p *namespace, here []config.Guest) domain.Links {
	guests := r.guestsIn(p, here)
	return domain.Links{Heard: r.heardBy(p, guests), Detached: p.findDetached(guests)}
}

// findDetached returns the interfaces that were guests' and are nobody's now. One that an
// earlier run attached, and whose guest is gone since, still has our address.
func (p *namespace) findDetached(guests []config.Guest) (names []string) {
	attached := map[string]bool{}
	for _, g := range guests {
		attached[g.Interface] = true
	}
	for index, link := range p.links.byIndex {
		if _, ours := p.links.addrs[index][gateway6]; ours {
			p.detached[index] = true
		}
		if attached[link.Interface] || p.isUplink(link.Interface) || slices.Contains(p.trust.Host, link.Interface) {
			delete(p.detached, index)
		}
	}
	for index := range p.detached {
		if name, ok := p.links.name(index); ok {
			names = append(names, name)
		} else {
			delete(p.detached, index)
		}
	}
	slices.Sort(names)
	return names
}

// tellTrust decides anew which interfaces are the host's own, and says what an operator
// should know of it, once.
func (r *router) tellTrust(p *namespace) {
	all := make([]domain.Interface, 0, len(p.links.index))
	for name, index := range p.links.index {
		all = append(all, domain.Interface{Name: name, Addresses: func() (list []domain.InterfaceAddress) {
			for a, is := range p.links.addrs[index] {
				list = append(list, domain.InterfaceAddress{Prefix: a, Global: is.global, Permanent: is.permanent})
			}
			return list
		}})
	}
	slices.SortFunc(all, func(a, b domain.Interface) int { return strings.Compare(a.Name, b.Name) })
	was := p.trust
	p.trust = domain.NewTrust(p.cfg, r.guests.All(), all)
	if p.cfg.Firewall.Off {
		return
	}
	for _, i := range since(was.Guessed, p.trust.Guessed) {
		p.log.Warn("interface taken for the host's own, because it has an address; firewall.trusted says which are", "event", "interface-guessed", "interface", i.Name, "address", i.Because)
	}
	for _, i := range since(was.Denied, p.trust.Denied) {
		p.log.Warn("interface is neither uplink nor guest's nor in firewall.trusted: what arrives there is dropped", "event", "interface-denied", "interface", i.Name, "address", i.Because)
	}
}

// since returns the interfaces that are in now and were not before.
func since(before, now []domain.TrustHint) (list []domain.TrustHint) {
	for _, i := range now {
		if !slices.ContainsFunc(before, func(b domain.TrustHint) bool { return b.Name == i.Name }) {
			list = append(list, i)
		}
	}
	return list
}
