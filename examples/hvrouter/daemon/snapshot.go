package daemon

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/discovery"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
)

// pathsOf returns a domain's BGP paths to exactly one prefix.
type pathsOf func(domain string, p netip.Prefix) []rib.Path

// peersOf returns a domain's sessions, and what of exactly one prefix is advertised in each.
type peersOf func(c *config.Config, domain string, p netip.Prefix) []sessions.Peer

// shown returns the domains to be shown, in the order of the file.
func shown(r *router, paths pathsOf) (list []show.Domain) {
	for g := range r.all {
		list = append(list, show.Domain{Name: g.name, NetNS: g.namespace.NetNS(), RIB: g.rib, Exports: g.exports, OffLink: g.offLink,
			Paths: func(p netip.Prefix) []rib.Path { return paths(g.name, p) }})
	}
	return list
}

// explain says what each domain knows of a prefix.
func explain(r *router, p netip.Prefix, paths pathsOf, peers peersOf) []string {
	domains := shown(r, paths)
	for i, d := range domains {
		domains[i].Peers = func(p netip.Prefix) []sessions.Peer { return peers(r.cfg, d.Name, p) }
	}
	return show.Explain(p, domains)
}

// neighboursAt joins what the kernel of a namespace has with what was found, which is only about
// guests.
func neighboursAt(r *router, n *netns.Namespace, kernel []netns.Neighbour) []api.Neighbour {
	t := show.NeighbourTables{Kernel: kernel, Link: n.Links().Name}
	if n == r.home() {
		t.Found = found(r.findings.Addresses())
		t.Guests = r.attached.sorted()
	}
	return show.Neighbours(t)
}

// found are addresses that were found, to be shown.
func found(list []discovery.Address) (out []show.Found) {
	for _, a := range list {
		one := show.Found{Addr: a.Addr, IfIndex: a.IfIndex, MAC: a.MAC, Since: a.Since}
		if c := a.Conflict; c != nil {
			one.Conflict = &show.Conflict{IfIndex: c.IfIndex, MAC: c.MAC, Time: a.ConflictTime}
		}
		out = append(out, one)
	}
	return out
}

// status returns the part of the status that the loop knows.
func (r *router) status() api.Status {
	s := api.Status{Converged: r.converged, Reloaded: r.reloaded, NotOnLink: r.offLink}
	s.NotAnnounced, s.Withdrawn = notAnnounced(r)
	s.NoNeighbor = r.finders.none(r.cfg)
	strays := r.edge.Strays()
	s.Malformed, s.DHCPDropped = strays.Malformed, strays.DHCPAnswers
	s.Repairs, s.Contended, s.Differences = map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	for _, n := range r.namespaces {
		repairs, contended := n.Repairs()
		for kind, count := range repairs {
			s.Repairs[kind] += count
		}
		for kind, count := range contended {
			s.Contended[kind] += count
		}
		differences, recent := n.Differences(r.now().Add(-differenceTime))
		for kind, count := range differences {
			s.Differences[kind] += count
		}
		for _, what := range recent {
			s.DifferencesNow = append(s.DifferencesNow, n.Where("netns ", ": ")+what)
		}
		for _, key := range n.Contended(r.now().Add(-contendedTime)) {
			s.ContendedNow = append(s.ContendedNow, n.Where("netns ", ": ")+key)
		}
		if err := n.FirewallError(); err != nil {
			what := n.Where("netns ", ": ") + err.Error()
			if w := n.Waiting(); len(w) > 0 {
				what += "; without it there is no gateway of " + strings.Join(w, ", ")
			}
			s.FirewallErrors = append(s.FirewallErrors, what)
		}
		stats := n.Kernel().Stats()
		s.RoutesFailed += stats.Failed
		s.AuditRounds += stats.AuditRounds
		s.AuditTime += stats.AuditTime.Seconds()
		s.Foreign = append(s.Foreign, r.foreign[n].list...)
	}
	s.OverlayErrors = r.overlayErrors()
	s.EVPN = show.EVPNStatus(r.evpn.core.Counts())
	if what := r.unread.String(); what != "" {
		s.Unread = []string{what}
	}
	for _, m := range r.guests.LostMoves() {
		s.MovesKept = append(s.MovesKept, fmt.Sprintf("%v (until %s)", m.Moved, m.Until.Format(time.RFC3339)))
	}
	return s
}

// overlayErrors returns why overlays are not in line, one each.
func (r *router) overlayErrors() (list []string) {
	for _, o := range r.cfg.Overlays {
		if err := cmp.Or(r.evpn.stand[o.Name], r.edge.Refused(o.Name)); err != nil {
			list = append(list, o.Name+": "+err.Error())
		}
	}
	return list
}

// contendedTime is how long another program that undid our repairs counts as doing so still: repairs
// are delayed for 30 s at most.
const contendedTime = 5 * time.Minute

// differenceTime is for how long `show health` tells of what the kernel's audit has found.
const differenceTime = 10 * time.Minute

// writes counts the messages to a kernel that have changed it.
func writes(k netns.Kernel) uint64 {
	s := k.Stats()
	return s.Adds + s.Replaces + s.Deletes + s.ObjectWrites + s.RuleWrites
}

// notAnnounced counts the prefixes of each domain that should be announced and are not, and those
// that were withdrawn because the kernel had lost them.
func notAnnounced(r *router) (held map[string]int, withdrawn map[string]uint64) {
	held, withdrawn = map[string]int{}, map[string]uint64{}
	for name, g := range r.domains {
		held[name], withdrawn[name] = g.exports.Held(), g.exports.Withdrawn()
	}
	return held, withdrawn
}
