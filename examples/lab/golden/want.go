package golden

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// owner is a prefix and the hypervisors that announce it.
type owner struct {
	prefix netip.Prefix
	hvs    []int
}

// Expect is what the tables depend on besides the plan. The zero value is the
// published design with reflectors that lack nothing.
type Expect struct {
	// One lists the fabrics whose reflector shows one copy of a prefix only.
	One []plan.Fabric
	// IPv4Only lists the fabrics whose reflector carries no IPv6.
	IPv4Only []plan.Fabric
	plan.Lab
}

// Hypervisor returns the canonical lines of a table of hypervisor n.
func (x Expect) Hypervisor(n int, t Table) []string {
	var routes []nl.Route
	switch {
	case t.ID == plan.TablePrivate:
		routes = append(x.private(n, netip.Addr{}), x.last(t, unix.RTN_BLACKHOLE)...)
	case t.ID == plan.TableLocal && !x.LocalOut():
	case t.ID == plan.TableLocal:
		routes = append(x.private(n, plan.Loopback(n)), x.last(t, unix.RTN_UNREACHABLE)...)
		for _, r := range x.guestRoutes(n, 4) {
			r.PrefSrc = plan.Loopback(n)
			routes = append(routes, r)
		}
	default:
		routes = append(x.public(n, t), x.last(t, unix.RTN_BLACKHOLE)...)
		if t.Family == unix.AF_INET {
			for _, p := range x.Unreachable() {
				routes = append(routes, nl.Route{Type: unix.RTN_UNREACHABLE, Dst: p})
			}
		}
	}
	return Lines(t, routes)
}

// Edge returns the canonical lines of a table of the edge router.
func (x Expect) Edge(t Table) []string {
	var routes []nl.Route
	for _, o := range x.owners(version(t)) {
		if r := x.remote(plan.EdgeName, o.prefix, o.hvs); len(r.Hops) > 0 {
			routes = append(routes, r)
		}
	}
	return Lines(t, routes)
}

// public is table 90 without its last resort: what lives here, and two gateways
// for everything else and each hypervisor that has it.
func (x Expect) public(n int, t Table) []nl.Route {
	v := version(t)
	routes := x.guestRoutes(n, v)
	def := nl.Route{Type: unix.RTN_UNICAST, Dst: netip.PrefixFrom(unspecified(v), 0), Metric: plan.GuestMetric + 1}
	for _, f := range x.carrying(v) {
		gw := x.Upstream(plan.HVName(n), f, false)
		if !gw.IsValid() {
			gw = x.Exit(f, v)
		}
		def.Hops = append(def.Hops, nl.Hop{Gateway: gw, Link: f.Public()})
	}
	if len(def.Hops) > 0 {
		routes = append(routes, def)
	}
	for _, o := range x.owners(v) {
		if r := x.remote(plan.HVName(n), o.prefix, o.hvs); !slices.Contains(o.hvs, n) && len(r.Hops) > 0 {
			routes = append(routes, r)
		}
	}
	return routes
}

// private is the loopbacks: one's own, and the others' over both fabrics with
// one's own as the source. self is the source of one's own.
func (x Expect) private(n int, self netip.Addr) []nl.Route {
	routes := []nl.Route{{Type: unix.RTN_UNICAST, Dst: host(plan.Loopback(n)), Scope: unix.RT_SCOPE_LINK,
		PrefSrc: self, Hops: []nl.Hop{{Link: "loopback"}}}}
	for m := 1; m <= plan.HVs; m++ {
		if m == n {
			continue
		}
		r := nl.Route{Type: unix.RTN_UNICAST, Dst: host(plan.Loopback(m)), PrefSrc: plan.Loopback(n)}
		for _, f := range plan.Fabrics {
			gw := x.Upstream(plan.HVName(n), f, true)
			if !gw.IsValid() {
				gw = x.PrivateHop(m, f)
			}
			r.Hops = append(r.Hops, nl.Hop{Gateway: gw, Link: f.Private()})
		}
		routes = append(routes, r)
	}
	if x.Shared() { // the trap: a default route of its own, beside the public one
		r := nl.Route{Type: unix.RTN_UNICAST, Dst: netip.PrefixFrom(unspecified(4), 0), PrefSrc: plan.Loopback(n)}
		for _, f := range plan.Fabrics {
			r.Hops = append(r.Hops, nl.Hop{Gateway: plan.PrivateGateway(f), Link: f.Private()})
		}
		routes = append(routes, r)
	}
	return routes
}

