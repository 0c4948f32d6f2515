package golden

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Spine returns the canonical lines of a table of a spine that joins routed fabrics with the
// networks of hypervisors with reflectors. It prefers what the reflector announces: the AS path is
// shorter by those of the top-of-rack router and the hypervisor.
func (x Expect) Spine(r plan.UnderlayRouter, t Table) []string {
	v := version(t)
	var routes []nl.Route
	if r.Private {
		for n := 1; n <= plan.HVs && v == 4; n++ {
			routes = append(routes, x.joined(r, host(plan.Loopback(n)), []int{n}))
		}
		return Lines(t, routes)
	}
	def := nl.Route{Type: unix.RTN_UNICAST, Dst: netip.PrefixFrom(unspecified(v), 0), Metric: plan.GuestMetric + 1}
	for _, a := range x.Adjacencies(r.Name) {
		if a.Node == plan.EdgeName {
			def.Hops = append(def.Hops, nl.Hop{Gateway: a.Peer, Link: a.Link})
		}
	}
	routes = append(routes, def)
	for _, o := range x.owners(v) {
		routes = append(routes, x.joined(r, o.prefix, o.hvs))
	}
	return Lines(t, routes)
}

// joined is a spine's route to what hypervisors announce.
func (x Expect) joined(r plan.UnderlayRouter, p netip.Prefix, hvs []int) nl.Route {
	out := nl.Route{Type: unix.RTN_UNICAST, Dst: p, Metric: plan.GuestMetric + 1}
	for _, n := range hvs {
		if x.Routed(n) {
			continue
		}
		h := nl.Hop{Gateway: x.PrivateHop(n, r.Fabric), Link: r.Fabric.Private()}
		if !r.Private {
			h = nl.Hop{Gateway: x.gateways("", p, []int{n}, r.Fabric)[0], Link: r.Fabric.Public()}
		}
		out.Hops = append(out.Hops, h)
	}
	if len(out.Hops) > 0 {
		return out
	}
	for _, a := range x.Adjacencies(r.Name) {
		if slices.ContainsFunc(hvs, func(n int) bool { return a.Node == plan.TorName(plan.Rack(n), r.Fabric, r.Private) }) {
			out.Hops = append(out.Hops, nl.Hop{Gateway: a.Peer, Link: a.Link})
		}
	}
	return out
}
