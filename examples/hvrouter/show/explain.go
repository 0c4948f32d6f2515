package show

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
)

// Rules are the policy rules of a namespace.
type Rules struct {
	NetNS config.NetNS
	List  []domain.Rule
}

// Explain says what each domain knows of a prefix, or of the longest prefix that covers it, and
// which rules lead there.
func Explain(p netip.Prefix, domains []Domain, rules []Rules) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, d := range domains {
		found, ok := d.RIB.Longest(p)
		if !ok {
			say("%s: nothing is known that covers %v", d.Name, p)
			continue
		}
		say("%s: %v%s", d.Name, found, inNetNS(" in netns %s", d.NetNS))
		s, routes := d.RIB.Explain(found)
		if s.Local != nil {
			say("  local: %s; local beats everything else", announcedAs(d, found, s.Local.LocalPref))
		}
		for _, l := range s.Learned {
			say("  learned: a foreign route with metric %d is in the table, and announced", l.Metric)
		}
		if n := d.OffLink[found]; n > 0 {
			say("  BGP: %d next hops are on no link of the domain and not used", n)
		}
		for _, path := range d.Paths(found) {
			say("  BGP path: rank %d, next hop %v, from %v%s", path.Rank, path.NextHop.Addr, path.Peer, mark(path.Local, " (our own)")+mark(path.Stale, " (stale)"))
		}
		for _, route := range routes {
			say("  kernel, table %d: %v", route.Table, route)
		}
	}
	for _, n := range rules {
		for _, rule := range n.List {
			if rule.IPv6 == p.Addr().Is6() {
				say("%srule %v", inNetNS("netns %s: ", n.NetNS), rule)
			}
		}
	}
	return lines
}

// inNetNS formats the name of a namespace; the daemon's own has none, and is not named.
func inNetNS(format string, n config.NetNS) string {
	if n == "" {
		return ""
	}
	return fmt.Sprintf(format, string(n))
}

// announcedAs says how a local prefix is announced, or why it is not.
func announcedAs(d Domain, p netip.Prefix, pref uint32) string {
	announced, why := d.Exports.Status(p)
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
