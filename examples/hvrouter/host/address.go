package host

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// addresses checks that what the file calls ours is there, on the interface that it
// names, and that peers are on that interface's link.
func (k *checker) addresses(c *config.Config) {
	on := map[netip.Addr][]config.HostAddress{}
	for _, a := range k.Host().Addresses {
		on[a.Prefix.Addr()] = append(on[a.Prefix.Addr()], a)
	}
	type position struct {
		addr netip.Addr
		link string
	}
	said := map[position]bool{}
	ours := func(path, what string, a netip.Addr, link string) {
		at := position{a, link}
		if _, there := k.MTU(link); !there || !a.IsValid() || a.IsLinkLocalUnicast() || said[at] {
			return
		}
		said[at] = true
		names := linksOf(on[a])
		switch {
		case len(names) == 0:
			k.at(path).add(Lack, "%s: %v is on no interface, and should be on %s", what, a, link)
		case !slices.Contains(names, link):
			k.at(path).add(Lack, "%s: %v is on %s, and should be on %s", what, a, strings.Join(names, ", "), link)
		}
	}
	k.eachSession(c, func(path, own string, r config.Reflector) {
		what := "session with " + r.Peer.String()
		ours(path+".local", what, r.Local.Addr, r.Interface)
		ours(path+".next-hop6", what, r.NextHop6.Addr, r.Interface)
		for i, w := range r.NextHopsOf(own) {
			at := fmt.Sprintf("%s.advertise-next-hops[%d]", path, i)
			ours(at+".next-hop4", what, w.NextHop4.Addr, w.Interface)
			ours(at+".next-hop6", what, w.NextHop6.Addr, w.Interface)
		}
		k.near(path, r, on)
	})
	if a := c.Loopback.Address; a.IsValid() {
		if names := linksOf(on[a.Addr()]); len(names) > 0 && !slices.Contains(names, c.Loopback.Interface) {
			k.at("$.loopback.address").add(Warn, "the loopback address %v is on %s, too", a.Addr(), strings.Join(names, ", "))
		}
	}
	for i, o := range c.Overlays {
		if o.Local.Addr != c.Loopback.Address.Addr() && len(on[o.Local.Addr]) == 0 {
			k.at(fmt.Sprintf("$.overlays[%d].local", i)).add(Lack, "overlay %s: its VTEP %v is on no interface", o.Name, o.Local)
		}
	}
}

// near warns of a peer that is not on the session's link: GTSM drops what it sends.
func (k *checker) near(path string, r config.Reflector, on map[netip.Addr][]config.HostAddress) {
	if r.Peer.IsLinkLocalUnicast() {
		return
	}
	some := false
	for _, list := range on {
		for _, a := range list {
			if a.Interface == r.Interface && a.Prefix.Addr().Is4() == r.Peer.Is4() {
				some = true
				if a.Prefix.Masked().Contains(r.Peer.Addr) {
					return
				}
			}
		}
	}
	if some {
		k.at(path+".peer").add(Warn, "session with %v: it is on no subnet of %s", r.Peer, r.Interface)
	}
}

