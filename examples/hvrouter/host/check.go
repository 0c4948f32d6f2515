// Package host compares a hypervisor with what a configuration needs of it: values
// of sysctls, interfaces, MTU, kernel features. [Check] is pure; what it looks at
// comes from a [View], which [System] takes from the running kernel.
package host

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/vxlan"
)

// View is what Check asks about the machine.
type View struct {
	// Sysctl reads a value below /proc/sys; ok is false if there is none.
	Sysctl func(path string) (value string, ok bool)
	// MTU gives an interface's MTU; ok is false if there is no such interface.
	MTU func(link string) (mtu int, ok bool)
	// Links gives the interfaces that exist, by name, index and MAC.
	Links func() []fib.Link
	// Host gives its addresses and default routes.
	Host func() config.Host
	// Listening gives who listens on a port, "tcp" or "udp"; our own processes are left
	// out.
	Listening func(proto string, port uint16) []Listener
	// Addresses gives the addresses of an interface.
	Addresses func(link string) []Address
	// Feature reports whether the kernel has a link type (bridge, vxlan), the
	// subsystem nftables, or another module.
	Feature func(name string) bool
}

// Listener is a socket that somebody listens on.
type Listener struct {
	Addr    netip.Addr // unspecified: every address
	Process string     // its name and number, "" if that could not be seen
}

// Level says how bad a finding is.
type Level uint8

// The levels. Only Drift and worse make the check fail.
const (
	Note   Level = iota // will be there once something else is
	Warn                // works, but not as well as it could
	Drift               // differs from what the daemon sets, and will be mended by it
	Unseen              // could not be seen, so that nothing is known of it
	Lack                // will not work
)

// Finding is one thing that differs.
type Finding struct {
	Level Level
	Text  string
	// Path is the YAML path that it is about, "" if it is about none: config.Where says
	// where that is.
	Path string
}

// String returns "drift: TEXT".
func (f Finding) String() string {
	return [...]string{"note", "warning", "drift", "not seen", "missing"}[f.Level] + ": " + f.Text
}

// Worst returns the level of the worst finding, Note if there is none.
func Worst(findings []Finding) (worst Level) {
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}

// Worse returns what the host lacks for a configuration, after, and does not lack for the
// one before it.
func Worse(before, after []Finding) (list []Finding) {
	for _, f := range after {
		same := func(old Finding) bool { return old.Level == f.Level && old.Text == f.Text }
		if f.Level == Lack && !slices.ContainsFunc(before, same) {
			list = append(list, f)
		}
	}
	return list
}

