package show

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// Explain says what each domain knows of a prefix, or of the longest prefix that covers it: why
// each path won or lost, what is to be in the kernel, and what is advertised to each peer.
func Explain(p netip.Prefix, domains []Domain) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, d := range domains {
		found, ok := d.RIB.Longest(p)
		if !ok {
			say("%s: nothing is known that covers %v", d.Name, p)
			if found = defaultRoute(p); d.Peers != nil {
				for _, peer := range d.Peers(found) {
					if originates(found, peer.Reflector) {
						say("  peer %v (fabric %s): %v %s", peer.Reflector.Peer, peer.Reflector.Fabric, found, advertised(found, false, peer))
					}
				}
			}
			continue
		}
		say("%s: %v%s", d.Name, found, inNetNS(" in netns %s", d.NetNS))
		s, routes := d.RIB.Explain(found)
		if s.Local != nil {
			say("  local: %s; local beats everything else", announcedAs(d, found))
		}
		for _, l := range s.Learned {
			say("  learned: a foreign route with metric %d is in the table, and announced", l.Metric)
		}
		if n := d.OffLink[found]; n > 0 {
			say("  BGP: %d next hops are on no link of the domain and not used", n)
		}
		for _, path := range d.Paths(found) {
			say("  BGP path: %s", pathText(path))
		}
		for _, route := range routes {
			say("  wanted in the kernel, table %d: %v", route.Table, route)
		}
		if d.Peers == nil {
			continue
		}
		for _, peer := range d.Peers(found) {
			say("  peer %v (fabric %s): %s", peer.Reflector.Peer, peer.Reflector.Fabric, advertised(found, s.Local != nil || len(s.Learned) > 0, peer))
		}
	}
	return lines
}

// defaultRoute is the default route of a prefix's family.
func defaultRoute(p netip.Prefix) netip.Prefix {
	if p.Addr().Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// originates reports whether a prefix is a default route that default-originate may announce in a session.
func originates(p netip.Prefix, r config.Reflector) bool {
	return p.Bits() == 0 && r.Neighbor != nil && r.Neighbor.DefaultOriginate != nil &&
		slices.Contains(r.Neighbor.DefaultOriginate.Families, config.FamilyOf(p.Addr()))
}

// pathText says where a path comes from, and why it is as good as it is.
func pathText(p rib.Path) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rank %d, ", p.Rank)
	if p.Local {
		b.WriteString("originated here")
	} else {
		fmt.Fprintf(&b, "next hop %v, from %v", p.NextHop.Addr, p.Peer)
	}
	if p.Stale {
		b.WriteString(" (stale)")
	}
	switch {
	case p.Lost == 0:
		b.WriteString(": the best")
	case p.Rank == 0:
		fmt.Fprintf(&b, ": as good, behind the one before by %v only", p.Lost)
	default:
		fmt.Fprintf(&b, ": lost to the one before by %v", p.Lost)
	}
	return b.String()
}

// advertised says what of a prefix a peer gets, or why it gets nothing. ours reports that it is
// ours to announce.
func advertised(p netip.Prefix, ours bool, peer sessions.Peer) string {
	st := peer.Status
	family := wire.IPv4Unicast
	if p.Addr().Is6() {
		family = wire.IPv6Unicast
	}
	switch {
	case st.State != bgp.Established:
		return notEstablished(st)
	case len(peer.Adverts) > 0:
		var words []string
		for _, a := range peer.Adverts {
			words = append(words, advertText(a))
		}
		if originates(p, peer.Reflector) && !peer.Adverts[0].From.IsValid() {
			return "advertised by default-originate: " + strings.Join(words, "; ")
		}
		return "advertised: " + strings.Join(words, "; ")
	case originates(p, peer.Reflector) && len(peer.Reflector.Neighbor.DefaultOriginate.When) > 0:
		return "not advertised: no route meets the condition of default-originate, or the host is drained"
	case originates(p, peer.Reflector):
		return "not advertised: the policy of default-originate rejects it, or the host is drained"
	case !ours:
		return "not advertised: it is not ours; what peers announce is not passed on"
	case !slices.ContainsFunc(st.Families, func(f bgp.FamilyStatus) bool { return f.Family == family }):
		return fmt.Sprintf("not advertised: the session has no %v", family)
	case slices.ContainsFunc(st.Families, func(f bgp.FamilyStatus) bool { return f.Family == family && f.NoNextHop > 0 }):
		return fmt.Sprintf("not advertised: prefixes have no next hop of %v in this session", family)
	}
	return "not advertised: no path is exported to it"
}

// notEstablished says why nothing is advertised in a session that is not up.
func notEstablished(st bgp.PeerStatus) string {
	if st.LastError != nil {
		return fmt.Sprintf("not advertised: the session is %v (%v)", st.State, st.LastError)
	}
	return fmt.Sprintf("not advertised: the session is %v", st.State)
}

func advertText(a rib.Advert) string {
	text := fmt.Sprintf("path %d", a.PathID)
	if pref, ok := a.Attrs.LocalPref(); ok {
		text += fmt.Sprintf(", LOCAL_PREF %d", pref)
	}
	return text
}

// inNetNS formats the name of a namespace; the daemon's own has none, and is not named.
func inNetNS(format string, n config.NetNS) string {
	if n == "" {
		return ""
	}
	return fmt.Sprintf(format, string(n))
}

// announcedAs says how a local prefix is announced, or why it is not.
func announcedAs(d Domain, p netip.Prefix) string {
	if a, ok := d.Exports.Announcement(p); ok {
		text := fmt.Sprintf("announced with local-pref %d", a.LocalPref)
		if a.GracefulShutdown {
			text += " and GRACEFUL_SHUTDOWN, since the host is drained"
		}
		return text
	}
	_, why := d.Exports.Status(p)
	return "not announced: " + why
}
