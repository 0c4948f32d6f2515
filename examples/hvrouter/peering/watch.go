package peering

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Way is what fails together: the gateways of one family that a domain has on one
// link.
type Way struct {
	Domain string
	IPv6   bool
	Link   string
}

// covers reports whether a gateway on a link is one of the way.
func (w Way) covers(link string, gateway netip.Addr) bool {
	return link == w.Link && gateway.Is6() == w.IPv6
}

// alternative reports whether o leads to the same destinations over another link.
func (w Way) alternative(o Way) bool {
	return w.Link != o.Link && w.IPv6 == o.IPv6 && w.Domain == o.Domain
}

// Watch says what dies with a BFD session: its ways, unless another session that
// watches them is up.
type Watch struct {
	Key    bfd.Key
	Domain string // one of those that the BGP session's speaker serves
	Ways   []Way
	// Peer is the BGP session that ends. It is zero for the probe of a way: there the
	// sessions stay, and the way is not announced any more.
	Peer bgp.PeerKey
	// Wide tells that the BGP session also has ways that the BFD session says nothing
	// about.
	Wide bool
	// Config is what BFD is to do.
	Config bfd.SessionConfig
}

// Probe reports whether the session watches a way rather than a BGP session.
func (w Watch) Probe() bool { return w.Peer == bgp.PeerKey{} }

// Watches lists the watched sessions of a configuration, none twice. A session speaks
// for the gateways of all families and domains whose next hops run over its link, and
// for those of its other ways that have no probe; a probe speaks for its way.
func Watches(c *config.Config) []Watch {
	var out, probes []Watch
	add := func(r config.Reflector, domain string) {
		w, ok, more := watchesOf(c, r, domain)
		if ok {
			out = append(out, w)
		}
		probes = append(probes, more...)
	}
	for _, r := range c.Sessions {
		add(r, "")
	}
	for _, d := range c.Domains {
		for _, r := range d.Reflectors {
			add(r, d.Name)
		}
	}
	for _, p := range probes {
		i := slices.IndexFunc(out, func(o Watch) bool { return o.Key == p.Key })
		if i < 0 {
			out = append(out, p)
			continue
		}
		// Two sessions have the way, or what one of them probes is the peer of the other.
		for _, way := range p.Ways {
			if !out[i].watches(way) {
				out[i].Ways = append(slices.Clip(out[i].Ways), way)
			}
		}
	}
	return out
}

// watchesOf returns the watch of one session, unless it has no BFD, and those of its
// probes.
func watchesOf(c *config.Config, r config.Reflector, domain string) (w Watch, ok bool, probes []Watch) {
	ways, n := r.NextHopsOf(domain), c.NetNSOf(r, domain)
	w = Watch{Domain: ways[0].Domain, Peer: SessionKey(r)}
	for _, way := range ways {
		mine := waysOf(way)
		s, ok := Probe(c, n, way)
		if !ok {
			w.Ways = append(w.Ways, mine...)
			continue
		}
		w.Wide = true
		probes = append(probes, Watch{Key: s.Key, Domain: way.Domain, Ways: mine, Config: s})
	}
	s, ok := BFD(c, n, r)
	w.Key, w.Config = s.Key, s
	return w, ok, probes
}

func waysOf(w config.NextHop) (ways []Way) {
	v4, v6 := w.Families()
	if v4 {
		ways = append(ways, Way{Domain: w.Domain, Link: w.Interface})
	}
	if v6 {
		ways = append(ways, Way{Domain: w.Domain, IPv6: true, Link: w.Interface})
	}
	return ways
}

// watches reports whether the session speaks for a way.
func (w Watch) watches(way Way) bool { return slices.Contains(w.Ways, way) }

// Alone returns the ways for which no other session in the list speaks that is up.
func (w Watch) Alone(all []Watch, up func(bfd.Key) bool) Ways {
	return slices.DeleteFunc(slices.Clone(w.Ways), func(way Way) bool {
		return slices.ContainsFunc(all, func(o Watch) bool { return o.Key != w.Key && o.watches(way) && up(o.Key) })
	})
}

// Ways are several.
type Ways []Way

// Cover reports whether a gateway on a link is one of them.
func (ws Ways) Cover(link string, gateway netip.Addr) bool {
	return slices.ContainsFunc(ws, func(w Way) bool { return w.covers(link, gateway) })
}
