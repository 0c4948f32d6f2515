package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// NetNS names a network namespace: NAME, which stands for /run/netns/NAME as `ip
// netns` makes it, or a path. "" is the daemon's own.
type NetNS string

// tableMain is the kernel's table main.
const tableMain = 254

// netnsDir is where iproute2 keeps namespaces that have names.
const netnsDir = "/run/netns/"

// Path returns the file of the namespace, "" for the daemon's own.
func (n NetNS) Path() string {
	if n == "" || strings.Contains(string(n), "/") {
		return string(n)
	}
	return netnsDir + string(n)
}

// normal gives each namespace one spelling: its name if it has one.
func (n NetNS) normal() NetNS {
	if !strings.Contains(string(n), "/") {
		return n
	}
	path := filepath.Clean(string(n))
	path = strings.TrimPrefix(path, "/var")
	if name, ok := strings.CutPrefix(path, netnsDir); ok && !strings.Contains(name, "/") {
		return NetNS(name)
	}
	return NetNS(filepath.Clean(string(n)))
}

// home fills what follows from the domain's namespace and from table main.
func (d *Domain) home() {
	d.NetNS = d.NetNS.normal()
	if d.NetNS != "" && d.Table == (Table{}) {
		d.Table.ID = tableMain
	}
	if d.Table.ID != tableMain {
		return
	}
	def(&d.LastResort, "none")
	if d.NetNS == "" && d.Redistribute == nil {
		d.Redistribute = new(bool)
	}
}

// Namespace is what a configuration wants of one network namespace.
type Namespace struct {
	NetNS NetNS
	// Config has the domains that live here, and of the rest what belongs to
	// them: the loopback, local-out, guests, overlays. With one namespace it is the
	// whole configuration.
	Config *Config
}

// Namespaces splits the configuration by network namespace: the daemon's own first if
// anything lives there, the others in the order of the file. There is always one.
func (c *Config) Namespaces() []Namespace {
	var names []NetNS
	for _, n := range append([]NetNS{""}, c.netns()...) {
		if c.uses(n) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) < 2 {
		only := NetNS("")
		if len(names) == 1 {
			only = names[0]
		}
		return []Namespace{{only, c}}
	}
	namespaces := make([]Namespace, len(names))
	for i, n := range names {
		namespaces[i] = Namespace{n, c.at(n)}
	}
	return namespaces
}

func (c *Config) netns() (names []NetNS) {
	for _, d := range c.Domains {
		names = append(names, d.NetNS)
	}
	return names
}

// inNamespaces reports whether a domain is in a namespace other than the daemon's own.
func (c *Config) inNamespaces() bool {
	return slices.ContainsFunc(c.Domains, func(d Domain) bool { return d.NetNS != "" })
}

// uses reports whether anything lives in a namespace.
func (c *Config) uses(n NetNS) bool {
	return slices.Contains(c.netns(), n) || c.Loopback.Interface != "" && c.LoopbackNetNS() == n || n == "" && (c.LocalOut != nil || c.Rules != nil)
}

// LoopbackNetNS is where the loopback address lives, and with it the VTEPs of
// overlays: with the domain that announces it, or else in the daemon's own.
func (c *Config) LoopbackNetNS() NetNS {
	for _, d := range c.Domains {
		if d.Loopback {
			return d.NetNS
		}
	}
	return ""
}

// GuestNetNS is where guests' interfaces live, and with them the bridges of
// overlays: with the guests' domain, or else with the loopback.
func (c *Config) GuestNetNS() NetNS {
	if d := c.GuestDomain(); d != nil {
		return d.NetNS
	}
	return c.LoopbackNetNS()
}

// at returns the part of the configuration that lives in one of several namespaces.
func (c *Config) at(n NetNS) *Config {
	part := *c
	part.Domains = nil
	for _, d := range c.Domains {
		if d.NetNS == n {
			part.Domains = append(part.Domains, d)
		}
	}
	if c.LoopbackNetNS() != n {
		part.Loopback = Loopback{}
	}
	if c.GuestNetNS() != n {
		part.Guests, part.GuestTemplates, part.Overlays = nil, nil, nil
	}
	if n != "" {
		part.LocalOut, part.Rules = nil, nil // of what the daemon's own namespace sends
	}
	return &part
}

// NetNSOf returns the namespace that a session is in: its domain's, or that of the first
// domain that shares it.
func (c *Config) NetNSOf(r Reflector, domain string) NetNS {
	if domain == "" && len(r.AdvertiseNextHops) > 0 {
		domain = r.AdvertiseNextHops[0].Domain
	}
	if d := c.Domain(domain); d != nil {
		return d.NetNS
	}
	return ""
}