// Check returns everything in which the machine differs from what the configuration
// needs, worst first. view gives the machine as seen from a network namespace, or
// says why it cannot be seen.
func Check(c *config.Config, view func(config.NetNS) (View, error)) []Finding {
	k := &checker{whole: c}
	for _, p := range c.Namespaces() {
		if err := k.enter(p.NetNS, view); err != nil {
			if denied(err) {
				k.where = ""
				k.add(Unseen, "netns %s: only root may enter it: nothing of it was checked", p.NetNS)
			} else {
				k.add(Lack, "%v", err)
			}
			continue
		}
		p.Config = k.withLinks(p.Config)
		k.links(p.Config)
		k.addresses(p.Config)
		k.ports(p.Config)
		k.fabrics(p.Config)
		k.templates(p.Config)
		k.management(p.Config)
		k.trust(p.Config)
		k.sysctls(p.Config)
		k.neighbours(p.Config)
		k.edge(p.Config)
		k.features(p.Config)
	}
	if k.enter(c.LoopbackNetNS(), view) == nil {
		k.overlays(c)
	}
	k.where = ""
	k.sessions(c)
	slices.SortStableFunc(k.found, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
	return k.found
}

type checker struct {
	View
	whole *config.Config // not just the part in one namespace
	where string         // what every finding begins with
	path  string         // what the next finding is about
	found []Finding
}

// at says what the next finding is about.
func (k *checker) at(path string) *checker {
	k.path = path
	return k
}

func (k *checker) add(l Level, format string, args ...any) {
	k.found = append(k.found, Finding{l, k.where + fmt.Sprintf(format, args...), k.path})
	k.path = ""
}

// enter makes a namespace the one that is looked at.
func (k *checker) enter(n config.NetNS, view func(config.NetNS) (View, error)) (err error) {
	k.where = ""
	if n != "" {
		k.where = "netns " + string(n) + ": "
	}
	k.View, err = view(n)
	return err
}

// withLinks returns the configuration with the interfaces that neighbours' patterns fit as uplinks.
func (k *checker) withLinks(c *config.Config) *config.Config {
	var names []string
	for _, l := range k.Links() {
		names = append(names, l.Interface)
	}
	links, found := map[string][]string{}, map[string][]config.Found{}
	for _, d := range c.Domains {
		links[d.Name], found[d.Name] = names, d.Found
	}
	return c.WithFound(links, found)
}

func (k *checker) links(c *config.Config) {
	for _, d := range c.Domains {
		for i, n := range d.Neighbors {
			fits := func(l fib.Link) bool { return n.Fits(l.Interface) }
			if n.Pattern() && !slices.ContainsFunc(k.Links(), fits) {
				k.at(fmt.Sprintf("%s.neighbors[%d].interface", k.whole.DomainPath(d.Name), i)).add(Warn, "neighbours of domain %s: there is no interface %s", d.Name, n.Interface)
			}
		}
		for _, name := range domain.Interfaces(d) {
			if _, ok := k.MTU(name); !ok {
				k.at(k.interfacePath(d, name)).add(Lack, "interface %s of domain %s does not exist", name, d.Name)
			}
		}
	}
	if name := c.Loopback.Interface; name != "" {
		if _, ok := k.MTU(name); !ok {
			k.at("$.loopback.interface").add(Lack, "loopback interface %s does not exist", name)
		}
	}
	here := k.guests(c)
	for _, g := range c.Guests {
		there := slices.ContainsFunc(here, func(h config.Guest) bool { return h.Name == g.Name })
		for _, p := range g.Overlays {
			if _, ok := k.MTU(p.Interface); !ok && !g.Down {
				k.add(Note, "guest %s is not on overlay %s: there is no interface %s", g.Name, p.Overlay, p.Interface)
			}
		}
		switch {
		case there || g.Down || g.OverlayOnly():
		case config.IsPattern(g.Interface):
			k.add(Note, "guest %s is absent: no interface %s has its MAC %v", g.Name, g.Interface, g.MAC)
		default:
			k.add(Note, "guest %s is absent: there is no interface %s", g.Name, g.Interface)
		}
	}
}

// interfacePath is where the file names an uplink of a domain.
func (k *checker) interfacePath(d config.Domain, name string) string {
	path := k.whole.DomainPath(d.Name)
	for below, r := range d.Sessions() {
		if r.Interface == name {
			return path + below + ".interface"
		}
	}
	if i := d.NeighborOn(name); i >= 0 {
		return fmt.Sprintf("%s.neighbors[%d].interface", path, i)
	}
	return path
}

// guests returns those that are here, also those that templates make.
func (k *checker) guests(c *config.Config) []config.Guest {
	w := guest.Of(k.Links())
	w.Findings = func(int) []guest.Finding { return nil }
	return guest.Expand(c, c.Guests, w)
}

func (k *checker) sysctls(c *config.Config) {
	want := domain.Sysctls(c, k.guests(c), nil)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got, ok := k.Sysctl(path); ok && got != want[path] && path != allFilter {
			k.add(Drift, "%s is %s, want %s", path, got, want[path])
		}
	}
	k.filters(want)
	if got, ok := k.Sysctl("net/ipv4/nexthop_compat_mode"); ok && got != "0" {
		k.add(Note, "net/ipv4/nexthop_compat_mode is %s: replacing a next-hop group costs time for each route", got)
	}
}

// allFilter is the reverse path filter of all interfaces. The greater of it and the
// interface's own counts, so it can be wrong for many while each of them looks right.
const allFilter = "net/ipv4/conf/all/rp_filter"

// filters makes one finding of it.
func (k *checker) filters(want map[string]string) {
	all, ok := k.Sysctl(allFilter)
	if !ok || want[allFilter] == "" || all == want[allFilter] {
		return
	}
	harmed := map[string][]string{} // interfaces by what they should have
	for path, value := range want {
		name, filter := strings.CutSuffix(path, "/rp_filter")
		if own, there := k.Sysctl(path); filter && path != allFilter && there && max(own, all) != value {
			harmed[value] = append(harmed[value], strings.TrimPrefix(name, "net/ipv4/conf/"))
		}
	}
	var parts []string
	for _, value := range slices.Sorted(maps.Keys(harmed)) {
		slices.Sort(harmed[value])
		parts = append(parts, fmt.Sprintf("%s, which should have %s", strings.Join(harmed[value], ", "), value))
	}
	text := "nobody yet"
	if len(parts) > 0 {
		text = strings.Join(parts, "; ")
	}
	k.add(Drift, "%s is %s, want %s: the greater of it and an interface's own counts, and it is for %s", allFilter, all, want[allFilter], text)
}

