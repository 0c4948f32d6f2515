package daemon

import (
	"maps"
	"strings"
	"sync"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// ways is what is known of the liveness of a speaker's ways. It is safe for concurrent
// use.
//
// A way that its probe says is dead is not announced, and not used where a prefix has
// another. One whose probe was never up is dead, too, unless we continue where an
// earlier run stopped: then it is believed in until the probe had time to come up.
type ways struct {
	mu    sync.Mutex
	dead  map[peering.Way]bool // by BFD
	down  map[string]bool      // links without carrier
	again chan struct{}        // the gateways are to be looked at once more
}

func newWays() *ways {
	return &ways{dead: map[peering.Way]bool{}, down: map[string]bool{}, again: make(chan struct{}, 1)}
}

// set notes that ways died or live again, and reports whether that is new.
func (w *ways) set(list []peering.Way, dead bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, way := range list {
		news = news || w.dead[way] != dead
		if dead {
			w.dead[way] = true
		} else {
			delete(w.dead, way)
		}
	}
	return news
}

// carrier notes that a link has lost its carrier or has it again, and reports whether
// that is new.
func (w *ways) carrier(link string, down bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = w.down[link] != down
	if down {
		w.down[link] = true
	} else {
		delete(w.down, link)
	}
	return news
}

// ring rings the bell for [speaker.watch].
func (w *ways) ring() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// snapshot returns what is dead now: ways, and links.
func (w *ways) snapshot() deaths {
	w.mu.Lock()
	defer w.mu.Unlock()
	return deaths{maps.Clone(w.dead), maps.Clone(w.down)}
}

// deaths are dead ways and links. The zero value has none.
type deaths struct {
	ways  map[peering.Way]bool
	links map[string]bool
}

func (d deaths) none() bool { return len(d.ways) == 0 && len(d.links) == 0 }

func (d deaths) has(w peering.Way) bool { return d.links[w.Link] || d.ways[w] }

// announced reports whether a way is to be announced: in both families, or in that which
// lives.
func (d deaths) announced(list []peering.Announced) (alive []peering.Announced) {
	for _, a := range list {
		for i := range a.NextHops {
			if d.has(peering.Way{Domain: a.Domain, Link: a.Link, IPv6: i == 1}) {
				a.NextHops[i].Addr = a.NextHops[i].LinkLocal // the zero Addr
			}
		}
		alive = append(alive, a)
	}
	return alive
}

// serves names the domains of a speaker.
func (s *speaker) serves() string {
	names := make([]string, len(s.members))
	for i, m := range s.members {
		names[i] = m.Domain
	}
	return strings.Join(names, ",")
}

// waysOf tells how the ways of a session are that has several.
func (s *speaker) waysOf(c *config.Config, r config.Reflector, bfds map[bfd.Key]bfd.Status) (list []api.Way) {
	if len(r.AdvertiseNextHops) == 0 {
		return nil
	}
	dead := s.ways.snapshot()
	own := ""
	if len(s.members) == 1 {
		own = s.members[0].Domain
	}
	for _, w := range r.NextHopsOf(own) {
		v4, v6 := w.Families()
		has := func(six bool) bool { return dead.has(peering.Way{Domain: w.Domain, Link: w.Interface, IPv6: six}) }
		out := api.Way{Domain: w.Domain, Fabric: w.Fabric, Interface: w.Interface, NextHop4: w.NextHop4.Addr, NextHop6: w.NextHop6.Addr,
			Probe: w.Probe.Addr, BFD: "off", Alive: v4 && !has(false) || v6 && !has(true)}
		if p, ok := peering.Probe(c, c.NetNSOf(r, own), w); ok {
			if b, ok := bfds[p.Key]; ok {
				out.BFD = b.State.String()
			}
		}
		list = append(list, out)
	}
	return list
}

// living leaves out the next hops over dead ways, unless that leaves none: then nothing
// better is known. It works in place.
func (g *routing) living(hops []domain.NextHop) []domain.NextHop {
	if g.deaths.none() {
		return hops
	}
	alive := make([]domain.NextHop, 0, len(hops))
	for _, h := range hops {
		if !g.deaths.has(peering.Way{Domain: g.name, Link: h.Link, IPv6: h.Gateway.Is6()}) {
			alive = append(alive, h)
		}
	}
	if len(alive) == 0 {
		return hops
	}
	return append(hops[:0], alive...)
}

// probed lists the ways of a speaker that probes watch.
func probed(c *config.Config, members []peering.Member) (list []peering.Way) {
	for _, w := range peering.Watches(c) {
		if w.Probe() && serves(members, w.Domain) {
			list = append(list, w.Ways...)
		}
	}
	return list
}

func serves(members []peering.Member, name string) bool {
	for _, m := range members {
		if m.Domain == name {
			return true
		}
	}
	return false
}
