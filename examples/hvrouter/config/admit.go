package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is what is wrong with a guest.
type Problem struct {
	// Field is the YAML path below the guest, such as ".ipv4[0]"; "" is the guest itself.
	Field string
	Msg   string
	// Odd problems may be meant: a guest with force may have them.
	Odd bool
	// More is how many problems a last one stands for that are not named; 0 for any other.
	More int
}

// Host is what is known of the machine, as seen from the guests' namespace. The zero value
// is nothing.
type Host struct {
	// Addresses of the host of global scope: those of guests' gateways have that of the
	// link.
	Addresses []HostAddress
	// Default are the interfaces that a default route of table main leads over.
	Default []string
	// MACs of interfaces.
	MACs map[string]MAC
}

// HostAddress is an address of the host with the prefix that it is in.
type HostAddress struct {
	Interface string
	Prefix    netip.Prefix
}

// Admission says which guests a configuration can have. It is the same for those of the
// file, of the inventory directory, of the state file and of the API; what guests may not
// share is the matter of [Claims].
type Admission struct {
	config     *Config
	interfaces []owned    // that are nobody's guest
	reserved   []reserved // prefixes that are nobody's guest
	host       Host
}

// reserved is a prefix that no guest may have, nor an address in it, nor one around it.
type reserved struct {
	netip.Prefix
	what string
	odd  bool
}

