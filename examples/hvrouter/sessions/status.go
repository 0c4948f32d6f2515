package sessions

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Status is a session of the configuration as it is now.
type Status struct {
	Domains   string // that it serves, with commas between them
	NetNS     config.NetNS
	Reflector config.Reflector // as it is configured
	Peer      bgp.PeerStatus   // zero: the peer is not configured yet
	NextHops  []NextHop        // if it has several
	// Advertised counts, by family, the paths that are advertised in the session.
	Advertised map[wire.Family]int
	Disabled   *Disabled // nil: it is not
}

// NextHop is a next hop that a session advertises.
type NextHop struct {
	config.NextHop
	Own   string // the domain that alone has the session, "" if several share it
	Alive bool   // in one of its families at least
}

// Status returns the sessions of a configuration.
func (s *Speakers) Status(c *config.Config) []Status { return s.states(c, true) }

// States is Status without Advertised, for which all that is advertised is gone through.
func (s *Speakers) States(c *config.Config) []Status { return s.states(c, false) }

func (s *Speakers) states(c *config.Config, count bool) (list []Status) {
	for _, dom := range c.Domains {
		m, ok := s.member(dom.Name)
		if !ok || m.no > 0 {
			continue // listed with the first domain that shares the sessions
		}
		names := make([]string, len(m.members))
		for i, one := range m.members {
			names[i] = one.Domain
		}
		peers, disabled := m.status(), m.disabled()
		sessions, _ := c.SessionsOf(dom)
		for _, r := range sessions {
			k := peering.SessionKey(r)
			one := Status{Domains: strings.Join(names, ","), NetNS: c.NetNSOf(r, dom.Name), Reflector: r,
				Peer: peers[k], NextHops: m.nextHopsOf(r)}
			if count {
				one.Advertised = m.countAdvertised(peers[k])
			}
			if d, off := disabled[k]; off {
				one.Disabled = &d
			}
			list = append(list, one)
		}
	}
	return list
}

// disabled returns the sessions that are disabled; they are not to be changed.
func (s *speaker) disabled() map[bgp.PeerKey]Disabled {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.disabled
}

func (s *speaker) countAdvertised(p bgp.PeerStatus) map[wire.Family]int {
	counts := map[wire.Family]int{}
	for _, f := range p.Families {
		if all, err := s.bgp.AllAdvertised(p.Key, f.Family); err == nil {
			for range all {
				counts[f.Family]++
			}
		}
	}
	return counts
}

// Received yields the paths of a family that a session's peer announced and that were accepted, in
// no order.
func (s *Speakers) Received(k bgp.PeerKey, f wire.Family) iter.Seq2[netip.Prefix, rib.Path] {
	return func(yield func(netip.Prefix, rib.Path) bool) {
		for _, one := range s.all() {
			if _, err := one.bgp.Peer(k); err != nil {
				continue
			}
			for c := range one.bgp.Table().All(f) {
				for _, p := range c.Paths {
					if p.Peer == k.Addr && !p.Local && !yield(c.Prefix, p) {
						return
					}
				}
			}
		}
	}
}

// Refused yields what a session's peer announces in a family and is refused, sorted, as far as it is kept.
func (s *Speakers) Refused(k bgp.PeerKey, f wire.Family) iter.Seq[rib.RefusedRoute] {
	return func(yield func(rib.RefusedRoute) bool) {
		for _, one := range s.all() {
			all, _, err := one.bgp.Refused(k, f)
			if err != nil {
				continue
			}
			for _, r := range all {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Advertised yields what is advertised to a session's peer, in no order.
func (s *Speakers) Advertised(k bgp.PeerKey, f wire.Family) iter.Seq[rib.Advert] {
	return func(yield func(rib.Advert) bool) {
		for _, one := range s.all() {
			all, err := one.bgp.AllAdvertised(k, f)
			if err != nil {
				continue
			}
			for a := range all {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// Peer is a session of a domain, and what of one prefix, or of one MAC, is advertised in it.
type Peer struct {
	Reflector config.Reflector
	Status    bgp.PeerStatus // zero: the peer is not configured yet
	Adverts   []rib.Advert   // the domain's own
	// Asked are the route targets of which the peer is asked for routes, if it takes route target constraint and the
	// question is about a MAC.
	Asked []wire.ExtCommunity
}

// Peers returns the sessions of a domain, and what of one prefix is advertised in each.
func (s *Speakers) Peers(c *config.Config, name string, p netip.Prefix) []Peer {
	return s.peers(c, name, func(m Member, k bgp.PeerKey) []rib.Advert {
		list, _ := m.bgp.Advertised(k, p) // it is not configured yet: nothing
		return list
	})
}

// PeersOfMAC is Peers for the routes of type 2 of EVPN with a route distinguisher and a MAC. It looks at all that are
// advertised, which are those of guests that are here.
func (s *Speakers) PeersOfMAC(c *config.Config, name string, rd evpn.RD, mac evpn.MAC) []Peer {
	list := s.peers(c, name, func(m Member, k bgp.PeerKey) (list []rib.Advert) {
		all, err := m.bgp.AllAdvertised(k, wire.L2VPNEVPN)
		if err != nil {
			return nil
		}
		for a := range all {
			if r, err := evpn.Parse(a.Attrs.EVPN(a.Key).Octets); err == nil && r.Type == evpn.TypeMACIP && r.RD == rd && r.MAC == mac {
				list = append(list, a)
			}
		}
		return list
	})
	for i := range list {
		for a := range s.Advertised(peering.SessionKey(list[i].Reflector), wire.RTConstrain) {
			if m, ok := wire.MembershipOfKey(a.Key); ok && m.Single() {
				list[i].Asked = append(list[i].Asked, m.Target)
			}
		}
	}
	return list
}

func (s *Speakers) peers(c *config.Config, name string, adverts func(Member, bgp.PeerKey) []rib.Advert) (list []Peer) {
	m, ok := s.member(name)
	d := c.Domain(name)
	if !ok || d == nil {
		return nil
	}
	peers := m.status()
	all, _ := c.SessionsOf(*d)
	for _, r := range all {
		key := peering.SessionKey(r)
		list = append(list, Peer{Reflector: r, Status: peers[key], Adverts: adverts(m, key)})
	}
	return list
}

// nextHopsOf returns how the next hops of a session are that has several.
func (s *speaker) nextHopsOf(r config.Reflector) (list []NextHop) {
	if len(r.AdvertiseNextHops) == 0 {
		return nil
	}
	own := ""
	if len(s.members) == 1 {
		own = s.members[0].Domain
	}
	dead := s.nextHops.Dead()
	for _, hop := range r.NextHopsOf(own) {
		v4, v6 := hop.Families()
		has := func(six bool) bool {
			return dead.Has(peering.NextHop{Domain: hop.Domain, Link: hop.Interface, IPv6: six})
		}
		list = append(list, NextHop{NextHop: hop, Own: own, Alive: v4 && !has(false) || v6 && !has(true)})
	}
	return list
}
