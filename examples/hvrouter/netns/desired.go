package netns

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// desired is what stands in a kernel because of the configuration and the guests, with
// interfaces resolved to indexes. Only differences are written.
type desired struct {
	log    *slog.Logger
	kernel Kernel
	links  *Links

	static     domain.Static
	addresses  ordered[domain.Address, fib.Address]
	neighbors  ordered[domain.Neighbor, fib.Neighbor]
	persistent ordered[domain.Key, domain.Route]
	gateways   ordered[domain.Key, resolved]
	rules      ordered[fib.Rule, bool]
}

// ordered is a map that is gone through in the order in which its keys came: what the kernel is
// asked for must not depend on chance. The zero value is empty.
type ordered[K comparable, V any] struct {
	keys []K
	of   map[K]V
}

func (o *ordered[K, V]) set(k K, v V) {
	if o.of == nil {
		o.of = map[K]V{}
	}
	if _, ok := o.of[k]; !ok {
		o.keys = append(o.keys, k)
	}
	o.of[k] = v
}

func (o *ordered[K, V]) all(yield func(K, V) bool) {
	for _, k := range o.keys {
		if !yield(k, o.of[k]) {
			return
		}
	}
}

// apply brings about everything that follows from the configuration and the guests,
// and returns the addresses that are to go once the routes have.
func (d *desired) apply(next domain.Static) (drop []fib.Address) {
	d.setSysctls(next.Sysctls)
	drop = d.setAddresses(next.Addresses)
	d.setNeighbors(next.Neighbors)
	d.setPersistent(next.Persistent)
	d.setGateways(next.Gateways)
	d.setRules(next.Rules)
	d.static = next
	return drop
}

// setRoute has the kernel route as a domain wants it, and returns why it cannot, "" if it can.
func (d *desired) setRoute(route domain.Route) (why string) {
	out, ok := d.links.index.Route(route)
	if !ok {
		d.report("route", d.kernel.DeleteRoute(out.RouteKey))
		return "its interface is not there"
	}
	if err := d.kernel.SetRoute(out); err != nil {
		d.log.Error("route refused", "event", "route-refused", "table", route.Table, "prefix", route.Prefix, "err", err)
		return err.Error()
	}
	return ""
}

func (d *desired) setSysctls(want map[string]string) {
	var set, gone []string
	for path, value := range want {
		if d.static.Sysctls[path] != value {
			set = append(set, path)
		}
	}
	for path := range d.static.Sysctls {
		if _, ok := want[path]; !ok {
			gone = append(gone, path)
		}
	}
	slices.Sort(set)
	slices.Sort(gone)
	for _, path := range set {
		d.report("sysctl", d.kernel.SetSysctl(fib.Sysctl{Path: path, Value: want[path]}))
	}
	for _, path := range gone {
		d.report("sysctl", d.kernel.DeleteSysctl(path))
	}
}

// setAddresses sets what is desired and returns what is to be deleted afterwards.
func (d *desired) setAddresses(want []domain.Address) (drop []fib.Address) {
	var next ordered[domain.Address, fib.Address]
	stays := make(map[fib.Address]bool, len(want)) // also under another name of its interface
	for _, a := range want {
		if out, ok := d.links.index.Address(a); ok {
			next.set(a, out)
			stays[out] = true
		}
	}
	for a, old := range d.addresses.all {
		if next.of[a] != old && !stays[old] {
			drop = append(drop, old)
		}
	}
	for a, out := range next.all {
		if d.addresses.of[a] != out {
			d.report("address", d.kernel.SetAddress(out))
		}
	}
	d.addresses = next
	return drop
}

// setNeighbors sets the MACs of guests. One whose address has another MAC now is
// overwritten by it.
func (d *desired) setNeighbors(want []domain.Neighbor) {
	var next ordered[domain.Neighbor, fib.Neighbor]
	addrs := make(map[fib.Neighbor]bool, len(want))
	for _, n := range want {
		if out, ok := d.links.index.Neighbor(n); ok {
			next.set(n, out)
			addrs[fib.Neighbor{IfIndex: out.IfIndex, Addr: out.Addr}] = true
		}
	}
	for n, old := range d.neighbors.all {
		if next.of[n] != old && !addrs[fib.Neighbor{IfIndex: old.IfIndex, Addr: old.Addr}] {
			d.report("neighbour", d.kernel.DeleteNeighbor(old))
		}
	}
	for n, out := range next.all {
		if d.neighbors.of[n] != out {
			d.report("neighbour", d.kernel.SetNeighbor(out))
		}
	}
	d.neighbors = next
}

func (d *desired) setPersistent(want []domain.Route) {
	var next ordered[domain.Key, domain.Route]
	for _, route := range want {
		next.set(route.Key, route)
		if old, ok := d.persistent.of[route.Key]; !ok || !old.Equal(route) {
			d.setRoute(route)
		}
	}
	for k := range d.persistent.all {
		if _, ok := next.of[k]; !ok {
			d.report("route", d.kernel.DeleteRoute(peering.Key(k)))
		}
	}
	d.persistent = next
}

// resolved is a route over one interface, which has an index.
type resolved struct {
	domain.Route
	ifindex int
}

// setGateways sets the routes of tenants' tables. Those over a bridge that is not there come with it.
func (d *desired) setGateways(want []domain.Route) {
	var next ordered[domain.Key, resolved]
	for _, route := range want {
		index := d.links.Index(route.NextHops[0].Link)
		old, known := d.gateways.of[route.Key]
		next.set(route.Key, resolved{route, index})
		if !known || old.ifindex != index || !old.Equal(route) {
			d.setRoute(route)
		}
	}
	for k := range d.gateways.all {
		if _, ok := next.of[k]; !ok {
			d.report("route", d.kernel.DeleteRoute(peering.Key(k)))
		}
	}
	d.gateways = next
}

func (d *desired) setRules(want []domain.Rule) {
	var next ordered[fib.Rule, bool]
	for _, rule := range want {
		out := peering.Rule(rule)
		next.set(out, true)
		if !d.rules.of[out] {
			d.report("rule", d.kernel.SetRule(out))
		}
	}
	for rule := range d.rules.all {
		if !next.of[rule] {
			d.report("rule", d.kernel.DeleteRule(rule))
		}
	}
	if len(d.rules.keys) == 0 {
		for _, rule := range peering.KernelRules() {
			if !next.of[rule] {
				d.report("rule", d.kernel.SetRuleAbsent(rule))
			}
		}
	}
	d.rules = next
}

func (d *desired) report(what string, err error) {
	if err != nil && !errors.Is(err, fib.ErrClosed) { // closed: the program ends
		d.log.Error(what+" refused", "event", strings.ToLower(what)+"-refused", "err", err)
	}
}
