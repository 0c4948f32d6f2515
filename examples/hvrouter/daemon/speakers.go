package daemon

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// speakers is every domain's share, by name.
type speakers map[string]member

// each yields every speaker once.
func (s speakers) each(yield func(*speaker) bool) {
	for _, m := range s {
		if m.no == 0 && !yield(m.speaker) {
			return
		}
	}
}

// lookup gives a domain's paths to a prefix, best first.
func (s speakers) lookup(name string, p netip.Prefix) []rib.Path {
	m := s[name]
	return m.members[m.no].Of(m.Table().Lookup(p), nil)
}

// PathDown implements [failover.Paths].
func (s speakers) PathDown(w peering.Watch, remoteC bool) {
	s.mark(w, true)
	if w.Probe() {
		return
	}
	d := s[w.Domain]
	why := bgp.PathFailureBFDDown
	if remoteC && d.cBit {
		why = bgp.PathFailureBFDDownIndependent
	}
	d.report(w.Peer, d.Speaker.PathDown(w.Peer, why))
}

// PathUp implements [failover.Paths].
func (s speakers) PathUp(w peering.Watch) {
	s.mark(w, false)
	if !w.Probe() {
		d := s[w.Domain]
		d.report(w.Peer, d.Speaker.PathUp(w.Peer))
	}
}

// mark notes what a watch says about the next hops of speakers that have several.
func (s speakers) mark(w peering.Watch, dead bool) {
	for d := range s.each {
		var mine []peering.NextHop
		for _, hop := range w.NextHops {
			if serves(d.members, hop.Domain) {
				mine = append(mine, hop)
			}
		}
		if d.wide && d.nextHops.Set(mine, dead) {
			d.updateNextHops()
		}
	}
}

// LinkDown tells every speaker of a namespace that an interface lost its carrier.
func (s speakers) LinkDown(n config.NetNS, name string) {
	for d := range s.each {
		if d.netns != n {
			continue
		}
		if n := d.Speaker.LinkDown(name); n > 0 {
			d.log.Warn("carrier lost", "event", "carrier-lost", "domain", d.name, "interface", name, "sessions", n)
		}
		if d.wide && d.nextHops.Carrier(name, true) {
			d.updateNextHops()
		}
	}
}

// LinkUp tells them that it has its carrier again.
func (s speakers) LinkUp(n config.NetNS, name string) {
	for d := range s.each {
		if d.netns == n && d.wide && d.nextHops.Carrier(name, false) {
			d.updateNextHops()
		}
	}
}

// probed lists the next hops of a speaker that probes watch.
func probed(c *config.Config, members []peering.Member) (list []peering.NextHop) {
	for _, w := range peering.Watches(c) {
		if w.Probe() && serves(members, w.Domain) {
			list = append(list, w.NextHops...)
		}
	}
	return list
}

func serves(members []peering.Member, name string) bool {
	return slices.ContainsFunc(members, func(m peering.Member) bool { return m.Domain == name })
}

// serves names the domains of a speaker.
func (s *speaker) serves() string {
	names := make([]string, len(s.members))
	for i, m := range s.members {
		names[i] = m.Domain
	}
	return strings.Join(names, ",")
}
