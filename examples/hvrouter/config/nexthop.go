package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// NextHop is an address of ours that a session announces as the next hop of a domain's
// routes, on one of the domain's links. A session has one, its own address, unless it lists
// them. Several next hops of one domain are announced as several paths (ADD-PATH, RFC
// 7911, Section 5), each as long as it is alive.
type NextHop struct {
	// Domain is the domain whose routes are announced with this next hop. Required in
	// a session of [Config.Sessions]; elsewhere it is the session's own.
	Domain string `yaml:"domain,omitempty" json:"domain,omitempty"`
	// Fabric is a label. Default: the interface.
	Fabric string `yaml:"fabric,omitempty" json:"fabric,omitempty"`
	// Interface that has the addresses. Default: the session's.
	Interface string `yaml:"interface,omitempty" json:"interface"`
	// NextHop4 and NextHop6 are our addresses there; a family without one is not
	// announced with this next hop. Default, on the session's interface: the session's.
	NextHop4 Addr `yaml:"next-hop4,omitempty" json:"next-hop4,omitzero"`
	NextHop6 Addr `yaml:"next-hop6,omitempty" json:"next-hop6,omitzero"`
	// Probe is an address on the interface's link that a BFD session watches. While the
	// session is not up, the next hop is not announced, and not used where there is another.
	// Without a probe the next hop shares the fate of the BGP session.
	Probe Addr `yaml:"probe,omitempty" json:"probe,omitzero"`
	// BFD echo watches a probe that speaks no BFD but forwards what we send it back to us
	// (RFC 9747, Section 2).
	BFD string `yaml:"bfd,omitempty" json:"bfd,omitempty"`
	// BFDProfile is the name of one of bfd.profiles, which the probe's session is by. Default: the
	// file's bfd itself.
	BFDProfile string `yaml:"bfd-profile,omitempty" json:"bfd-profile,omitempty"`
}

// Families returns the families of the next hop.
func (w NextHop) Families() (v4, v6 bool) { return w.NextHop4.IsValid(), w.NextHop6.IsValid() }

// Local returns our address towards the probe.
func (w NextHop) Local() netip.Addr {
	if w.Probe.Is4() {
		return w.NextHop4.Addr
	}
	return w.NextHop6.Addr
}

// NextHopsOf returns the next hops of a session with everything filled in; domain is the one that
// the session belongs to, empty for one of [Config.Sessions].
func (r Reflector) NextHopsOf(domain string) []NextHop {
	hops := slices.Clone(r.AdvertiseNextHops)
	if len(hops) == 0 {
		hops = []NextHop{{}}
	}
	for i := range hops {
		w := &hops[i]
		def(&w.Domain, domain)
		def(&w.Interface, r.Interface)
		if w.Interface == r.Interface {
			r.own(w)
			def(&w.Fabric, r.Fabric)
		}
		def(&w.Fabric, w.Interface)
		if !slices.Contains(r.Families, IPv4) {
			w.NextHop4 = Addr{}
		}
		if !slices.Contains(r.Families, IPv6) {
			w.NextHop6 = Addr{}
		}
	}
	return hops
}

// own fills in the addresses of a next hop on the session's own link.
func (r Reflector) own(w *NextHop) {
	if w.NextHop4.IsValid() || w.NextHop6.IsValid() {
		return
	}
	if w.NextHop6 = r.NextHop6; r.Local.Is4() {
		w.NextHop4 = r.Local
	} else {
		w.NextHop6 = r.Local
	}
}

// Wide reports whether a session announces next hops on links other than its own.
func (r Reflector) Wide() bool {
	return slices.ContainsFunc(r.AdvertiseNextHops, func(w NextHop) bool { return w.Interface != "" && w.Interface != r.Interface })
}

// SessionsOf returns the sessions of a domain; shared reports whether they carry others,
// too.
func (c *Config) SessionsOf(d Domain) (sessions []Reflector, shared bool) {
	if c.Shares(d.Name) {
		return c.Sessions, true
	}
	return d.SessionList(), false
}

// Shares reports whether a domain is carried by the sessions of [Config.Sessions].
func (c *Config) Shares(domain string) bool {
	for _, r := range c.Sessions {
		for _, w := range r.AdvertiseNextHops {
			if w.Domain == domain {
				return true
			}
		}
	}
	return false
}

// Families returns the families that the domain's sessions carry.
func (c *Config) Families(d Domain) (v4, v6 bool) {
	for _, n := range d.Neighbors { // some may be found later
		if n.Unnumbered() {
			v4, v6 = v4 || slices.Contains(n.Families, IPv4), v6 || slices.Contains(n.Families, IPv6)
		}
	}
	sessions, shared := c.SessionsOf(d)
	own := d.Name
	if shared {
		own = ""
	}
	for _, r := range sessions {
		for _, w := range r.NextHopsOf(own) {
			if four, six := w.Families(); w.Domain == d.Name {
				v4, v6 = v4 || four, v6 || six
			}
		}
	}
	return v4, v6
}

