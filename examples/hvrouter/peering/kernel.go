package peering

import (
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/fib"
)

// Links maps the names of the interfaces that exist to their indexes.
type Links map[string]int

// Route returns the route in fib's terms. Next hops on interfaces that do not exist
// are left out; ok is false if that leaves none.
func (l Links) Route(r domain.Route) (out fib.Route, ok bool) {
	out = fib.Route{RouteKey: Key(r.Key), Type: routeTypes[r.Type], PrefSrc: r.PrefSrc, Persistent: r.Persistent}
	if r.LinkScope {
		out.Scope = fib.ScopeLink
	}
	if r.Type != domain.Unicast && r.Type != domain.TypeLocal {
		return out, true
	}
	out.NextHops = make([]fib.NextHop, 0, len(r.NextHops))
	for _, n := range r.NextHops {
		if index, ok := l[n.Link]; ok {
			out.NextHops = append(out.NextHops, fib.NextHop{Gateway: n.Gateway, IfIndex: index, OnLink: n.OnLink, Weight: n.Weight})
		}
	}
	return out, len(out.NextHops) > 0
}

var routeTypes = map[domain.Type]fib.RouteType{
	domain.Unicast:     fib.RouteUnicast,
	domain.Blackhole:   fib.RouteBlackhole,
	domain.Unreachable: fib.RouteUnreachable,
	domain.Prohibit:    fib.RouteProhibit,
	domain.TypeLocal:   fib.RouteLocal,
}

// Key returns the key in fib's terms.
func Key(k domain.Key) fib.RouteKey {
	return fib.RouteKey{Table: k.Table, Prefix: k.Prefix, Metric: k.Metric}
}

// Rule returns the rule in fib's terms.
func Rule(r domain.Rule) fib.Rule {
	out := fib.Rule{Family: fib.FamilyIPv4, Priority: r.Priority, IIF: r.IIF, From: r.From, To: r.To,
		Mark: r.Mark, Mask: r.Mask, Table: r.Table, Action: ruleActions[r.Action], L3MDev: r.L3MDev}
	if r.IPv6 {
		out.Family = fib.FamilyIPv6
	}
	return out
}

var ruleActions = map[domain.Type]fib.RuleAction{
	domain.Unicast:     fib.RuleToTable,
	domain.Blackhole:   fib.RuleBlackhole,
	domain.Unreachable: fib.RuleUnreachable,
	domain.Prohibit:    fib.RuleProhibit,
}

// KernelRules are the rules that every namespace starts with and that must go,
// unless they are wanted: lookups would fall through to main, or, with VRFs, begin in
// local.
func KernelRules() []fib.Rule {
	return []fib.Rule{
		{Family: fib.FamilyIPv4, Priority: 0, Table: 255, Action: fib.RuleToTable},
		{Family: fib.FamilyIPv6, Priority: 0, Table: 255, Action: fib.RuleToTable},
		{Family: fib.FamilyIPv4, Priority: 32766, Table: 254, Action: fib.RuleToTable},
		{Family: fib.FamilyIPv4, Priority: 32767, Table: 253, Action: fib.RuleToTable},
		{Family: fib.FamilyIPv6, Priority: 32766, Table: 254, Action: fib.RuleToTable},
	}
}

// Address returns the address in fib's terms; ok is false while the interface does
// not exist.
func (l Links) Address(a domain.Address) (out fib.Address, ok bool) {
	index, ok := l[a.Link]
	// Nobody else has our addresses, and a router that waits for duplicate
	// address detection is not there for a guest that boots.
	out = fib.Address{IfIndex: index, Prefix: a.Prefix, NoDAD: a.Prefix.Addr().Is6(), NoPrefixRoute: a.NoPrefixRoute}
	if a.LinkScope {
		out.Scope = fib.ScopeLink
	}
	return out, ok
}

// Neighbor returns the neighbour in fib's terms; ok is false while the interface does not
// exist.
func (l Links) Neighbor(n domain.Neighbor) (out fib.Neighbor, ok bool) {
	index, ok := l[n.Link]
	return fib.Neighbor{IfIndex: index, Addr: n.Addr, MAC: n.MAC}, ok
}

// Learned gives a foreign route in domain's terms; name gives an interface's name.
// Routes whose interfaces are unknown are refused.
func Learned(r fib.Learned, name func(index int) (string, bool)) (domain.Learned, bool) {
	l := domain.Learned{Metric: r.Metric, LinkScope: r.Scope == fib.ScopeLink}
	for _, n := range r.NextHops {
		link, ok := name(n.IfIndex)
		if !ok {
			return l, false
		}
		l.NextHops = append(l.NextHops, domain.NextHop{Gateway: n.Gateway, Link: link, OnLink: n.OnLink})
	}
	return l, len(l.NextHops) > 0
}
