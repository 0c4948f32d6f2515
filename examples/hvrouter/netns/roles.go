package netns

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// roles is what the interfaces of a namespace are, as far as that must be found out.
type roles struct {
	trust    domain.Trust // which are the host's own
	detached map[int]bool // those that were guests', by index, as long as they are there
}

// gateway6 is our address on every guest's interface.
var gateway6 = netip.MustParsePrefix("fe80::1/64")

// findDetached returns the interfaces that were guests' and are no guest's now. One that an
// earlier run attached, and whose guest has gone since, still has our address.
func (r *roles) findDetached(c *config.Config, l *Links, guests []config.Guest) (names []string) {
	attached := map[string]bool{}
	for _, g := range guests {
		attached[g.Interface] = true
	}
	for index, link := range l.byIndex {
		if _, ours := l.addrs[index][gateway6]; ours {
			r.detached[index] = true
		}
		if attached[link.Interface] || isUplink(c, link.Interface) || slices.Contains(r.trust.Host, link.Interface) {
			delete(r.detached, index)
		}
	}
	for index := range r.detached {
		if name, ok := l.Name(index); ok {
			names = append(names, name)
		} else {
			delete(r.detached, index)
		}
	}
	slices.Sort(names)
	return names
}

// decideTrust decides anew which interfaces are the host's own, and logs what an operator
// should know of it, once.
func (r *roles) decideTrust(log *slog.Logger, c *config.Config, l *Links, guests []config.Guest) {
	before := r.trust
	r.trust = domain.NewTrust(c, guests, interfaces(l))
	if c.Firewall.Off {
		return
	}
	for _, i := range since(before.Guessed, r.trust.Guessed) {
		log.Warn("interface taken for the host's own, because it has an address; firewall.trusted says which are", "event", "interface-guessed", "interface", i.Name, "address", i.Because)
	}
	for _, i := range since(before.Denied, r.trust.Denied) {
		log.Warn("interface is neither uplink nor guest's nor in firewall.trusted: what arrives there is dropped", "event", "interface-denied", "interface", i.Name, "address", i.Because)
	}
}

// interfaces returns all interfaces with their addresses, in the order of their names.
func interfaces(l *Links) []domain.Interface {
	all := make([]domain.Interface, 0, len(l.index))
	for name, index := range l.index {
		all = append(all, domain.Interface{Name: name, Addresses: func() (list []domain.InterfaceAddress) {
			for a, is := range l.addrs[index] {
				list = append(list, domain.InterfaceAddress{Prefix: a, Global: is.global, Permanent: is.permanent})
			}
			slices.SortFunc(list, func(a, b domain.InterfaceAddress) int { return a.Prefix.Compare(b.Prefix) })
			return list
		}})
	}
	slices.SortFunc(all, func(a, b domain.Interface) int { return strings.Compare(a.Name, b.Name) })
	return all
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
