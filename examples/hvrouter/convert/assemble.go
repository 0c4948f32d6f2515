package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// dom is a domain: a table of the kernel with the sessions that fill it.
type dom struct {
	pos
	name     string
	table    uint32 // 0: not known
	kernels  []*kernel
	sessions []*session

	guests, loopback bool
	domains          []string // of local-out
	unreachable      []string
	lastResort       string
}

// guest is a virtual machine, as far as it is known.
type guest struct {
	pos
	name, device, mac  string
	ipv4, ipv6, routed []string
	gateway            string
	ra                 *advert
}

// assemble makes domains, the local-out table and guests of what was read.
func (c *converter) assemble() {
	c.tables()
	c.copies()
	c.hostRoutes()
	c.staticRoutes()
	c.allGuests()
	c.guestDomain()
}

// trimFamily cuts what tells the tables of two families apart: public4, public6, public.
func trimFamily(table string) string {
	table = strings.TrimSuffix(table, " of bird6")
	for _, suffix := range []string{"_v4", "_v6", "_4", "_6", "4", "6"} {
		if t := strings.TrimSuffix(table, suffix); t != table && t != "" {
			return t
		}
	}
	return table
}

// tables makes a domain of each table of the kernel that sessions fill.
func (c *converter) tables() {
	for _, k := range c.kernels {
		d := c.byNumber(k.number)
		if d == nil {
			d = &dom{pos: k.pos, name: trimFamily(strings.Trim(k.table, "'")), table: k.number}
			for c.byName(d.name) != nil {
				d.name += fmt.Sprint("-", k.number)
			}
			c.domains = append(c.domains, d)
		}
		d.kernels = append(d.kernels, k)
		if k.exportsNone && !k.learn {
			c.note(k.pos, "protocol kernel %s: it neither reads nor writes table %d", k.name, k.number)
		}
	}
	for _, x := range c.sessions {
		c.place(x)
	}
}

func (c *converter) byNumber(n uint32) *dom {
	for _, d := range c.domains {
		if d.table == n {
			return d
		}
	}
	return nil
}

func (c *converter) byName(name string) *dom {
	for _, d := range c.domains {
		if d.name == name {
			return d
		}
	}
	return nil
}

// of returns the domain that a table of BIRD is written to.
func (c *converter) of(table, family string) *dom {
	for _, d := range c.domains {
		for _, k := range d.kernels {
			if k.table == table && (k.family == family || family == "") {
				return d
			}
		}
	}
	return nil
}

// place gives a session to its domain, one that is made for it if its table goes nowhere.
func (c *converter) place(x *session) {
	var d *dom
	for _, y := range x.channels {
		e := c.of(y.table, y.family)
		if e == nil {
			e = c.byName(trimFamily(y.table))
			if e == nil || e.table != 0 {
				e = &dom{pos: y.pos, name: trimFamily(y.table)}
				for c.byName(e.name) != nil {
					e.name += "-"
				}
				c.domains = append(c.domains, e)
				c.gap(y.pos, "session %s: no protocol kernel writes table %s: domain %s lacks the number of its table", x.name, y.table, e.name)
			}
		}
		if d != nil && d != e {
			c.gap(y.pos, "session %s: the routes of a session are of one domain, %s: its %s is left out", x.name, d.name, y.family)
			y.family = ""
			continue
		}
		d = e
	}
	x.channels = slices.DeleteFunc(x.channels, func(y *channel) bool { return y.family == "" })
	d.sessions = append(d.sessions, x)
}

// flow is one direction of a pipe.
type flow struct {
	*pipe
	from, to string
	filter   []token
	at       *stmt
}

func (p *pipe) flows() (out []flow) {
	for _, f := range []flow{{p, p.b, p.a, p.toA, p.toAs}, {p, p.a, p.b, p.toB, p.toBs}} {
		if text := tokenText(f.filter); text != "none" && text != "" {
			out = append(out, f)
		}
	}
	return out
}