func linksOf(list []config.HostAddress) (names []string) {
	for _, a := range list {
		names = append(names, a.Interface)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// eachSession calls f with each session of a namespace: its YAML path, the domain it
// belongs to ("" if it is shared), and itself.
func (k *checker) eachSession(c *config.Config, f func(path, own string, r config.Reflector)) {
	for _, d := range c.Domains {
		for below, r := range d.Sessions() {
			f(k.whole.DomainPath(d.Name)+below, d.Name, r)
		}
	}
	for i, r := range c.Sessions {
		if len(r.AdvertiseNextHops) > 0 && c.Domain(r.AdvertiseNextHops[0].Domain) != nil {
			f(fmt.Sprintf("$.sessions[%d]", i), "", r)
		}
	}
}

// ports checks that the ports are free that the daemon and its BFD listen on.
func (k *checker) ports(c *config.Config) {
	said := map[string]bool{}
	taken := func(path, proto string, port uint16, at netip.Addr, what string) {
		for _, l := range k.Listening(proto, port) {
			who := l.Process
			if who == "" {
				who = "a process that cannot be seen"
			}
			text := fmt.Sprintf("%s port %d is taken on %v by %s: %s", proto, port, l.Addr, who, what)
			if !l.Addr.IsUnspecified() && l.Addr != at || said[text] {
				continue
			}
			said[text] = true
			level := Lack
			if l.Process == "" || proto == "udp" && l.Addr.IsUnspecified() {
				// It may be ours, or ours are asked first: they are bound to an address and an
				// interface.
				level = Warn
			}
			k.at(path).add(level, "%s", text)
		}
	}
	k.eachSession(c, func(path, _ string, r config.Reflector) {
		taken(path+".local", "tcp", c.BGP.Port, r.Local.Addr, fmt.Sprintf("%v cannot connect to us", r.Peer))
		if r.BFD != "off" && c.BFD.Process != "off" {
			port := uint16(bfd.Port)
			if r.BFD == "echo" {
				port = bfd.EchoPort
			}
			taken(path+".bfd", "udp", port, r.Local.Addr, "BFD may hear nothing")
		}
	})
}

// fabrics warns of uplinks of one domain with different MTUs: of a flow that is spread over
// them, some packets fit and some do not.
func (k *checker) fabrics(c *config.Config) {
	for _, d := range c.Domains {
		sizes := map[int][]string{}
		for _, name := range domain.Interfaces(d) {
			if mtu, ok := k.MTU(name); ok {
				sizes[mtu] = append(sizes[mtu], name)
			}
		}
		if len(sizes) < 2 {
			continue
		}
		var parts []string
		for _, mtu := range slices.Sorted(maps.Keys(sizes)) {
			parts = append(parts, fmt.Sprintf("%s has %d", strings.Join(sizes[mtu], ", "), mtu))
		}
		k.at(k.whole.DomainPath(d.Name)).add(Warn, "the fabrics of domain %s have different MTUs: %s", d.Name, strings.Join(parts, "; "))
	}
}

// templates checks that no interface that the host itself uses would be made a guest.
func (k *checker) templates(c *config.Config) {
	h := k.Host()
	for _, l := range k.Links() {
		t := slices.IndexFunc(c.GuestTemplates, func(t config.Template) bool { return config.Match(t.Interfaces, l.Interface) })
		if t < 0 {
			continue
		}
		at := fmt.Sprintf("$.guest-templates[%d].interfaces", t)
		if slices.Contains(h.Default, l.Interface) {
			k.at(at).add(Lack, "%s is like %s, and the host's default route leads over it: it would be a guest's", l.Interface, c.GuestTemplates[t].Interfaces)
		}
		for _, a := range h.Addresses {
			if a.Interface == l.Interface {
				k.at(at).add(Lack, "%s is like %s, and has the host's address %v: it would be a guest's", l.Interface, c.GuestTemplates[t].Interfaces, a.Prefix)
				break
			}
		}
	}
}

// management checks that what the hypervisor itself sends still finds its default route,
// if it has one in table main: that is how people and programs reach it.
func (k *checker) management(c *config.Config) {
	h := k.Host()
	if len(h.Default) == 0 {
		return
	}
	for _, six := range []bool{false, true} {
		if !findsMain(domain.Rules(c), six) {
			k.at("$.rules").add(Lack, "no rule has what the hypervisor itself sends looked up in table main, where its default route over %s is (%s)",
				strings.Join(h.Default, ", "), map[bool]string{true: "ipv6", false: "ipv4"}[six])
		}
	}
	for _, d := range c.Domains {
		for _, name := range domain.Interfaces(d) {
			if slices.Contains(h.Default, name) && d.Table.ID != mainTable {
				k.at(k.whole.DomainPath(d.Name)).add(Warn, "the host's default route leads over %s, an uplink of domain %s: what arrives there is looked up in table %v", name, d.Name, d.Table)
			}
		}
	}
}

const mainTable = 254

// findsMain reports whether a packet that the host sends is looked up in table main before
// anything ends its lookup for certain.
func findsMain(rules []domain.Rule, six bool) bool {
	list := slices.DeleteFunc(slices.Clone(rules), func(r domain.Rule) bool { return r.IPv6 != six })
	slices.SortStableFunc(list, func(a, b domain.Rule) int { return int(int64(a.Priority) - int64(b.Priority)) })
	for _, r := range list {
		if r.L3MDev || r.IIF != "" && r.IIF != "lo" || r.From.IsValid() || r.To.IsValid() || r.Mark != 0 {
			continue
		}
		if r.Table == mainTable {
			return true
		}
		if r.Action != domain.Unicast {
			return false
		}
	}
	return false
}
