package domain

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// InterfaceAddress is an address of an interface, and what the kernel says of it.
type InterfaceAddress struct {
	Prefix    netip.Prefix
	Global    bool // its scope
	Permanent bool // it has no lifetime
}

// Interface is one that exists. Addresses returns those that it has, and is called only if
// they matter.
type Interface struct {
	Name      string
	Addresses func() []InterfaceAddress
}

// Trust says which interfaces are the host's own: what arrives there is none of the
// firewall's business. What arrives on any other that is neither uplink nor an attached
// guest's is dropped.
type Trust struct {
	// Host are those that are: lo, the loopback, VRFs, and those that the configuration
	// trusts.
	Host []string
	// Guessed are trusted because of an address, since the configuration does not say whom
	// to trust. They are in Host.
	Guessed []TrustHint
	// Denied have an address that may be the host's, and are not trusted.
	Denied []TrustHint
}

// TrustHint is an interface of which an operator should say what it is.
type TrustHint struct {
	Name    string
	Because netip.Prefix // an address of it
}

// truster is what NewTrust looks things up in, made once for all interfaces.
type truster struct {
	trusted  []string // nil: the configuration does not say
	known    map[string]bool
	gateways map[netip.Addr]bool
	patterns []string // of guests' interfaces
}

// NewTrust decides it. Guests are all of the inventory, present or not.
func NewTrust(c *config.Config, guests []config.Guest, all []Interface) (t Trust) {
	r := newTruster(c, guests)
	own := func(name string) {
		if name != "" && !slices.Contains(t.Host, name) {
			t.Host = append(t.Host, name)
		}
	}
	own("lo")
	own(c.Loopback.Interface)
	for _, d := range c.Domains {
		own(d.VRF)
	}
	for _, name := range c.Firewall.Trusted {
		if !config.IsPattern(name) {
			own(name) // also before it is there
		}
	}
	for _, i := range all {
		if r.known[i.Name] || slices.Contains(t.Host, i.Name) || matches(r.patterns, i.Name) {
			continue
		}
		if matches(r.trusted, i.Name) {
			own(i.Name)
			continue
		}
		switch because, certain := r.address(i); {
		case !because.IsValid():
		case certain && r.trusted == nil:
			own(i.Name)
			t.Guessed = append(t.Guessed, TrustHint{i.Name, because})
		default:
			t.Denied = append(t.Denied, TrustHint{i.Name, because})
		}
	}
	byName := func(a, b TrustHint) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(t.Guessed, byName)
	slices.SortFunc(t.Denied, byName)
	return t
}

func newTruster(c *config.Config, guests []config.Guest) truster {
	r := truster{trusted: c.Firewall.Trusted, known: map[string]bool{}, gateways: map[netip.Addr]bool{c.Edge.Gateway4.Addr: true}}
	for _, d := range c.Domains {
		for _, name := range Interfaces(d) {
			r.known[name] = true
		}
	}
	for _, o := range c.Overlays {
		r.known[o.Bridge], r.known[o.Name] = true, true
	}
	for _, g := range guests {
		for _, p := range g.Overlays {
			r.known[p.Interface] = true
		}
	}
	for _, t := range c.GuestTemplates {
		r.patterns = append(r.patterns, t.Interfaces)
		r.gateways[t.Gateway4.Addr] = true
	}
	for _, g := range guests {
		if config.IsPattern(g.Interface) {
			r.patterns = append(r.patterns, g.Interface)
		} else {
			r.known[g.Interface] = true
		}
		r.gateways[g.Gateway4.Addr] = true
	}
	return r
}

// address returns an address by which an interface may be the host's own, and whether it
// certainly is one that only an operator gives: of global scope, none of guests' gateways,
// and in IPv6 permanent, since a router advertisement that a guest sent makes others.
func (r *truster) address(i Interface) (because netip.Prefix, certain bool) {
	for _, a := range i.Addresses() {
		addr := a.Prefix.Addr()
		if !a.Global || r.gateways[addr] || addr.IsLinkLocalUnicast() {
			continue
		}
		sure := addr.Is4() || a.Permanent
		if !because.IsValid() || sure && !certain || sure == certain && a.Prefix.Compare(because) < 0 {
			because, certain = a.Prefix, sure
		}
	}
	return because, certain
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return config.Match(p, name) })
}
