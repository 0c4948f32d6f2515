package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Checks of what belongs together: one interface in one domain, one address on one
// interface, one path for one purpose. Each of them alone is well formed.

// linkIn is an interface in a namespace.
type linkIn struct {
	netns NetNS
	name  string
}

func (l linkIn) String() string {
	if l.netns == "" {
		return l.name
	}
	return fmt.Sprintf("%s in netns %s", l.name, l.netns)
}

// use is what an interface is for.
type use struct{ what, path string }

const theLoopback = "the loopback"

// links checks that no interface is for two things. What a domain uses twice is one thing.
func (k *checker) links(c *Config) {
	uses := map[linkIn]use{}
	claim := func(path string, n NetNS, name, what string) {
		if name == "" {
			return
		}
		k.link(path, name)
		l := linkIn{n, name}
		if name == "lo" && what != theLoopback {
			k.bad(path, "lo is the kernel's loopback, and cannot be %s", what)
			return
		}
		if old, twice := uses[l]; twice && old.what != what {
			k.bad(path, "%v is %s, and cannot be %s (%s)", l, old.what, what, strings.TrimPrefix(old.path, "$."))
			return
		}
		uses[l] = use{what, path}
	}
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d]", i)
		what := "an uplink of domain " + d.Name
		for below, r := range d.Sessions() {
			claim(path+below+".interface", d.NetNS, r.Interface, what)
		}
		for j, name := range d.Interfaces {
			claim(fmt.Sprintf("%s.interfaces[%d]", path, j), d.NetNS, name, what)
		}
		if c.Isolation == IsolationVRF {
			claim(path+".vrf", d.NetNS, d.VRF, "the VRF of domain "+d.Name)
		}
	}
	claim("$.loopback.interface", c.LoopbackNetNS(), c.Loopback.Interface, theLoopback)
	for i, o := range c.Overlays {
		path := fmt.Sprintf("$.overlays[%d]", i)
		claim(path+".name", c.GuestNetNS(), o.Name, "overlay "+o.Name)
		claim(path+".bridge", c.GuestNetNS(), o.Bridge, "the bridge of overlay "+o.Name)
		for j, m := range o.Members {
			claim(fmt.Sprintf("%s.members[%d]", path, j), c.GuestNetNS(), m, "a port of overlay "+o.Name)
		}
	}
}

// addresses checks our own addresses and those of reflectors.
func (k *checker) addresses(c *Config) {
	on := map[string]linkIn{} // our addresses, by namespace and text
	peers := map[netip.Addr]string{}
	keys := map[string]string{} // MD5 keys by peer: the kernel has one for an address
	session := func(path string, n NetNS, r Reflector, domain string) {
		k.host(path+".local", r.Local.Addr, false)
		k.host(path+r.peerKey(), r.Peer.Addr, false)
		k.host(path+".next-hop6", r.NextHop6.Addr, true)
		if r.Peer.IsValid() {
			peers[r.Peer.Addr] = path
		}
		here := func(path string, a Addr, name string) {
			if !a.IsValid() || name == "" || a.IsLinkLocalUnicast() {
				return
			}
			l, key := linkIn{n, name}, string(n)+" "+a.String()
			if old, ok := on[key]; ok && old != l {
				k.bad(path, "%v is our address on %v, and cannot be that on %v", a, old, l)
				return
			}
			on[key] = l
		}
		here(path+".local", r.Local, r.Interface)
		here(path+".next-hop6", r.NextHop6, r.Interface)
		for i, w := range r.AdvertiseNextHops {
			at := fmt.Sprintf("%s.advertise-next-hops[%d]", path, i)
			link := w.Interface
			if link == "" {
				link = r.Interface
			}
			here(at+".next-hop4", w.NextHop4, link)
			here(at+".next-hop6", w.NextHop6, link)
			k.host(at+".probe", w.Probe.Addr, false)
		}
		md5 := r.MD5
		if md5 == "" {
			md5 = c.BGP.MD5
		}
		key := string(n) + " " + r.Peer.String()
		if old, ok := keys[key]; ok && old != md5 {
			k.bad(path+".md5", "%v has another key in another session: the kernel takes one for an address", r.Peer)
		}
		keys[key] = md5
	}
	for i, d := range c.Domains {
		for below, r := range d.Sessions() {
			session(fmt.Sprintf("$.domains[%d]%s", i, below), d.NetNS, r, d.Name)
		}
	}
	for i, r := range c.Sessions {
		session(fmt.Sprintf("$.sessions[%d]", i), c.NetNSOf(r, ""), r, "")
	}
	k.own(c, on, peers)
}