// copies makes the local-out table of pipes: one into which domains are copied, and no session.
func (c *converter) copies() {
	for _, p := range c.pipes {
		for _, f := range p.flows() {
			c.copy(f)
		}
	}
	c.domains = slices.DeleteFunc(c.domains, func(d *dom) bool {
		if len(d.sessions) > 0 {
			return false
		}
		if d != c.localOut {
			c.gap(d.pos, "table %d is filled by no session: left out", d.table)
		}
		return true
	})
	if c.localOut != nil && !slices.ContainsFunc(c.domains, func(d *dom) bool { return d.guests }) {
		c.note(c.localOut.pos, "local-out also has the guests that are here")
	}
}

func (c *converter) copy(f flow) {
	from, to := c.of(f.from, ""), c.of(f.to, "")
	switch {
	case from == nil || to == nil || from == to:
		c.gap(f.at.pos, "a copy of table %s to %s: there is no protocol kernel for both", f.from, f.to)
		return
	case len(to.sessions) > 0 || len(from.sessions) == 0 || c.localOut != nil && c.localOut != to:
		c.gap(f.at.pos, "a copy of table %s to %s: domains exchange no routes, and there is one local-out table", f.from, f.to)
		return
	}
	if c.localOut = to; tokenText(f.filter) == "all" {
		if !slices.Contains(to.domains, from.name) {
			to.domains = append(to.domains, from.name)
		}
		return
	}
	if w := f.filter; len(w) == 4 && w[0].text == "where" && w[1].text == "proto" && w[2].text == "=" {
		for _, k := range from.kernels {
			if k.name == w[3].text && k.learn {
				from.guests = true // local-out has the routes of the guests that are here
				return
			}
		}
	}
	c.gap(f.at.pos, "%s: local-out has whole domains, and the guests that are here", f.at.text())
}

// hostRoutes reads what scripts have put into the tables.
func (c *converter) hostRoutes() {
	if !c.host.given {
		return
	}
	all := c.domains
	if c.localOut != nil {
		all = append(slices.Clone(all), c.localOut)
	}
	for _, d := range all {
		d.lastResort = "none"
		for _, r := range c.host.in(d.table) {
			switch {
			case r.kind == "unicast":
			case r.dst.Bits() == 0:
				d.lastResort = r.kind
			case r.kind == "unreachable" && d != c.localOut:
				d.unreachable = append(d.unreachable, r.dst.String())
			default:
				c.gap(r.pos, "%s %v of table %d: what nobody has is unreachable:, and there is no other kind", r.kind, r.dst, d.table)
			}
		}
		if d.table == 254 {
			d.lastResort = ""
		}
	}
}

// staticRoutes reads those of protocol static.
func (c *converter) staticRoutes() {
	for _, s := range c.statics {
		d := c.of(s.table, s.family)
		switch {
		case d == nil || !slices.Contains(c.domains, d) && d != c.localOut:
			c.gap(s.pos, "route %v %s: table %s goes nowhere", s.prefix, s.kind, s.table)
		case s.prefix.Bits() == 0:
			d.lastResort = s.kind
			c.gap(s.pos, "route %v %s is last-resort of domain %s, for both families, and is not announced", s.prefix, s.kind, d.name)
		case s.kind == "unreachable" && d != c.localOut:
			d.unreachable = append(d.unreachable, s.prefix.String())
			c.gap(s.pos, "route %v unreachable is in unreachable: of domain %s, and is not announced", s.prefix, d.name)
		default:
			c.gap(s.pos, "route %v %s: what nobody has is unreachable:, and there is no other kind", s.prefix, s.kind)
		}
	}
}

// at returns the guest of an interface, a new one if there is none.
func (c *converter) at(p pos, device string) *guest {
	g := c.guests[device]
	if g == nil {
		g = &guest{pos: p, name: device, device: device}
		c.guests[device] = g
		c.order = append(c.order, g)
	}
	return g
}

// add puts a value into a list once.
func add(list *[]string, value string) {
	if !slices.Contains(*list, value) {
		*list = append(*list, value)
	}
}

// uplink reports whether an interface is one of the host's own.
func (c *converter) uplink(device string) bool {
	for _, d := range c.domains {
		for _, x := range d.sessions {
			if x.device == device {
				return true
			}
		}
	}
	return device == "lo" || device == c.loopbackDevice()
}