// guestRoutes are the routes to the guests of hypervisor n and to what is routed
// through them.
func (x Expect) guestRoutes(n, version int) []nl.Route {
	var routes []nl.Route
	add := func(p netip.Prefix, scope uint8, h nl.Hop) {
		routes = append(routes, nl.Route{Table: plan.TablePublic, Type: unix.RTN_UNICAST, Dst: p, Scope: scope, Metric: plan.GuestMetric, Hops: []nl.Hop{h}})
	}
	for _, g := range x.AllOf(n) {
		through4 := nl.Hop{Gateway: g.IPv4, Link: g.Name, OnLink: true}
		through6 := nl.Hop{Gateway: g.LinkLocal(), Link: g.Name}
		own6 := through6
		if g.Prefix6.IsSingleIP() {
			own6 = nl.Hop{Link: g.Name}
		}
		switch {
		case version == 6:
			add(g.Prefix6, 0, own6)
			if g.Anycast {
				add(plan.Anycast6, 0, through6)
			}
			continue
		case g.Anycast:
			add(host(plan.Anycast4), 0, through4)
		case g.Transparent:
			add(host(plan.Transparent), 0, through4)
		}
		add(host(g.IPv4), unix.RT_SCOPE_LINK, nl.Hop{Link: g.Name})
	}
	return routes
}

// GuestRoutes returns what an operator's setup script would write for the guests
// of hypervisor n, both families.
func (x Expect) GuestRoutes(n int) []nl.Route {
	return append(x.guestRoutes(n, 4), x.guestRoutes(n, 6)...)
}

// owners lists every announced prefix of a family once.
func (x Expect) owners(version int) []owner {
	var out []owner
	at := map[netip.Prefix]int{}
	for n := 1; n <= plan.HVs; n++ {
		for _, r := range x.guestRoutes(n, version) {
			i, ok := at[r.Dst]
			if !ok {
				out, i = append(out, owner{prefix: r.Dst}), len(out)
				at[r.Dst] = i
			}
			out[i].hvs = append(out[i].hvs, n)
		}
	}
	return out
}

// remote is a node's route over both fabrics to each of the hypervisors. A reflector
// without ADD-PATH shows the copy with the lowest router id. Routers of a routed fabric decide by
// themselves which copy they lead to.
func (x Expect) remote(node string, p netip.Prefix, hvs []int) nl.Route {
	r := nl.Route{Type: unix.RTN_UNICAST, Dst: p}
	for _, f := range x.carrying(familyOf(p)) {
		for _, gw := range x.gateways(node, p, hvs, f) {
			r.Hops = append(r.Hops, nl.Hop{Gateway: gw, Link: f.Public()})
		}
	}
	// Metric of BGP: anything that loses against the guests'.
	r.Metric = plan.GuestMetric + 1
	return r
}

// gateways are those of one fabric. From a network of the fabric those who are on it are
// nearer than those behind the spine.
func (x Expect) gateways(node string, p netip.Prefix, hvs []int, f plan.Fabric) (out []netip.Addr) {
	if up := x.Upstream(node, f, false); up.IsValid() {
		return []netip.Addr{up}
	}
	hvs = slices.DeleteFunc(slices.Clone(hvs), x.Routed)
	if len(hvs) == 0 {
		return []netip.Addr{x.Exit(f, familyOf(p))}
	}
	if slices.Contains(x.One, f) {
		hvs = hvs[:1]
	}
	for _, n := range hvs {
		if p.Addr().Is6() {
			out = append(out, plan.HVPublic6(n, f))
		} else {
			out = append(out, plan.HVPublic4(n, f))
		}
	}
	return out
}

// Copies is how many gateways a node has to a prefix that hypervisors announce.
func (x Expect) Copies(node string, p netip.Prefix) int {
	for _, o := range x.owners(familyOf(p)) {
		if o.prefix == p {
			return len(x.remote(node, p, o.hvs).Hops)
		}
	}
	return 0
}

// Leads reports whether a next hop of a route leads to hypervisor n by way of a fabric,
// and to no other.
func (x Expect) Leads(n int, f plan.Fabric, p netip.Prefix, h nl.Hop) bool {
	for m := 1; m <= plan.HVs; m++ { // of a hypervisor itself
		if slices.Contains(x.Uplinks(m, f), h.Gateway) {
			return m == n
		}
	}
	if h.Link != f.Public() && h.Link != f.Private() {
		return false
	}
	if p == host(plan.Loopback(n)) {
		return true
	}
	return slices.ContainsFunc(x.owners(familyOf(p)), func(o owner) bool { return o.prefix == p && slices.Equal(o.hvs, []int{n}) })
}

// carrying lists the fabrics over which a family is reflected.
func (x Expect) carrying(version int) []plan.Fabric {
	if version == 4 {
		return plan.Fabrics
	}
	return slices.DeleteFunc(slices.Clone(plan.Fabrics), func(f plan.Fabric) bool { return slices.Contains(x.IPv4Only, f) })
}

func familyOf(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 6
	}
	return 4
}

// last is the route of last resort, in the modes that have one.
func (x Expect) last(t Table, kind uint8) []nl.Route {
	if x.Is("mode", plan.ModeBlackholeRules) || x.Apart() {
		return nil
	}
	return []nl.Route{{Type: kind, Dst: netip.PrefixFrom(unspecified(version(t)), 0), Metric: plan.LastResort}}
}

func version(t Table) int {
	if t.Family == unix.AF_INET6 {
		return 6
	}
	return 4
}

func unspecified(version int) netip.Addr {
	if version == 6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}
