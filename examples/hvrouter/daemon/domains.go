package daemon

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Domains that come and go by a reload. The rules, addresses, firewall and persistent routes of a
// namespace follow from the configuration; here is the rest: the table, the sessions and the foreign
// routes of a domain.

// fixedDomains returns what of the domains a reload cannot do.
func fixedDomains(old, new *config.Config) (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, was := range old.Domains {
		is := new.Domain(was.Name)
		switch {
		case is == nil:
			if why := rooted(old, was); why != "" {
				refuse("domain %s has gone, and %s: that needs a restart", was.Name, why)
			}
		case was.NetNS != is.NetNS:
			refuse("the namespace of domain %s has changed: that needs a restart", was.Name)
		case was.Table.ID != is.Table.ID:
			refuse("the table of domain %s has changed: that needs a restart", was.Name)
		case was.Redistributes() != is.Redistributes():
			refuse("redistribute of domain %s has changed: that needs a restart", was.Name)
		case was.Unnumbered() != is.Unnumbered():
			refuse("whether domain %s has neighbours without an address has changed: that needs a restart", was.Name)
		case !slices.Equal(peering.Members(old, was), peering.Members(new, *is)):
			refuse("what domain %s shares with others on its sessions (communities, next hops) has changed: that needs a restart", was.Name)
		}
	}
	for _, d := range new.Domains {
		if old.Domain(d.Name) != nil {
			continue
		}
		if why := rooted(new, d); why != "" {
			refuse("domain %s is new, and %s: that needs a restart", d.Name, why)
		}
		// Of what one domain gives up and another takes, the order would matter.
		for _, was := range old.Domains {
			if was.NetNS != d.NetNS {
				continue
			}
			if was.Table.ID == d.Table.ID {
				refuse("domain %s is new, with table %v of domain %s: that needs a restart, or a reload that frees it before", d.Name, d.Table, was.Name)
			}
			for _, name := range domain.Interfaces(d) {
				if slices.Contains(domain.Interfaces(was), name) {
					refuse("domain %s is new, with interface %s of domain %s: that needs a restart, or a reload that frees it before", d.Name, name, was.Name)
				}
			}
		}
	}
	return errs
}

// rooted says what of a domain is made at the start of the daemon only, "" if nothing is.
func rooted(c *config.Config, d config.Domain) string {
	switch {
	case d.Guests:
		return "guests are in it"
	case c.Isolation == config.IsolationVRF:
		return "has a VRF"
	case d.Unnumbered():
		return "has neighbours without an address"
	case c.Shares(d.Name):
		return "shares sessions with others"
	}
	return ""
}

// newDomains returns the domains of a configuration that the one that counts has not.
func (r *router) newDomains(c *config.Config) (list []config.Domain) {
	for _, d := range c.Domains {
		if r.domains[d.Name] == nil {
			list = append(list, d)
		}
	}
	return list
}

// tryDomains returns why a domain that is new in a configuration cannot begin.
func (r *router) tryDomains(c *config.Config) error {
	for _, d := range r.newDomains(c) {
		if err := r.sessions.Try(c, d, r.at(d.NetNS)); err != nil {
			return fmt.Errorf("domain %s: %w", d.Name, err)
		}
	}
	return nil
}

// removeDomains ends the domains that another configuration has no more: their sessions first,
// which withdraws what they announced, then their routes.
func (r *router) removeDomains(c *config.Config) {
	r.order = slices.DeleteFunc(r.order, func(name string) bool {
		if c.Domain(name) != nil {
			return false
		}
		g := r.domains[name]
		r.sessions.Remove(name)
		if g.unlearn != nil {
			g.unlearn()
		}
		var gone []domain.Key
		for route := range g.rib.Routes {
			gone = append(gone, route.Key)
		}
		slices.SortFunc(gone, func(a, b domain.Key) int {
			return cmp.Or(cmp.Compare(a.Table, b.Table), a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric))
		})
		for _, k := range gone {
			g.namespace.DeleteRoute(k)
		}
		delete(r.domains, name)
		r.dropEVPN(name)
		r.log.Info("domain removed", "event", "domain-removed", "domain", name)
		return true
	})
}

// beginDomains begins the domains that the configuration has and the one before had not. One that
// cannot begin, though [router.tryDomains] found nothing, is left out until the next reload.
func (r *router) beginDomains() {
	for _, d := range r.newDomains(r.cfg) {
		if err := r.beginDomain(d); err != nil {
			r.log.Error("domain not added", "event", "domain-failed", "domain", d.Name, "err", err)
			continue
		}
		r.log.Info("domain added", "event", "domain-added", "domain", d.Name)
	}
	r.order = r.order[:0]
	for _, d := range r.cfg.Domains {
		if r.domains[d.Name] != nil {
			r.order = append(r.order, d.Name)
		}
	}
}

func (r *router) beginDomain(d config.Domain) error {
	n := r.at(d.NetNS)
	if err := n.OwnTable(d.Table.ID); err != nil {
		return err
	}
	m, err := r.sessions.Add(r.cfg, d, n)
	if err != nil {
		return err
	}
	for l := range n.Links().All {
		if !l.Up() {
			m.LinkDown(l.Interface)
		}
	}
	if g := r.addDomain(d, m); !g.learned {
		g.unlearn = r.startLearning(g)
	}
	return nil
}
