package config

import (
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/evpn"
)

func (k *checker) edge(e Edge) {
	if e.Gateway4.IsValid() && !e.Gateway4.Is4() {
		k.bad("$.edge.gateway4", "%v is not an IPv4 address", e.Gateway4)
	}
	if e.PrefixLength4 > 32 {
		k.bad("$.edge.prefix-length4", "%d: want 1 to 32", e.PrefixLength4)
	}
	k.oneOf("$.edge.arp", e.ARP, "kernel", "responder")
	for i, a := range e.DHCP.DNS {
		if !a.Is4() {
			k.bad(fmt.Sprintf("$.edge.dhcp.dns[%d]", i), "%v is not an IPv4 address", a)
		}
	}
	for i, a := range e.DHCP.Relay {
		if !a.Is4() {
			k.bad(fmt.Sprintf("$.edge.dhcp.relay[%d]", i), "%v is not an IPv4 address", a)
		}
	}
	k.ra("$.edge.ra", e.RA)
	k.edgeAddresses(e)
}

// guests checks each guest and what no two guests may share.
func (k *checker) guests(c *Config) {
	admission, claims := c.Admission(Host{}), Claims{}
	for i, g := range c.Guests {
		path := fmt.Sprintf("$.guests[%d]", i)
		for _, p := range append(admission.Check(g), claims.Check(g)...) {
			k.problem(path, p)
		}
		claims.Add(g, fmt.Sprintf("%s (guests[%d])", g.Name, i))
	}
}

// problem notes what is wrong with a guest of the file.
func (k *checker) problem(path string, p Problem) {
	if p.More > 0 { // the list is full of those that are named
		k.errs.more, k.errs.readable = k.errs.more+p.More, true
		return
	}
	k.bad(path+p.Field, "%s", said(p.Msg))
}

// guest checks one guest by itself.
func (k *checker) guest(path string, g Guest) {
	k.guestName(path+".name", g.Name)
	if !IsPattern(g.Interface) && g.Name != "" {
		k.link(path+".interface", g.Interface)
	}
	if g.MAC[0]&1 != 0 {
		k.bad(path+".mac", "%v is a multicast address", g.MAC)
	}
	k.guestPrefixes(path, g)
	if g.Gateway4.IsValid() && !g.Gateway4.Is4() {
		k.bad(path+".gateway4", "%v is not an IPv4 address", g.Gateway4)
	}
	if len(g.IPv6) > 0 && g.MAC.IsZero() {
		k.bad(path+".mac", "mac is missing: the guest's link-local address follows from it")
	}
	for i, p := range g.Routed {
		if p.Addr().Is4() && len(g.IPv4) == 0 || p.Addr().Is6() && g.MAC.IsZero() {
			k.bad(fmt.Sprintf("%s.routed[%d]", path, i), "%v: the guest has no address of that family to route it through", p)
		}
	}
	k.ra(path+".ra", g.RA)
	k.finds(path+".discovery", g.Discovery)
	k.rate(path+".rate", g.Rate)
	if IsPattern(g.Interface) && g.MAC.IsZero() {
		k.bad(path+".interface", "%s stands for many: mac is missing, which tells the guest's", g.Interface)
	}
	for i, t := range g.Transparent {
		k.translation(fmt.Sprintf("%s.transparent[%d]", path, i), g, t)
	}
}

// mostPrefixes bounds what one guest has of a kind.
const mostPrefixes = 1024