// special are the addresses that are no host's, or not on its link only (RFC 6890, Section 2.2).
var special = []reserved{
	{netip.MustParsePrefix("0.0.0.0/8"), "which is no host's (RFC 1122, Section 3.2.1.3)", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "which is loopback", false},
	{netip.MustParsePrefix("169.254.0.0/16"), "which is link-local", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "which is multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "which is reserved, or broadcast", false},
	{netip.MustParsePrefix("::/96"), "which is no host's", false},
	{netip.MustParsePrefix("::ffff:0:0/96"), "which is IPv4-mapped", false},
	{netip.MustParsePrefix("fe80::/10"), "which is link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "which is site-local (RFC 3879)", false},
	{netip.MustParsePrefix("ff00::/8"), "which is multicast", false},
}

// Admission returns what guests are checked against.
func (c *Config) Admission(h Host) *Admission {
	a := &Admission{config: c, interfaces: c.others(), host: h, reserved: slices.Clone(special)}
	a.ours(c)
	for _, d := range c.Domains {
		for _, r := range d.Sessions() {
			a.session(r, d.Name)
		}
	}
	for _, r := range c.Sessions {
		a.session(r, "")
	}
	for _, addr := range h.Addresses {
		a.single(addr.Prefix.Addr(), "the host's own address on "+addr.Interface)
		if p := addr.Prefix.Masked(); !p.IsSingleIP() && !p.Contains(c.Edge.Gateway4.Addr) {
			a.reserve(p, "the subnet of "+addr.Interface, true)
		}
	}
	return a
}

// ours reserves the addresses of the hypervisor itself.
func (a *Admission) ours(c *Config) {
	a.single(c.Edge.Gateway4.Addr, "the guests' gateway")
	for _, t := range c.GuestTemplates {
		a.single(t.Gateway4.Addr, "the gateway of guests on "+t.Interfaces)
	}
	a.single(c.Loopback.Address.Addr(), "the loopback address")
	a.single(c.RouterID.Addr, "the router id")
	for _, o := range c.Overlays {
		a.single(o.Local.Addr, "our VTEP of "+o.Name)
		for _, p := range o.Peers {
			a.single(p.Addr, "a VTEP of "+o.Name)
		}
		if o.VTEPs.IsValid() {
			a.reserve(o.VTEPs.Prefix, "the VTEPs of "+o.Name, false)
		}
	}
}

// session reserves the addresses of a BGP session.
func (a *Admission) session(r Reflector, domain string) {
	a.single(r.Peer.Addr, "the reflector "+r.Name)
	a.single(r.Local.Addr, "our address on "+r.Interface)
	for _, w := range r.NextHopsOf(domain) {
		a.single(w.NextHop4.Addr, "our address on "+w.Interface)
		a.single(w.NextHop6.Addr, "our address on "+w.Interface)
		a.single(w.Probe.Addr, "what is probed over "+w.Interface)
	}
}

func (a *Admission) single(addr netip.Addr, what string) {
	if addr.IsValid() {
		a.reserve(netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), what, false)
	}
}

func (a *Admission) reserve(p netip.Prefix, what string, odd bool) {
	for _, r := range a.reserved {
		if r.Prefix == p || !r.odd && r.Bits() < p.Bits() && r.Contains(p.Addr()) {
			return // said already
		}
	}
	a.reserved = append(a.reserved, reserved{p, what, odd})
}

// Free reports whether a prefix, or an address, may be a guest's that was not written down.
func (a *Admission) Free(p netip.Prefix) bool {
	return !slices.ContainsFunc(a.reserved, func(r reserved) bool { return r.Overlaps(p) })
}

// Check returns what is wrong with a guest, in the order of its fields. What it may be
// forced to is left out if it is.
func (a *Admission) Check(g Guest) []Problem {
	var all problems
	k := &checker{problems: &all}
	k.guest("", g)
	a.link(k, g)
	a.gateway(k, g)
	a.domain(k, g)
	a.overlayPorts(k, g)
	for i, addr := range g.IPv4 {
		a.prefix(k, fmt.Sprintf(".ipv4[%d]", i), netip.PrefixFrom(addr.Addr, addr.BitLen()), 32)
	}
	for i, p := range g.IPv6 {
		if p.Addr().Is6() {
			a.prefix(k, fmt.Sprintf(".ipv6[%d]", i), p.Prefix, 48)
		}
	}
	for i, p := range g.Routed {
		a.prefix(k, fmt.Sprintf(".routed[%d]", i), p.Prefix, map[bool]int{true: 16, false: 32}[p.Addr().Is4()])
	}
	for i, t := range g.Transparent {
		a.prefix(k, fmt.Sprintf(".transparent[%d].address", i), netip.PrefixFrom(t.Address.Addr, t.Address.BitLen()), 32)
	}
	return all.of(g)
}

// link checks the guest's interface and MAC.
func (a *Admission) link(k *checker, g Guest) {
	if IsPattern(g.Interface) {
		k.pattern(".interface", g.Interface, a.config)
		return
	}
	for _, o := range a.interfaces {
		if o.name == g.Interface {
			k.bad(".interface", "%s is %s", g.Interface, o.what)
			return
		}
	}
	for _, d := range a.config.Domains {
		if i := d.NeighborOn(g.Interface); i >= 0 && d.NetNS == a.config.GuestNetNS() {
			k.bad(".interface", "%s fits %s, the interfaces of neighbours in domain %s: a guest could be a router", g.Interface, d.Neighbors[i].Interface, d.Name)
			return
		}
	}
	if slices.Contains(a.host.Default, g.Interface) {
		k.odd(".interface", "the host's default route leads over %s", g.Interface)
	}
	gw := a.gateway4(g)
	for _, h := range a.host.Addresses {
		if h.Prefix.IsSingleIP() && h.Prefix.Addr() == gw.Addr {
			continue // as a script made it, without scope link
		}
		if h.Interface == g.Interface && !h.Prefix.Addr().IsLinkLocalUnicast() {
			k.odd(".interface", "the host has the address %v on %s", h.Prefix, g.Interface)
			break
		}
	}
	if g.MAC.IsZero() {
		return
	}
	if g.MAC == a.config.Edge.MAC {
		k.bad(".mac", "%v is the gateway's", g.MAC)
	}
	var same []string
	for name, mac := range a.host.MACs {
		if mac == g.MAC && name != g.Interface {
			same = append(same, name)
		}
	}
	slices.Sort(same)
	for _, name := range same {
		k.odd(".mac", "%v is the MAC of the host's interface %s", g.MAC, name)
	}
}

// gateway4 returns the gateway that a guest is told, an invalid one if there is none.
func (a *Admission) gateway4(g Guest) Addr {
	if gw := a.config.Inherit(g).Gateway4; gw.IsValid() {
		return gw
	}
	return a.config.Edge.Gateway4
}

// gateway checks that a guest with IPv4 has a gateway, and not its own address.
func (a *Admission) gateway(k *checker, g Guest) {
	gw := a.gateway4(g)
	switch {
	case !gw.IsValid() && (len(g.IPv4) > 0 || g.Discovery.Has(IPv4)):
		k.bad(".ipv4", "neither the guest nor edge has a gateway4")
	case g.Gateway4.IsValid() && g.Gateway4.Is4():
		k.unicast(".gateway4", g.Gateway4.Addr)
		if slices.Contains(g.IPv4, g.Gateway4) {
			k.bad(".gateway4", "%v is the guest's own address", g.Gateway4)
		}
	}
	if len(g.IPv4) == 0 || !gw.Is4() {
		return
	}
	subnet := netip.PrefixFrom(gw.Addr, int(a.config.Edge.PrefixLength4)).Masked()
	for i, addr := range g.IPv4 {
		if first, last := ends(subnet); subnet.Bits() < 31 && (addr.Addr == first || addr.Addr == last) {
			a.odd(k, fmt.Sprintf(".ipv4[%d]", i), netip.PrefixFrom(addr.Addr, 32), "%v is the %s address of %v", addr,
				map[bool]string{true: "network", false: "broadcast"}[addr.Addr == first], subnet)
		}
	}
}

// domain checks what the guest wants of the guests' domain and of the edge.
func (a *Admission) domain(k *checker, g Guest) {
	d := a.config.GuestDomain()
	switch {
	case d == nil:
		k.bad("", "no domain says guests: true")
	case g.Discovery.Routes && !d.Redistributes():
		k.bad(".discovery.routes", "domain %s does not redistribute routes", d.Name)
	}
	k.raTogether(".ra", g.RA, a.config.Edge.RA)
	if e := a.config.Edge; e.DHCP.On && len(e.DHCP.Relay) > 0 && len(g.IPv4) > 0 && g.MAC.IsZero() {
		k.bad(".mac", "mac is missing, by which the servers of edge.dhcp.relay know the guest")
	}
}

// ends returns the first and the last address of an IPv4 prefix.
func ends(p netip.Prefix) (first, last netip.Addr) {
	b := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return p.Masked().Addr(), netip.AddrFrom4(b)
}

// prefix checks one prefix of a guest; shorter than widest it is odd.
func (a *Admission) prefix(k *checker, field string, p netip.Prefix, widest int) {
	if !p.IsValid() {
		return // said elsewhere
	}
	if p.Bits() == 0 {
		k.bad(field, "%v: a default route; what the hypervisor and other guests send would go to the guest", p)
		return
	}
	for _, r := range a.reserved {
		if !r.Overlaps(p) {
			continue
		}
		msg := fmt.Sprintf("%s is in %v, %s", short(p), r.Prefix, r.what)
		switch {
		case r.Prefix == p:
			msg = fmt.Sprintf("%s is %s", short(p), strings.TrimPrefix(r.what, "which is "))
		case p.Bits() < r.Bits():
			msg = fmt.Sprintf("%v covers %s, %s", p, short(r.Prefix), r.what)
		}
		if !r.odd {
			k.bad(field, "%s", msg)
			return
		}
		a.odd(k, field, p, "%s", msg)
	}
	if p.Bits() < widest {
		a.odd(k, field, p, "%v is wider than /%d", p, widest)
	}
	if within := a.config.Inventory.Within; len(within) > 0 && !inside(within, p) {
		k.odd(field, "%s is outside of inventory.within", short(p))
	}
}

// odd reports what may be meant; what the file says guests' addresses are taken from is
// meant.
func (a *Admission) odd(k *checker, field string, p netip.Prefix, format string, args ...any) {
	if !inside(a.config.Inventory.Within, p) {
		k.odd(field, format, args...)
	}
}

func inside(list []Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(list, func(w Prefix) bool { return w.Bits() <= p.Bits() && w.Contains(p.Addr()) })
}

// short writes the prefix of one address as the address.
func short(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// unicast reports an address that is no host's.
func (k *checker) unicast(path string, a netip.Addr) {
	for _, r := range special {
		if r.Contains(a) {
			k.bad(path, "%v is in %v, %s", a, r.Prefix, r.what)
			return
		}
	}
}

// mostName is the longest name of a guest, in octets: it stands in events, in metrics, in
// DHCP's relay agent information.
const mostName = 128

// guestName checks a name for people.
func (k *checker) guestName(path, name string) {
	switch {
	case !k.need(path, name != ""):
	case len(name) > mostName:
		k.bad(path, "a name of %d octets: want at most %d", len(name), mostName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		k.bad(path, "%q has characters that cannot be printed", name)
	case strings.TrimSpace(name) != name:
		k.bad(path, "%q begins or ends with a space", name)
	case name[0] == '@':
		k.bad(path, "%q: names with @ are those of guests that templates made", name)
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// link checks the name of an interface: what Linux takes (dev_valid_name), and can be the
// name of a directory below /proc/sys that is the interface's alone
// (sysctl_dev_name_is_allowed).
func (k *checker) link(path, name string) {
	bad := func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if len(name) > 15 || name == "." || name == ".." || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		k.bad(path, "%q is not an interface name (15 characters at most)", name)
	}
	if name == "all" || name == "default" {
		k.bad(path, "%s is what the kernel calls the settings of many interfaces (net.ipv4.conf.%s)", name, name)
	}
}