func (k *checker) features(c *config.Config) {
	if c.Isolation == config.IsolationVRF && !k.Feature("vrf") {
		k.add(Lack, "%v", vrf.ErrUnsupported)
	}
	if c.Isolation == config.IsolationFwmark && !k.Feature("nftables") {
		k.add(Lack, "the kernel has no nftables, which marks packets; isolation: rules does without")
	} else if !c.Firewall.Off && !k.Feature("nftables") {
		k.add(Lack, "the kernel has no nftables; firewall: {off: true} does without")
	}
	if len(c.Overlays) > 0 {
		for _, name := range []string{"bridge", "vxlan"} {
			if !k.Feature(name) {
				k.add(Lack, "the kernel has no %s, which overlays need", name)
			}
		}
	}
	if c.Firewall.Off || !k.Feature("nftables") {
		return
	}
	for _, m := range firewallModules(c) {
		if !k.Feature(m.name) {
			k.add(Lack, "the kernel has no module %s, which %s", m.name, m.why)
		}
	}
}

type module struct{ name, why string }

// firewallModules returns what of nftables a firewall is made of.
func firewallModules(c *config.Config) []module {
	list := []module{
		{"nft_fib_inet", "finds spoofed IPv6 sources"},
		{"nft_ct", "exempts what is forwarded from connection tracking"},
	}
	list = append(list, module{"nft_limit", "limits what one guest may have the kernel do"})
	if c.Firewall.LogRate > 0 {
		list = append(list, module{"nft_log", "logs what the firewall drops"})
	}
	if slices.ContainsFunc(c.Guests, func(g config.Guest) bool { return len(g.Transparent) > 0 }) {
		list = append(list, module{"nft_chain_nat", "translates transparent addresses"}, module{"nft_nat", "translates transparent addresses"})
	}
	return list
}

// overlays checks that the uplinks carry an overlay's packets whole.
func (k *checker) overlays(c *config.Config) {
	for _, o := range c.Overlays {
		for _, d := range c.Domains {
			if !d.Loopback {
				continue
			}
			for _, name := range domain.Interfaces(d) {
				if mtu, ok := k.MTU(name); ok && vxlan.GuestMTU(mtu, o.Local.Addr) < int(o.MTU) {
					k.add(Warn, "interface %s has MTU %d: overlay %s needs %d for its %d", name, mtu, o.Name,
						int(o.MTU)+mtu-vxlan.GuestMTU(mtu, o.Local.Addr), o.MTU)
				}
			}
		}
	}
}

// sessions warns about paths that only ADD-PATH would bring (R46): without it a reflector
// announces the one best path of each prefix, so of two fabrics that it serves alone one
// stands idle, and is not there at once when the other fails.
func (k *checker) sessions(c *config.Config) {
	for _, d := range c.Domains {
		k.policies(c, d.SessionList())
		for _, n := range d.Neighbors {
			m := n.MissingPolicy()
			if n.Unnumbered() && n.AS.Number != c.AS && m != (bgp.MissingPolicy{}) {
				k.add(Warn, "neighbours on %s in AS %s: %v; [{action: accept}] is a policy", n.Interface, n.AS, m)
			}
		}
	}
	k.policies(c, c.Sessions)
	if c.BGP.AddPath {
		return
	}
	for _, d := range c.Domains {
		uplinks := domain.Interfaces(d)
		for _, f := range []config.Family{config.IPv4, config.IPv6} {
			var peers []string
			for _, r := range d.Sessions() {
				if slices.Contains(r.Families, f) {
					peers = append(peers, r.Peer.String())
				}
			}
			if len(peers) > 0 && len(peers) < len(uplinks) {
				k.add(Warn, "domain %s, %s: %s must tell of %d fabrics (%s), and bgp.add-path is off: a reflector then announces one best path of each prefix, the others get lost, "+
					"so traffic uses one fabric and waits for BGP when that fails", d.Name, f, strings.Join(peers, ", "), len(uplinks), strings.Join(uplinks, ", "))
			}
		}
	}
}

// policies warns about sessions with another AS that exchange nothing for want of a policy (RFC
// 8212, Section 3).
func (k *checker) policies(c *config.Config, sessions []config.Reflector) {
	for _, r := range sessions {
		m := bgp.MissingPolicy{Import: len(r.Import) == 0, Export: len(r.Export) == 0}
		if r.Neighbor != nil {
			m = r.Neighbor.MissingPolicy()
		}
		if r.External(c.AS) && m != (bgp.MissingPolicy{}) {
			k.add(Warn, "session with %v in AS %s: %v; [{action: accept}] is a policy", r.Peer, r.ASName(), m)
		}
	}
}