func (c *converter) loopbackDevice() string {
	if a, err := netip.ParseAddr(c.loopback); err == nil {
		return c.host.holder(a)
	}
	return ""
}

// allGuests collects guests: those with router advertisements, routes, leases and rules of ndppd.
func (c *converter) allGuests() {
	c.fillSessions()
	for _, device := range c.raOrder {
		a := c.ra[device]
		if c.uplink(device) {
			c.gap(a.pos, "interface %s is not a guest's: what is advertised there is left out", device)
			continue
		}
		g := c.at(a.pos, device)
		g.ra = a
		for _, p := range a.prefixes {
			add(&g.ipv6, p.String())
		}
	}
	for _, d := range c.domains {
		c.routed(d)
	}
	for _, l := range c.leases {
		c.leased(l)
	}
	for _, r := range c.ndp {
		c.proxied(r)
	}
	for _, g := range c.order {
		c.finish(g)
	}
}

// fillSessions takes from the host what sessions do not say.
func (c *converter) fillSessions() {
	for _, x := range c.sessions {
		if x.unnumbered {
			continue
		}
		peer, err := netip.ParseAddr(x.peer)
		if err != nil {
			continue
		}
		device, local := c.host.towards(peer)
		if x.local == "" {
			x.local = local
		}
		if a, err := netip.ParseAddr(x.local); err == nil && c.host.holder(a) != "" {
			device = c.host.holder(a)
		}
		if x.device == "" {
			x.device = device
		}
	}
}

// routed takes guests from routes over interfaces that are not the host's own.
func (c *converter) routed(d *dom) {
	var through []route
	for _, r := range c.host.in(d.table) {
		switch {
		case r.kind != "unicast" || r.dev == "lo" || r.dev == c.loopbackDevice():
			continue
		case r.several || c.uplink(r.dev) || r.dev == "":
			c.gap(r.pos, "route %v of table %d: it is none of a guest; hvrouter leaves it alone, and announces it if the domain has redistribute", r.dst, d.table)
			continue
		case r.gateway.IsValid():
			through = append(through, r)
			continue
		}
		g := c.at(r.pos, r.dev)
		d.guests = true
		switch {
		case r.dst.Addr().Is4() && r.dst.IsSingleIP():
			add(&g.ipv4, r.dst.Addr().String())
		case r.dst.Addr().Is6() && (r.dst.IsSingleIP() || r.dst.Bits() == 64):
			add(&g.ipv6, r.dst.String())
		default:
			c.gap(r.pos, "route %v over %s: a guest has addresses, and prefixes that are routed by one of them", r.dst, r.dev)
		}
	}
	for _, r := range through {
		g := c.at(r.pos, r.dev)
		d.guests = true
		if r.gateway.IsLinkLocalUnicast() {
			if m := macOf(r.gateway); m != "" && (g.mac == "" || g.mac == m) {
				g.mac = m
			} else {
				c.gap(r.pos, "route %v by %v: routes go by a guest's first address, or the link-local one of its MAC", r.dst, r.gateway)
			}
			if slices.Contains(g.ipv6, r.dst.String()) {
				continue // its own, as radvd says
			}
			if len(g.ipv6) == 0 && r.dst.Bits() == 64 && g.ra == nil {
				add(&g.ipv6, r.dst.String())
				if slices.ContainsFunc(through, func(o route) bool {
					return o.dev == r.dev && o.dst != r.dst && o.dst.Bits() == 64 && o.gateway == r.gateway
				}) {
					c.gap(r.pos, "guest %s has several prefixes, and which one is on its link is not said: %v is taken, the first, and the others are routed", g.name, r.dst)
				}
				continue
			}
		} else if len(g.ipv4) > 0 && r.gateway.Is4() && g.ipv4[0] != r.gateway.String() {
			if i := slices.Index(g.ipv4, r.gateway.String()); i > 0 {
				c.gap(r.pos, "route %v by %v: routes go by a guest's first address, %s", r.dst, r.gateway, g.ipv4[0])
			} else {
				c.gap(r.pos, "route %v by %v: the guest does not have that address", r.dst, r.gateway)
				continue
			}
		}
		add(&g.routed, r.dst.String())
		if r.dst.Addr().Is4() && r.dst.IsSingleIP() {
			c.gap(r.pos, "guest %s: %v is routed to it as it is: if nftables, which is not read, translates it, it is transparent: in place of routed:", g.name, r.dst.Addr())
		}
	}
}

