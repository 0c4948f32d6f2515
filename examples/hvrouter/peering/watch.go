package peering

import (
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// NextHop is what fails together: the gateways of one family that a domain has on one
// link, or one of them.
type NextHop struct {
	Domain  string
	IPv6    bool
	Link    string
	Gateway netip.Addr // the only one, without a zone; the zero Addr: all of the link
}

// covers reports whether a gateway on a link is one of the next hop.
func (w NextHop) covers(link string, gateway netip.Addr) bool {
	return link == w.Link && gateway.Is6() == w.IPv6 && (w.Gateway == gateway || !w.Gateway.IsValid())
}

// overlaps reports whether a gateway may be one of both.
func (w NextHop) overlaps(o NextHop) bool {
	return w.Link == o.Link && w.IPv6 == o.IPv6 && w.Domain == o.Domain &&
		(w.Gateway == o.Gateway || !w.Gateway.IsValid() || !o.Gateway.IsValid())
}

// alternative reports whether o leads to the same destinations by other gateways.
func (w NextHop) alternative(o NextHop) bool {
	return w.IPv6 == o.IPv6 && w.Domain == o.Domain && !w.overlaps(o)
}

// Watch says what dies with a BFD session: its next hops, unless another session that
// watches them is up.
type Watch struct {
	Key      bfd.Key
	Domain   string // one of those that the BGP session's speaker serves
	NextHops []NextHop
	// Peer is the BGP session that ends. It is zero for the probe of a next hop: there the
	// sessions stay, and the next hop is not announced any more.
	Peer bgp.PeerKey
	// Wide tells that the BGP session also has next hops that the BFD session says nothing
	// about.
	Wide bool
	// Config is what BFD is to do.
	Config bfd.SessionConfig
}

// Probe reports whether the session watches a next hop rather than a BGP session.
func (w Watch) Probe() bool { return w.Peer == bgp.PeerKey{} }

// Watches lists the watched sessions of a configuration, none twice. A session speaks
// for the gateways of all families and domains whose next hops run over its link, and
// for those of its other next hops that have no probe; a probe speaks for its next hop. A session with a
// link-local neighbour speaks for that one alone: there may be others on the link, which announce themselves as
// next hops, too.
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
		for _, r := range d.Sessions() {
			add(r, d.Name)
		}
	}
	for _, p := range probes {
		i := slices.IndexFunc(out, func(o Watch) bool { return o.Key == p.Key })
		if i < 0 {
			out = append(out, p)
			continue
		}
		// Two sessions have the next hop, or what one of them probes is the peer of the other.
		for _, hop := range p.NextHops {
			if !out[i].watches(hop) {
				out[i].NextHops = append(slices.Clip(out[i].NextHops), hop)
			}
		}
	}
	return out
}

// watchesOf returns the watch of one session, unless it has no BFD, and those of its
// probes.
func watchesOf(c *config.Config, r config.Reflector, domain string) (w Watch, ok bool, probes []Watch) {
	hops, n := r.NextHopsOf(domain), c.NetNSOf(r, domain)
	w = Watch{Domain: hops[0].Domain, Peer: SessionKey(r)}
	for _, hop := range hops {
		mine := nextHopsOf(hop)
		if peer := r.Peer.Addr; peer.Is6() && peer.IsLinkLocalUnicast() {
			mine = []NextHop{{Domain: hop.Domain, IPv6: true, Link: hop.Interface, Gateway: peer.WithZone("")}}
		}
		s, ok := Probe(c, n, hop)
		if !ok {
			w.NextHops = append(w.NextHops, mine...)
			continue
		}
		w.Wide = true
		probes = append(probes, Watch{Key: s.Key, Domain: hop.Domain, NextHops: mine, Config: s})
	}
	s, ok := BFD(c, n, r)
	w.Key, w.Config = s.Key, s
	return w, ok, probes
}

func nextHopsOf(w config.NextHop) (hops []NextHop) {
	v4, v6 := w.Families()
	if v4 {
		hops = append(hops, NextHop{Domain: w.Domain, Link: w.Interface})
	}
	if v6 {
		hops = append(hops, NextHop{Domain: w.Domain, IPv6: true, Link: w.Interface})
	}
	return hops
}

// watches reports whether the session speaks for a next hop.
func (w Watch) watches(hop NextHop) bool { return slices.ContainsFunc(w.NextHops, hop.overlaps) }

// Alone returns the next hops for which no other session in the list speaks that is up.
func (w Watch) Alone(all []Watch, up func(bfd.Key) bool) NextHops {
	return slices.DeleteFunc(slices.Clone(w.NextHops), func(hop NextHop) bool {
		return slices.ContainsFunc(all, func(o Watch) bool { return o.Key != w.Key && o.watches(hop) && up(o.Key) })
	})
}

// NextHops are several.
type NextHops []NextHop

// Cover reports whether a gateway on a link is one of them.
func (ws NextHops) Cover(link string, gateway netip.Addr) bool {
	return slices.ContainsFunc(ws, func(w NextHop) bool { return w.covers(link, gateway) })
}
