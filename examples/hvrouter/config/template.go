package config

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Template makes a guest of every interface whose name matches and that no guest of
// the inventory has: guests that an orchestrator plugs in without a word. An
// interface of a guest that the inventory knows, but which does not say how its gateway
// is called or what it is told, gets that from the template too.
type Template struct {
	// Interfaces is a shell pattern (*, ?, [a-z]) that begins with a letter or more:
	// tap*, vnet[0-9]*.
	Interfaces string `yaml:"interfaces" json:"interfaces"`
	// Discovery says where the addresses of such a guest come from.
	Discovery Discovery `yaml:"discovery,omitempty" json:"discovery,omitzero"`
	// Gateway4, RA, LocalPref and Rate as in [Guest].
	Gateway4  Addr   `yaml:"gateway4,omitempty" json:"gateway4,omitzero"`
	RA        RA     `yaml:"ra,omitempty" json:"ra,omitzero"`
	LocalPref uint32 `yaml:"local-pref,omitempty" json:"local-pref"`
	Rate      uint32 `yaml:"rate,omitempty" json:"rate,omitempty"`
}

// Discovery says which addresses a guest has besides those that are written down. The zero
// value is none.
type Discovery struct {
	// Within are the only prefixes in which addresses are found. An IPv6 /64 is
	// advertised to the guest, which may form addresses in it. Required.
	Within []Prefix `yaml:"within,omitempty" json:"within,omitempty"`
	// Routes takes the prefixes of routes that others put into the guests' table over
	// the interface.
	Routes bool `yaml:"routes,omitempty" json:"routes,omitempty"`
	// Neighbors takes the addresses that the guest speaks from, by ARP and neighbour
	// discovery, until it no longer answers.
	Neighbors bool `yaml:"neighbors,omitempty" json:"neighbors,omitempty"`
	// Maximum addresses that are taken from one interface. Default 16, at most 64.
	Maximum int `yaml:"maximum,omitempty" json:"maximum,omitempty"`
}

// On reports whether anything is found at all.
func (f Discovery) On() bool { return f.Routes || f.Neighbors }

// IsZero reports whether nothing was given.
func (f Discovery) IsZero() bool { return !f.On() && len(f.Within) == 0 && f.Maximum == 0 }

// Has reports whether addresses of a family may be found.
func (f Discovery) Has(family Family) bool {
	for _, p := range f.Within {
		if f.On() && FamilyOf(p.Addr()) == family {
			return true
		}
	}
	return false
}

func (f *Discovery) fill() {
	if f.On() {
		f.Maximum = cmp.Or(f.Maximum, 16)
	}
}

func (t *Template) fill() {
	t.Discovery.fill()
	def(&t.LocalPref, 100)
}

// Template returns the first template that an interface matches, nil if there is none.
func (c *Config) Template(name string) *Template {
	for i := range c.GuestTemplates {
		if Match(c.GuestTemplates[i].Interfaces, name) {
			return &c.GuestTemplates[i]
		}
	}
	return nil
}

// Inherit gives a guest what it leaves open and a template of its interface has: the
// gateway, and what it is told. Addresses are not found for who has an inventory's.
func (c *Config) Inherit(g Guest) Guest {
	t := c.Template(g.Interface)
	if t == nil {
		return g
	}
	if !g.Gateway4.IsValid() {
		g.Gateway4 = t.Gateway4
	}
	g.RA = g.RA.Over(t.RA)
	g.Rate = cmp.Or(g.Rate, t.Rate)
	return g
}