// leased gives a guest what dnsmasq has for it. dnsmasq does not say on which interface.
func (c *converter) leased(l lease) {
	address := l.ipv4.String()
	var g *guest
	for _, o := range c.order {
		if slices.Contains(o.ipv4, address) || l.mac != "" && o.mac == l.mac {
			g = o
		}
	}
	if g == nil && l.name != "" && (c.guests[l.name] != nil || slices.Contains(c.listed, l.name)) {
		g = c.at(l.pos, l.name)
	}
	if g == nil {
		g = &guest{pos: l.pos, name: l.name, device: fillIn + "interface"}
		if g.name == "" {
			g.name = address
		}
		c.order = append(c.order, g)
		c.gap(l.pos, "guest %s: dnsmasq does not say behind which interface it is (-ip has its route): fill it in, or a pattern such as vnet*, by which hvrouter finds it by its MAC", g.name)
	}
	add(&g.ipv4, address)
	if l.mac != "" && g.mac != "" && g.mac != l.mac {
		c.gap(l.pos, "guest %s: its MAC is %s elsewhere", g.name, g.mac)
	}
	if l.mac != "" {
		g.mac = l.mac
	}
	if l.name != "" && g.name == g.device {
		g.name = l.name
	}
}

// proxied reads a rule of ndppd: who asks on an uplink gets no answer of hvrouter, and who asks on a
// guest's interface is answered for all that is routed.
func (c *converter) proxied(r proxy) {
	if c.guests[r.device] != nil {
		c.note(r.pos, "rule %v: a guest's questions are answered for all that is routed to other guests", r.prefix)
		return
	}
	if r.method == "iface" && r.behind != "" && !c.uplink(r.behind) {
		g := c.at(r.pos, r.behind)
		switch {
		case r.prefix.IsSingleIP() || r.prefix.Bits() == 64:
			add(&g.ipv6, r.prefix.String())
		default:
			add(&g.routed, r.prefix.String())
		}
	}
	c.gap(r.pos, "proxy %s, rule %v (%s): questions on interfaces that are not guests' are not answered: routers there have to have the prefix by BGP, or a route", r.device, r.prefix, r.method)
}

// finish gives a guest its MAC and its gateway, as far as the host has them.
func (c *converter) finish(g *guest) {
	for _, n := range c.host.neighs {
		if g.mac == "" && n.dev == g.device && n.mac != "00:00:00:00:00:00" && slices.Contains(g.ipv4, n.dst.String()) {
			g.mac = n.mac
		}
	}
	if g.mac == "" && (len(g.ipv6) > 0 || slices.ContainsFunc(g.routed, func(p string) bool { return strings.Contains(p, ":") })) {
		c.gap(g.pos, "guest %s: its MAC is not said, and check refuses IPv6 without it", g.name)
		g.mac = fillIn + "MAC"
	}
	if l := c.host.link(g.device); l != nil {
		for _, p := range l.addresses {
			if p.Addr().Is4() && g.gateway == "" {
				g.gateway = p.Addr().String()
			}
		}
	}
	if g.mac == "" && g.ra == nil && len(g.ipv4) > 0 {
		c.note(g.pos, "guest %s: its MAC is not said: DHCP and ARP go without it", g.name)
	}
}

// guestDomain says which domain the guests' routes belong to.
func (c *converter) guestDomain() {
	var have []string
	for _, d := range c.domains {
		if d.guests {
			have = append(have, d.name)
		}
	}
	switch {
	case len(have) == 0 && len(c.order) > 0 && len(c.domains) == 1:
		c.domains[0].guests = true
	case len(have) == 0 && len(c.order) > 0:
		c.gap(pos{}, "which domain the guests' routes belong to is not said: check refuses the file until one has guests: true")
	case len(have) > 1:
		c.gap(pos{}, "guests' routes are in several domains, %s: they belong to one, and check refuses the file until one alone has guests: true", strings.Join(have, " and "))
	}
}