// guestPrefixes checks the families of a guest's prefixes, and that none stands twice.
func (k *checker) guestPrefixes(path string, g Guest) {
	seen := map[netip.Prefix]string{}
	add := func(field string, p netip.Prefix) {
		if first, twice := seen[p]; twice {
			k.bad(path+field, "%s stands in %s, too", short(p), strings.TrimPrefix(first, "."))
			return
		}
		seen[p] = field
	}
	for i, a := range g.IPv4 {
		field := fmt.Sprintf(".ipv4[%d]", i)
		if add(field, netip.PrefixFrom(a.Addr, a.BitLen())); !a.Is4() {
			k.bad(path+field, "%v is not an IPv4 address", a)
		}
	}
	for i, p := range g.IPv6 {
		field := fmt.Sprintf(".ipv6[%d]", i)
		if add(field, p.Prefix); !p.Addr().Is6() {
			k.bad(path+field, "%v is not an IPv6 prefix", p)
		}
	}
	for i, p := range g.Routed {
		add(fmt.Sprintf(".routed[%d]", i), p.Prefix)
	}
	for i, t := range g.Transparent {
		add(fmt.Sprintf(".transparent[%d].address", i), netip.PrefixFrom(t.Address.Addr, t.Address.BitLen()))
	}
	for _, list := range []struct {
		field string
		n     int
	}{{".ipv4", len(g.IPv4)}, {".ipv6", len(g.IPv6)}, {".routed", len(g.Routed)}, {".transparent", len(g.Transparent)}} {
		if list.n > mostPrefixes {
			k.bad(path+list.field, "%d of them: want at most %d", list.n, mostPrefixes)
		}
	}
}

func (k *checker) translation(path string, g Guest, t Translation) {
	if !k.need(path+".address", t.Address.IsValid()) || !k.need(path+".to", t.To.IsValid()) {
		return
	}
	if t.Address.Is4() != t.To.Is4() {
		k.bad(path+".to", "%v and %v are of different families", t.Address, t.To)
		return
	}
	for _, a := range g.IPv4 {
		if a == t.To {
			return
		}
	}
	for _, p := range g.IPv6 {
		if p.Contains(t.To.Addr) {
			return
		}
	}
	k.bad(path+".to", "%v is not an address of the guest", t.To)
}

func (k *checker) overlays(c *Config) {
	names, vnis, rds := unique[string]{}, unique[uint32]{}, unique[evpn.RD]{}
	for i, o := range c.Overlays {
		path := fmt.Sprintf("$.overlays[%d]", i)
		if k.need(path+".name", o.Name != "") {
			names.add(k, path+".name", "overlay", o.Name)
		}
		k.need(path+".bridge", o.Bridge != "")
		if o.VNI == 0 || o.VNI >= 1<<24 {
			k.bad(path+".vni", "%d: want 1 to 16777215", o.VNI)
		} else {
			vnis.add(k, path+".vni", "VNI", o.VNI)
		}
		if !o.Local.IsValid() {
			k.bad(path+".local", "local is missing, and there is no loopback address to take")
		}
		k.overlayAddresses(path, o)
		k.overlayEVPN(path, o, c, rds)
		for j, p := range o.Peers {
			if o.Local.IsValid() && p.Is4() != o.Local.Is4() {
				k.bad(fmt.Sprintf("%s.peers[%d]", path, j), "%v and local %v are of different families", p, o.Local)
			}
		}
	}
}

func (k *checker) firewall(c *Config) {
	w := c.Firewall
	k.firewallWords(w)
	for i, name := range w.Trusted {
		at := fmt.Sprintf("$.firewall.trusted[%d]", i)
		if _, err := path.Match(name, ""); err != nil || name == "" || strings.ContainsAny(name, "/ ") || !IsPattern(name) && len(name) > 15 {
			k.bad(at, "%q is neither an interface name (15 characters at most) nor a pattern such as wg*", name)
		}
		for _, g := range c.Guests {
			if !IsPattern(g.Interface) && Match(name, g.Interface) {
				k.bad(at, "%s is the interface of guest %s, which is never trusted", name, g.Name)
			}
		}
		for _, t := range c.GuestTemplates {
			if literal := Literal(t.Interfaces); strings.HasPrefix(name, literal) || strings.HasPrefix(literal, Literal(name)) && IsPattern(name) {
				k.bad(at, "%s and %s, whose interfaces are guests', have names in common", name, t.Interfaces)
			}
		}
	}
	for i, open := range w.Open {
		if _, _, err := ParsePort(open); err != nil {
			k.bad(fmt.Sprintf("$.firewall.open[%d]", i), "%v", err)
		}
	}
}