// IsPattern reports whether a name stands for several interfaces.
func IsPattern(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// Match reports whether an interface has a name, or one of a pattern.
func Match(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// Literal returns what every name of a pattern begins with.
func Literal(pattern string) string {
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// templates checks the section guest-templates.
func (k *checker) templates(c *Config) {
	seen := unique[string]{}
	for i, t := range c.GuestTemplates {
		at := fmt.Sprintf("$.guest-templates[%d]", i)
		if k.need(at+".interfaces", t.Interfaces != "") {
			k.pattern(at+".interfaces", t.Interfaces, c)
			seen.add(k, at+".interfaces", "pattern", t.Interfaces)
		}
		k.finds(at+".discovery", t.Discovery)
		k.ra(at+".ra", t.RA)
		k.raTogether(at+".ra", t.RA, c.Edge.RA)
		k.rate(at+".rate", t.Rate)
		if t.Gateway4.IsValid() && !t.Gateway4.Is4() {
			k.bad(at+".gateway4", "%v is not an IPv4 address", t.Gateway4)
		}
		if t.Discovery.Has(IPv4) && !t.Gateway4.IsValid() && !c.Edge.Gateway4.IsValid() {
			k.bad(at+".discovery", "IPv4 addresses are found, and neither the template nor edge has a gateway4")
		}
		if d := c.GuestDomain(); t.Discovery.Routes && d != nil && !d.Redistributes() {
			k.bad(at+".discovery.routes", "domain %s does not redistribute routes", d.Name)
		}
	}
	if len(c.GuestTemplates) > 0 && c.GuestDomain() == nil {
		k.bad("$.guest-templates", "no domain says guests: true")
	}
}

// pattern checks that the names of a pattern can be guests' alone: the firewall takes
// everything that begins like it for a guest.
func (k *checker) pattern(at, pattern string, c *Config) {
	if _, err := path.Match(pattern, ""); err != nil {
		k.bad(at, "%q is not a pattern, such as tap* or vnet[0-9]*", pattern)
		return
	}
	literal := Literal(pattern)
	if literal == "" || len(literal) > 15 || strings.ContainsAny(literal, "/ ") {
		k.bad(at, "%q: want a pattern that begins with what all names begin with, such as tap*", pattern)
		return
	}
	for _, o := range c.others() {
		if strings.HasPrefix(o.name, literal) {
			k.bad(at, "%s begins like %s, and is %s", o.name, pattern, o.what)
		}
	}
}

// owned is an interface that is nobody's guest.
type owned struct{ name, what string }

// others lists the interfaces of the guests' namespace that are nobody's guest.
func (c *Config) others() (out []owned) {
	n := c.GuestNetNS()
	for _, d := range c.Domains {
		if d.NetNS != n {
			continue
		}
		for _, r := range d.Sessions() {
			out = append(out, owned{r.Interface, "an uplink of domain " + d.Name})
		}
		for _, name := range d.Interfaces {
			out = append(out, owned{name, "an interface of domain " + d.Name})
		}
		out = append(out, owned{d.VRF, "the VRF of domain " + d.Name})
	}
	for _, r := range c.Sessions {
		if c.NetNSOf(r, "") == n {
			out = append(out, owned{r.Interface, "the uplink of session " + r.Name})
		}
	}
	for _, o := range c.Overlays {
		out = append(out, owned{o.Name, "an overlay"}, owned{o.Bridge, "the bridge of an overlay"})
		for _, m := range o.Members {
			out = append(out, owned{m, "a port of overlay " + o.Name})
		}
	}
	if c.LoopbackNetNS() == n {
		out = append(out, owned{c.Loopback.Interface, "the loopback"})
	}
	out = append(out, owned{"lo", "the kernel's loopback"})
	seen := map[string]bool{"": true}
	return slices.DeleteFunc(out, func(o owned) bool {
		again := seen[o.name]
		seen[o.name] = true
		return again
	})
}

// mostRate is more than one core answers.
const mostRate = 1_000_000

func (k *checker) rate(at string, r uint32) {
	if r > mostRate {
		k.bad(at, "%d answers a second: want %d at most", r, mostRate)
	}
}

func (k *checker) finds(at string, f Discovery) {
	if f.On() && len(f.Within) == 0 {
		k.bad(at, "within is missing: no address would be a guest's")
	}
	if !f.On() && len(f.Within) > 0 {
		k.bad(at+".within", "neither learn nor discover is on")
	}
	if f.Maximum < 0 || f.Maximum > 64 {
		k.bad(at+".maximum", "%d: want 1 to 64", f.Maximum)
	}
}