// own checks the addresses that are ours besides those of sessions.
func (k *checker) own(c *Config, on map[string]linkIn, peers map[netip.Addr]string) {
	ours := func(path string, a netip.Addr, n NetNS, what string) {
		if !a.IsValid() {
			return
		}
		k.host(path, a, true)
		if l, ok := on[string(n)+" "+a.String()]; ok {
			k.bad(path, "%v is our address on %v, and cannot be %s", a, l, what)
		}
		if at, ok := peers[a]; ok {
			k.bad(path, "%v is the peer of %s, and cannot be %s", a, strings.TrimPrefix(at, "$."), what)
		}
	}
	ours("$.loopback.address", c.Loopback.Address.Addr(), c.LoopbackNetNS(), "the loopback address")
	ours("$.edge.gateway4", c.Edge.Gateway4.Addr, c.GuestNetNS(), "the guests' gateway")
	if c.Edge.Gateway4.IsValid() && c.Edge.Gateway4.Addr == c.Loopback.Address.Addr() {
		k.bad("$.edge.gateway4", "%v is the loopback address, and cannot be the guests' gateway", c.Edge.Gateway4)
	}
	for i, t := range c.GuestTemplates {
		ours(fmt.Sprintf("$.guest-templates[%d].gateway4", i), t.Gateway4.Addr, c.GuestNetNS(), "a gateway of guests")
	}
	for i, o := range c.Overlays {
		for at, p := range o.Gateway.fields {
			at = fmt.Sprintf("$.overlays[%d].gateway%s", i, at)
			if ours(at, p.Addr(), c.GuestNetNS(), "the gateway of overlay "+o.Name); p.Addr() == c.Loopback.Address.Addr() {
				k.bad(at, "%v is the loopback address, and cannot be the gateway of overlay %s", p.Addr(), o.Name)
			}
		}
	}
	for key, l := range on {
		if a, err := netip.ParseAddr(key[strings.LastIndexByte(key, ' ')+1:]); err == nil {
			if at, ok := peers[a]; ok {
				k.bad(at+".peer", "%v is our own address on %v", a, l)
			}
		}
	}
}

// host reports an address that is no host's; link-local ones may be meant for the link.
func (k *checker) host(path string, a netip.Addr, global bool) {
	if !a.IsValid() || !global && a.Is6() && a.IsLinkLocalUnicast() {
		return
	}
	k.unicast(path, a)
}

// paths checks the paths of sockets and files.
func (k *checker) paths(c *Config) {
	used := unique[string]{}
	for _, p := range []struct {
		key, path string
		longest   int
	}{
		// sun_path has 108 octets, with the 0 at its end.
		{"$.api", c.API, 107}, {"$.bfd.socket", c.BFD.Socket, 107 - len(HandoverSuffix)},
		{"$.inventory.state", c.Inventory.State, 4096}, {"$.inventory.directory", c.Inventory.Directory, 4096},
	} {
		switch {
		case p.path == "" || p.key == "$.inventory.state" && p.path == "none":
			continue
		case !filepath.IsAbs(p.path):
			k.bad(p.key, "%q: want an absolute path", p.path)
		case len(p.path) > p.longest:
			k.bad(p.key, "a path of %d octets: want at most %d", len(p.path), p.longest)
		}
		used.add(k, p.key, "path", filepath.Clean(p.path))
	}
}

// numbers checks what has a range, or a meaning, of its own.
func (k *checker) numbers(c *Config) {
	k.as("$.as", c.AS)
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d]", i)
		// What BGP brings must lose against guests, and win against what ends a lookup.
		if d.Metric <= c.Edge.Metric {
			k.bad(path+".metric", "%d: want more than the guests', %d", d.Metric, c.Edge.Metric)
		} else if d.Metric > mostMetric {
			k.bad(path+".metric", "%d: want at most %d", d.Metric, mostMetric)
		}
		for below, r := range d.Sessions() {
			k.sessionNumbers(path+below, r)
		}
		seen := unique[Prefix]{}
		for j, p := range d.Unreachable {
			seen.add(k, fmt.Sprintf("%s.unreachable[%d]", path, j), "prefix", p)
		}
		k.name(path+".name", d.Name)
	}
	for i, r := range c.Sessions {
		k.sessionNumbers(fmt.Sprintf("$.sessions[%d]", i), r)
	}
	k.whole("$.bgp.hold-time", c.BGP.HoldTime)
	k.whole("$.bgp.graceful-restart.time", c.BGP.GracefulRestart.Time)
	k.whole("$.bgp.graceful-restart.long-lived", c.BGP.GracefulRestart.LongLived)
	for _, t := range []struct {
		path        string
		t           Duration
		least, most time.Duration
	}{
		{"$.bgp.connect-retry", c.BGP.ConnectRetry, 10 * time.Millisecond, 10 * time.Minute},
		{"$.bgp.graceful-restart.deferral", c.BGP.GracefulRestart.Deferral, time.Second, time.Hour},
		{"$.bgp.graceful-restart.time", c.BGP.GracefulRestart.Time, time.Second, 4095 * time.Second},
		{"$.edge.dhcp.lease", c.Edge.DHCP.Lease, 10 * time.Second, 365 * 24 * time.Hour},
	} {
		if t.t.Duration != 0 && (t.t.Duration < t.least || t.t.Duration > t.most) {
			k.bad(t.path, "%v: want %v to %v", t.t, t.least, t.most)
		}
	}
	if t := c.BGP.GracefulRestart.LongLived.Duration; t >= 1<<24*time.Second {
		k.bad("$.bgp.graceful-restart.long-lived", "%v: RFC 9494 has 24 bits of seconds", t)
	}
}

