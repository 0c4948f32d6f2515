// Package host compares a hypervisor with what a configuration needs of it: values
// of sysctls, interfaces, MTU, kernel features. [Check] is pure; what it looks at
// comes from a [View], which [System] takes from the running kernel.
package host

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/vxlan"
)

// View is what Check asks about the machine.
type View struct {
	// Sysctl reads a value below /proc/sys; ok is false if there is none.
	Sysctl func(path string) (value string, ok bool)
	// MTU gives an interface's MTU; ok is false if there is no such interface.
	MTU func(link string) (mtu int, ok bool)
	// Feature tells whether the kernel has a link type (bridge, vxlan), or the
	// subsystem nftables.
	Feature func(name string) bool
}

// Level says how bad a finding is.
type Level uint8

// The levels. Only Drift and worse make the check fail.
const (
	Note  Level = iota // will be there once something else is
	Warn               // works, but not as well as it could
	Drift              // differs from what the daemon sets
	Lack               // will not work
)

// Finding is one thing that differs.
type Finding struct {
	Level Level
	Text  string
}

// String gives "drift: TEXT".
func (f Finding) String() string {
	return [...]string{"note", "warning", "drift", "missing"}[f.Level] + ": " + f.Text
}

// Bad tells whether the findings make the check fail.
func Bad(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Level >= Drift })
}

// Check gives everything in which the machine differs from what the configuration
// needs, worst first. view gives the machine as seen from a network namespace, or
// says why it cannot be seen.
func Check(c *config.Config, view func(config.NetNS) (View, error)) []Finding {
	k := &checker{}
	for _, p := range c.Places() {
		if err := k.enter(p.NetNS, view); err != nil {
			k.add(Lack, "%v", err)
			continue
		}
		k.links(p.Config)
		k.sysctls(p.Config)
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
	where string // what every finding begins with
	found []Finding
}

func (k *checker) add(l Level, format string, args ...any) {
	k.found = append(k.found, Finding{l, k.where + fmt.Sprintf(format, args...)})
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

func (k *checker) links(c *config.Config) {
	for _, d := range c.Domains {
		for _, name := range domain.Interfaces(d) {
			if _, ok := k.MTU(name); !ok {
				k.add(Lack, "interface %s of domain %s does not exist", name, d.Name)
			}
		}
	}
	if name := c.Loopback.Interface; name != "" {
		if _, ok := k.MTU(name); !ok {
			k.add(Lack, "loopback interface %s does not exist", name)
		}
	}
	for _, g := range c.Guests {
		if _, ok := k.MTU(g.Interface); !ok && !g.Down {
			k.add(Note, "guest %s is absent: there is no interface %s", g.Name, g.Interface)
		}
	}
}

func (k *checker) sysctls(c *config.Config) {
	present := slices.DeleteFunc(slices.Clone(c.Guests), func(g config.Guest) bool { _, ok := k.MTU(g.Interface); return !ok })
	want := domain.Sysctls(c, present)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got, ok := k.Sysctl(path); ok && got != want[path] {
			k.add(Drift, "%s is %s, want %s", path, got, want[path])
		}
	}
	if got, ok := k.Sysctl("net/ipv4/nexthop_compat_mode"); ok && got != "0" {
		k.add(Note, "net/ipv4/nexthop_compat_mode is %s: replacing a next-hop group costs time for each route", got)
	}
}

func (k *checker) features(c *config.Config) {
	if c.DomainBy == config.ByMark && !k.Feature("nftables") {
		k.add(Lack, "the kernel has no nftables, which marks packets; domain-by: interface does without")
	} else if !c.Wall.Off && !k.Feature("nftables") {
		k.add(Lack, "the kernel has no nftables; wall: {off: true} does without")
	}
	if len(c.Overlays) > 0 {
		for _, name := range []string{"bridge", "vxlan"} {
			if !k.Feature(name) {
				k.add(Lack, "the kernel has no %s, which overlays need", name)
			}
		}
	}
}

// overlays checks that the uplinks carry an overlay's packets whole.
func (k *checker) overlays(c *config.Config) {
	for _, o := range c.Overlays {
		for _, d := range c.Domains {
			if !d.Loopback {
				continue
			}
			for _, name := range domain.Interfaces(d) {
				if mtu, ok := k.MTU(name); ok && vxlan.Room(mtu, o.Local.Addr) < int(o.MTU) {
					k.add(Warn, "interface %s has MTU %d: overlay %s needs %d for its %d", name, mtu, o.Name,
						int(o.MTU)+mtu-vxlan.Room(mtu, o.Local.Addr), o.MTU)
				}
			}
		}
	}
}

// sessions warns about a path that only ADD-PATH would bring (R46).
func (k *checker) sessions(c *config.Config) {
	if c.BGP.AddPath {
		return
	}
	for _, d := range c.Domains {
		if len(d.Reflectors) == 1 && len(domain.Interfaces(d)) > 1 {
			k.add(Warn, "domain %s has one reflector for %d interfaces: without add-path it tells of one path only", d.Name, len(domain.Interfaces(d)))
		}
	}
}