// fillNextHops makes the interfaces of next hops known to their domains.
func (c *Config) fillNextHops() {
	note := func(r Reflector, domain string) {
		for _, w := range r.NextHopsOf(domain) {
			d := c.Domain(w.Domain)
			if d == nil || w.Interface == "" || slices.Contains(d.Interfaces, w.Interface) {
				continue
			}
			if !slices.ContainsFunc(d.SessionList(), func(r Reflector) bool { return r.Interface == w.Interface }) {
				d.Interfaces = append(d.Interfaces, w.Interface)
			}
		}
	}
	for _, r := range c.Sessions {
		note(r, "")
	}
	for _, d := range c.Domains {
		for _, r := range d.Sessions() {
			note(r, d.Name)
		}
	}
}

// shared checks the sessions that several domains share.
func (k *checker) shared(c *Config, sessions unique[string]) {
	communities := unique[Community]{}
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d]", i)
		if carried := c.Shares(d.Name); carried && len(d.Reflectors)+len(d.Neighbors) > 0 {
			own := ".reflectors"
			if len(d.Reflectors) == 0 {
				own = ".neighbors"
			}
			k.bad(path+own, "the domain is carried by sessions that it shares: it cannot have its own")
		} else if carried && k.need(path+".community", !d.Community.IsZero()) {
			communities.add(k, path+".community", "community", d.Community)
			if d.Community.Large {
				k.bad(path+".community", "%v: want a standard community, such as \"65000:90\"", d.Community)
			}
		} else if !carried && !d.Community.IsZero() {
			k.bad(path+".community", "no session carries the domain with others, so nothing asks for its community")
		}
	}
	var first *Domain
	for i := range c.Domains {
		d := &c.Domains[i]
		switch {
		case !c.Shares(d.Name):
		case first == nil:
			first = d
		case d.NetNS != first.NetNS:
			k.bad(fmt.Sprintf("$.domains[%d].netns", i), "domains %s and %s share sessions: they live in one namespace", first.Name, d.Name)
		}
	}
	for i, r := range c.Sessions {
		path := fmt.Sprintf("$.sessions[%d]", i)
		k.reflector(path, c.NetNSOf(r, ""), r, sessions)
		k.need(path+".advertise-next-hops", len(r.AdvertiseNextHops) > 0)
		k.nextHops(path, c, r, "")
	}
}

// nextHops checks the nextHops of one session.
func (k *checker) nextHops(path string, c *Config, r Reflector, domain string) {
	seen := unique[string]{}
	for i, w := range r.NextHopsOf(domain) {
		if len(r.AdvertiseNextHops) == 0 {
			return
		}
		at := fmt.Sprintf("%s.advertise-next-hops[%d]", path, i)
		switch given := r.AdvertiseNextHops[i].Domain; {
		case domain == "" && !k.need(at+".domain", given != ""):
			continue
		case domain != "" && given != "" && given != domain:
			k.bad(at+".domain", "%q: a session of domain %s carries no other", given, domain)
		case c.Domain(w.Domain) == nil:
			k.bad(at+".domain", "no domain is called %q", w.Domain)
		}
		seen.add(k, at, "next hop:", w.Domain+" over "+w.Interface)
		k.nextHop(at, r, w)
	}
	if len(r.AdvertiseNextHops) > 1 && !c.BGP.AddPath {
		k.bad(path+".advertise-next-hops", "several next hops need bgp.add-path: one path would hide the others")
	}
}

func (k *checker) nextHop(at string, r Reflector, w NextHop) {
	for _, a := range []struct {
		key  string
		addr Addr
		six  bool
	}{{".next-hop4", w.NextHop4, false}, {".next-hop6", w.NextHop6, true}} {
		if a.addr.IsValid() && a.addr.Is6() != a.six {
			k.bad(at+a.key, "%v is of the other family", a.addr)
		}
	}
	v4, v6 := w.Families()
	switch {
	case !v4 && !v6:
		k.bad(at, "no next hop of a family that the session carries")
	case w.Probe.IsValid() && !w.Local().IsValid():
		k.bad(at+".probe", "no next hop of its family to send from")
	case w.Probe.IsValid() && w.Interface == r.Interface && w.Probe == r.Peer:
		k.bad(at+".probe", "%v is the session's peer, whom its BFD watches already", w.Probe)
	}
	if w.BFD != "" {
		k.oneOf(at+".bfd", w.BFD, "echo")
		if !w.Probe.IsValid() {
			k.bad(at+".bfd", "there is no probe")
		}
	}
	if k.profile(at+".bfd-profile", w.BFDProfile); w.BFDProfile != "" && !w.Probe.IsValid() {
		k.bad(at+".bfd-profile", "there is no probe")
	}
}
