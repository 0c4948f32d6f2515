package daemon

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// lookup gives a domain's BGP paths to exactly one prefix.
type lookup func(domain string, p netip.Prefix) []rib.Path

// explain says what each domain knows of a prefix, or of the longest prefix that
// covers it, and which rules lead there.
func (r *router) explain(p netip.Prefix, paths lookup) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, name := range r.order {
		g := r.domains[name]
		found, ok := g.rib.Longest(p)
		if !ok {
			say("%s: nothing is known that covers %v", name, p)
			continue
		}
		say("%s: %v%s", name, found, g.namespace.Where(" in netns "))
		s, routes := g.rib.Explain(found)
		if s.Local != nil {
			say("  local: %s; local beats everything else", announcedAs(g, found, s.Local.LocalPref))
		}
		for _, l := range s.Learned {
			say("  learned: a foreign route with metric %d is in the table, and announced", l.Metric)
		}
		if n := g.refused[found]; n > 0 {
			say("  BGP: %d next hops are on no link of the domain and not used", n)
		}
		for _, path := range paths(name, found) {
			say("  BGP path: rank %d, next hop %v, from %v%s", path.Rank, path.NextHop.Addr, path.Peer, mark(path.Local, " (our own)")+mark(path.Stale, " (stale)"))
		}
		for _, route := range routes {
			say("  kernel, table %d: %v", route.Table, route)
		}
	}
	for _, n := range r.namespaces {
		for _, rule := range n.Rules(p.Addr().Is6()) {
			say("%srule %v", n.Where("netns ", ": "), rule)
		}
	}
	return lines
}

// announcedAs says how a local prefix is announced, or why it is not.
func announcedAs(g *routing, p netip.Prefix, pref uint32) string {
	announced, why := g.exports.Status(p)
	if announced {
		return fmt.Sprintf("announced with local-pref %d", pref)
	}
	return "not announced: " + why
}

func mark(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

// move changes a guest of any source: one that came from a file is taken over by
// the API until the file says otherwise.
func move(in *guest.Inventory, name string, m api.Move) error {
	g, source, ok := in.Find(name)
	if !ok {
		return fmt.Errorf("guest %s: %w", name, api.ErrNotFound)
	}
	if m.LocalPref != nil {
		g.LocalPref = *m.LocalPref
	}
	if m.Down != nil {
		g.Down = *m.Down
	}
	in.Change(source, g)
	return nil
}
