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

// nextHopStates is what is known of the liveness of a speaker's next hops. It is safe for
// concurrent use.
//
// A next hop that its probe says is dead is not announced, and not used where a prefix has
// another. One whose probe was never up is dead, too, unless we continue where an
// earlier run stopped: then it is believed in until the probe had time to come up.
type nextHopStates struct {
	mu    sync.Mutex
	dead  map[peering.NextHop]bool // by BFD
	down  map[string]bool          // links without carrier
	again chan struct{}            // the gateways are to be looked at once more
}

func newNextHopStates() *nextHopStates {
	return &nextHopStates{dead: map[peering.NextHop]bool{}, down: map[string]bool{}, again: make(chan struct{}, 1)}
}

// set notes that next hops died or live again, and reports whether that is new.
func (w *nextHopStates) set(list []peering.NextHop, dead bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, hop := range list {
		news = news || w.dead[hop] != dead
		if dead {
			w.dead[hop] = true
		} else {
			delete(w.dead, hop)
		}
	}
	return news
}

// carrier notes that a link has lost its carrier or has it again, and reports whether
// that is new.
func (w *nextHopStates) carrier(link string, down bool) (news bool) {
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
func (w *nextHopStates) ring() {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// snapshot returns what is dead now: next hops, and links.
func (w *nextHopStates) snapshot() deadNextHops {
	w.mu.Lock()
	defer w.mu.Unlock()
	return deadNextHops{maps.Clone(w.dead), maps.Clone(w.down)}
}

// deadNextHops are dead next hops and links. The zero value has none.
type deadNextHops struct {
	hops  map[peering.NextHop]bool
	links map[string]bool
}

func (d deadNextHops) none() bool { return len(d.hops) == 0 && len(d.links) == 0 }

func (d deadNextHops) has(w peering.NextHop) bool { return d.links[w.Link] || d.hops[w] }

// announced reports whether a next hop is to be announced: in both families, or in that which
// lives.
func (d deadNextHops) announced(list []peering.Announced) (alive []peering.Announced) {
	for _, a := range list {
		for i := range a.NextHops {
			if d.has(peering.NextHop{Domain: a.Domain, Link: a.Link, IPv6: i == 1}) {
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

// nextHopsOf tells how the next hops of a session are that has several.
func (s *speaker) nextHopsOf(c *config.Config, r config.Reflector, bfds map[bfd.Key]bfd.Status) (list []api.NextHop) {
	if len(r.AdvertiseNextHops) == 0 {
		return nil
	}
	dead := s.nextHops.snapshot()
	own := ""
	if len(s.members) == 1 {
		own = s.members[0].Domain
	}
	for _, w := range r.NextHopsOf(own) {
		v4, v6 := w.Families()
		has := func(six bool) bool { return dead.has(peering.NextHop{Domain: w.Domain, Link: w.Interface, IPv6: six}) }
		out := api.NextHop{Domain: w.Domain, Fabric: w.Fabric, Interface: w.Interface, NextHop4: w.NextHop4.Addr, NextHop6: w.NextHop6.Addr,
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

// withoutDead leaves out dead next hops, unless that leaves none: then nothing better is
// known. It works in place.
func (g *routing) withoutDead(hops []domain.NextHop) []domain.NextHop {
	if g.dead.none() {
		return hops
	}
	alive := make([]domain.NextHop, 0, len(hops))
	for _, h := range hops {
		if !g.dead.has(peering.NextHop{Domain: g.name, Link: h.Link, IPv6: h.Gateway.Is6()}) {
			alive = append(alive, h)
		}
	}
	if len(alive) == 0 {
		return hops
	}
	return append(hops[:0], alive...)
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
	for _, m := range members {
		if m.Domain == name {
			return true
		}
	}
	return false
}
