package daemon

import (
	"log/slog"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/firewall"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// namespace is the state of one network namespace: what is known of it, what stands in it,
// and what changes it. Most hypervisors have one. The loop owns it.
type namespace struct {
	netns    config.NetNS
	path     string // that leads to it as long as this process lives; "": the daemon's own
	log      *slog.Logger
	kernel   kernel
	firewall shield // nil: none
	vrf      vrfs   // nil: none

	cfg     *config.Config // the part that lives here
	links   links
	metrics localMetrics

	// What stands because of static, with interfaces resolved to indexes.
	static     domain.Static
	addresses  map[domain.Address]fib.Address
	neighbors  map[domain.Neighbor]fib.Neighbor
	persistent map[domain.Key]domain.Route
	rules      map[fib.Rule]bool
	wanted     *firewall.Spec // what the firewall was last made from; nil: it was not
	trust      domain.Trust   // which interfaces are the host's own
	detached   map[int]bool   // interfaces that were guests', by index, as long as they are there

	preserved preservedState // of an earlier run
	converged bool           // what was left over is swept
}

func newNamespace(log *slog.Logger, n config.NetNS, k kernel, w shield) *namespace {
	if n != "" {
		log = log.With("netns", string(n))
	}
	return &namespace{netns: n, log: log, kernel: k, firewall: w, links: newLinks(), addresses: map[domain.Address]fib.Address{},
		persistent: map[domain.Key]domain.Route{}, rules: map[fib.Rule]bool{}, detached: map[int]bool{}}
}

// Path implements [sessions.Namespace].
func (p *namespace) Path() string { return p.path }

// HasAddress implements [sessions.Namespace].
func (p *namespace) HasAddress(a netip.Addr) bool { return p.links.hasAddress(a) }

// LinkLocal implements [sessions.Namespace].
func (p *namespace) LinkLocal(link string) netip.Addr { return p.links.linkLocal(link) }

// Preserved implements [sessions.Namespace].
func (p *namespace) Preserved(domains []config.Domain, carries func(config.Domain) (v4, v6 bool)) []wire.Family {
	return p.preserved.families(domains, carries)
}

// where returns the namespace's name between words, nothing for the daemon's own.
func (p *namespace) where(before string, after ...string) string {
	if p.netns == "" {
		return ""
	}
	return before + string(p.netns) + strings.Join(after, "")
}

// apply brings about everything that follows from the configuration and the guests,
// and returns the addresses that are to go once the routes have.
func (p *namespace) apply(next domain.Static) (drop []fib.Address) {
	p.setSysctls(next.Sysctls)
	drop = p.setAddresses(next.Addresses)
	p.setNeighbors(next.Neighbors)
	p.setPersistent(next.Persistent)
	p.setRules(next.Rules)
	p.static = next
	return drop
}

// setRoute has the kernel route as wanted, and says why it cannot, "" if it can.
func (p *namespace) setRoute(route domain.Route) (why string) {
	out, ok := p.links.index.Route(route)
	if !ok {
		p.kernel.DeleteRoute(out.RouteKey)
		return "its interface is not there"
	}
	if err := p.kernel.SetRoute(out); err != nil {
		p.log.Error("route refused", "event", "route-refused", "table", route.Table, "prefix", route.Prefix, "err", err)
		return err.Error()
	}
	return ""
}

func (p *namespace) setSysctls(want map[string]string) {
	for path, value := range want {
		if p.static.Sysctls[path] != value {
			p.report("sysctl", p.kernel.SetSysctl(fib.Sysctl{Path: path, Value: value}))
		}
	}
	for path := range p.static.Sysctls {
		if _, ok := want[path]; !ok {
			p.kernel.DeleteSysctl(path)
		}
	}
}

// setAddresses sets what is wanted and gives what is to be deleted afterwards.
func (p *namespace) setAddresses(want []domain.Address) (drop []fib.Address) {
	next := make(map[domain.Address]fib.Address, len(want))
	for _, a := range want {
		if out, ok := p.links.index.Address(a); ok {
			next[a] = out
		}
	}
	stays := make(map[fib.Address]bool, len(next)) // also under another name of its interface
	for _, out := range next {
		stays[out] = true
	}
	for a, old := range p.addresses {
		if next[a] != old && !stays[old] {
			drop = append(drop, old)
		}
	}
	for a, out := range next {
		if p.addresses[a] != out {
			p.report("address", p.kernel.SetAddress(out))
		}
	}
	p.addresses = next
	return drop
}

// setNeighbors sets where guests are. One whose address has another MAC now is
// overwritten by it.
func (p *namespace) setNeighbors(want []domain.Neighbor) {
	next, addrs := make(map[domain.Neighbor]fib.Neighbor, len(want)), make(map[fib.Neighbor]bool, len(want))
	for _, n := range want {
		if out, ok := p.links.index.Neighbor(n); ok {
			next[n] = out
			addrs[fib.Neighbor{IfIndex: out.IfIndex, Addr: out.Addr}] = true
		}
	}
	for n, old := range p.neighbors {
		if next[n] != old && !addrs[fib.Neighbor{IfIndex: old.IfIndex, Addr: old.Addr}] {
			p.kernel.DeleteNeighbor(old)
		}
	}
	for n, out := range next {
		if p.neighbors[n] != out {
			p.report("neighbor", p.kernel.SetNeighbor(out))
		}
	}
	p.neighbors = next
}

func (p *namespace) setPersistent(want []domain.Route) {
	next := make(map[domain.Key]domain.Route, len(want))
	for _, route := range want {
		next[route.Key] = route
		if old, ok := p.persistent[route.Key]; !ok || !old.Equal(route) {
			p.setRoute(route)
		}
	}
	for k := range p.persistent {
		if _, ok := next[k]; !ok {
			p.kernel.DeleteRoute(peering.Key(k))
		}
	}
	p.persistent = next
}

func (p *namespace) setRules(want []domain.Rule) {
	next := make(map[fib.Rule]bool, len(want))
	for _, rule := range want {
		out := peering.Rule(rule)
		next[out] = true
		if !p.rules[out] {
			p.report("rule", p.kernel.SetRule(out))
		}
	}
	for rule := range p.rules {
		if !next[rule] {
			p.kernel.DeleteRule(rule)
		}
	}
	if len(p.rules) == 0 {
		for _, rule := range peering.KernelRules() {
			if !next[rule] {
				p.report("rule", p.kernel.SetRuleAbsent(rule))
			}
		}
	}
	p.rules = next
}

func (p *namespace) report(what string, err error) {
	if err != nil {
		p.log.Error(what+" refused", "event", what+"-refused", "err", err)
	}
}

// isUplink reports whether routes other than a guest's may lead over the link.
func (p *namespace) isUplink(name string) bool {
	for _, d := range p.cfg.Domains {
		for _, uplink := range domain.Interfaces(d) {
			if uplink == name {
				return true
			}
		}
	}
	return name == p.cfg.Loopback.Interface
}