// mostMetric leaves room for what ends lookups, and for local-out's copies.
const mostMetric = 1<<32 - 1000

func (k *checker) sessionNumbers(path string, r Reflector) {
	if r.Neighbor == nil {
		k.as(path+".as", r.AS)
	}
	k.whole(path+".restart-time", r.RestartTime)
	k.name(path+".name", r.Name)
	if len(r.MD5) > 80 {
		k.bad(path+".md5", "the key has %d octets, Linux takes 80", len(r.MD5))
	}
	seen := unique[Family]{}
	for i, f := range r.Families {
		seen.add(k, fmt.Sprintf("%s.families[%d]", path, i), "family", f)
	}
}

// as refuses numbers that stand for something else.
func (k *checker) as(path string, as uint32) {
	switch as {
	case 23456:
		k.bad(path, "23456 is AS_TRANS (RFC 6793, Section 9)")
	case 65535, 1<<32 - 1:
		k.bad(path, "%d is reserved (RFC 7300)", as)
	}
}

// whole refuses a time that the wire has no room for.
func (k *checker) whole(path string, d Duration) {
	if d.Duration%time.Second != 0 {
		k.bad(path, "%v: want whole seconds", d)
	}
}

// name checks a name that people and metrics see.
func (k *checker) name(path, name string) {
	if name != "" && (len(name) > mostName || strings.ContainsFunc(name, unprintable) || strings.TrimSpace(name) != name) {
		k.bad(path, "%q: want at most %d octets that can be printed", name, mostName)
	}
}

// overlayAddresses checks where an overlay's packets go.
func (k *checker) overlayAddresses(path string, o Overlay) {
	k.host(path+".local", o.Local.Addr, true)
	seen := unique[Addr]{}
	for i, p := range o.Peers {
		at := fmt.Sprintf("%s.peers[%d]", path, i)
		k.host(at, p.Addr, true)
		seen.add(k, at, "peer", p)
		if p == o.Local {
			k.bad(at, "%v is our own VTEP", p)
		}
	}
	if v := o.VTEPs; v.IsValid() && o.Local.IsValid() && v.Addr().Is4() != o.Local.Is4() {
		k.bad(path+".vteps", "%v and local %v are of different families", v, o.Local)
	}
	if o.MTU < 576 || o.MTU > 65535 {
		k.bad(path+".mtu", "%d: want 576 to 65535", o.MTU)
	}
}

// edgeAddresses checks what all guests have in common.
func (k *checker) edgeAddresses(e Edge) {
	if e.MAC[0]&1 != 0 {
		k.bad("$.edge.mac", "%v is a multicast address", e.MAC)
	}
	for i, a := range e.DHCP.DNS {
		k.host(fmt.Sprintf("$.edge.dhcp.dns[%d]", i), a.Addr, true)
	}
	for i, a := range e.DHCP.Relay {
		k.host(fmt.Sprintf("$.edge.dhcp.relay[%d]", i), a.Addr, true)
	}
	for i, a := range e.RA.DNS {
		k.host(fmt.Sprintf("$.edge.ra.dns[%d]", i), a.Addr, false)
	}
	if e.Gateway4.Is4() && e.PrefixLength4 < 31 && e.PrefixLength4 > 0 {
		if first, last := ends(netip.PrefixFrom(e.Gateway4.Addr, int(e.PrefixLength4))); e.Gateway4.Addr == first || e.Gateway4.Addr == last {
			k.bad("$.edge.gateway4", "%v is the first or the last address of its /%d, which hosts take for the network or for broadcast", e.Gateway4, e.PrefixLength4)
		}
	}
}

// firewallWords checks the firewall's words.
func (k *checker) firewallWords(w Firewall) {
	if w.Table == "" || len(w.Table) > 128 || strings.Trim(w.Table, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" {
		k.bad("$.firewall.table", "%q is not the name of a table", w.Table)
	}
	seen := unique[string]{}
	for i, open := range w.Open {
		if proto, port, err := ParsePort(open); err == nil {
			seen.add(k, fmt.Sprintf("$.firewall.open[%d]", i), "port", fmt.Sprintf("%s %d", proto, port))
		}
	}
}

// ruleMatches checks what a rule of the file can match.
func (k *checker) ruleMatches(path string, c *Config, r Rule) {
	if r.IIF != "" {
		k.link(path+".iif", r.IIF)
	}
	if r.Fwmask != 0 && r.Fwmark&^r.Fwmask != 0 {
		k.bad(path+".fwmark", "%#x has bits outside of the mask %#x: nothing matches", r.Fwmark, r.Fwmask)
	}
	if r.Table.ID == 0 {
		return
	}
	known := slices.Contains([]uint32{253, 254, 255}, r.Table.ID) || c.LocalOut != nil && c.LocalOut.Table.ID == r.Table.ID ||
		slices.ContainsFunc(c.Domains, func(d Domain) bool { return d.NetNS == "" && d.Table.ID == r.Table.ID })
	if !known {
		k.bad(path+".table", "table %v is of no domain here, and nobody fills it", r.Table)
	}
}
