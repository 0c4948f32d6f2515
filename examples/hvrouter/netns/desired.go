package netns

import (
	"errors"
	"log/slog"

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
	addresses  map[domain.Address]fib.Address
	neighbors  map[domain.Neighbor]fib.Neighbor
	persistent map[domain.Key]domain.Route
	rules      map[fib.Rule]bool
}

// apply brings about everything that follows from the configuration and the guests,
// and returns the addresses that are to go once the routes have.
func (d *desired) apply(next domain.Static) (drop []fib.Address) {
	d.setSysctls(next.Sysctls)
	drop = d.setAddresses(next.Addresses)
	d.setNeighbors(next.Neighbors)
	d.setPersistent(next.Persistent)
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
	for path, value := range want {
		if d.static.Sysctls[path] != value {
			d.report("sysctl", d.kernel.SetSysctl(fib.Sysctl{Path: path, Value: value}))
		}
	}
	for path := range d.static.Sysctls {
		if _, ok := want[path]; !ok {
			d.report("sysctl", d.kernel.DeleteSysctl(path))
		}
	}
}

// setAddresses sets what is desired and returns what is to be deleted afterwards.
func (d *desired) setAddresses(want []domain.Address) (drop []fib.Address) {
	next := make(map[domain.Address]fib.Address, len(want))
	for _, a := range want {
		if out, ok := d.links.index.Address(a); ok {
			next[a] = out
		}
	}
	stays := make(map[fib.Address]bool, len(next)) // also under another name of its interface
	for _, out := range next {
		stays[out] = true
	}
	for a, old := range d.addresses {
		if next[a] != old && !stays[old] {
			drop = append(drop, old)
		}
	}
	for a, out := range next {
		if d.addresses[a] != out {
			d.report("address", d.kernel.SetAddress(out))
		}
	}
	d.addresses = next
	return drop
}

// setNeighbors sets the MACs of guests. One whose address has another MAC now is
// overwritten by it.
func (d *desired) setNeighbors(want []domain.Neighbor) {
	next, addrs := make(map[domain.Neighbor]fib.Neighbor, len(want)), make(map[fib.Neighbor]bool, len(want))
	for _, n := range want {
		if out, ok := d.links.index.Neighbor(n); ok {
			next[n] = out
			addrs[fib.Neighbor{IfIndex: out.IfIndex, Addr: out.Addr}] = true
		}
	}
	for n, old := range d.neighbors {
		if next[n] != old && !addrs[fib.Neighbor{IfIndex: old.IfIndex, Addr: old.Addr}] {
			d.report("neighbor", d.kernel.DeleteNeighbor(old))
		}
	}
	for n, out := range next {
		if d.neighbors[n] != out {
			d.report("neighbor", d.kernel.SetNeighbor(out))
		}
	}
	d.neighbors = next
}

func (d *desired) setPersistent(want []domain.Route) {
	next := make(map[domain.Key]domain.Route, len(want))
	for _, route := range want {
		next[route.Key] = route
		if old, ok := d.persistent[route.Key]; !ok || !old.Equal(route) {
			d.setRoute(route)
		}
	}
	for k := range d.persistent {
		if _, ok := next[k]; !ok {
			d.report("route", d.kernel.DeleteRoute(peering.Key(k)))
		}
	}
	d.persistent = next
}

func (d *desired) setRules(want []domain.Rule) {
	next := make(map[fib.Rule]bool, len(want))
	for _, rule := range want {
		out := peering.Rule(rule)
		next[out] = true
		if !d.rules[out] {
			d.report("rule", d.kernel.SetRule(out))
		}
	}
	for rule := range d.rules {
		if !next[rule] {
			d.report("rule", d.kernel.DeleteRule(rule))
		}
	}
	if len(d.rules) == 0 {
		for _, rule := range peering.KernelRules() {
			if !next[rule] {
				d.report("rule", d.kernel.SetRuleAbsent(rule))
			}
		}
	}
	d.rules = next
}

func (d *desired) report(what string, err error) {
	if err != nil && !errors.Is(err, fib.ErrClosed) { // closed: the program ends
		d.log.Error(what+" refused", "event", what+"-refused", "err", err)
	}
}
