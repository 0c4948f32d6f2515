package sessions

import (
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
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
}

// NextHop is a next hop that a session advertises.
type NextHop struct {
	config.NextHop
	Own   string // the domain that alone has the session, "" if several share it
	Alive bool   // in one of its families at least
}

// Status returns the sessions of a configuration.
func (s *Speakers) Status(c *config.Config) (list []Status) {
	for _, dom := range c.Domains {
		m := s.domains[dom.Name]
		if m.no > 0 {
			continue // listed with the first domain that shares the sessions
		}
		names := make([]string, len(m.members))
		for i, one := range m.members {
			names[i] = one.Domain
		}
		peers := m.status()
		sessions, _ := c.SessionsOf(dom)
		for _, r := range sessions {
			list = append(list, Status{Domains: strings.Join(names, ","), NetNS: c.NetNSOf(r, dom.Name), Reflector: r,
				Peer: peers[peering.SessionKey(r)], NextHops: m.nextHopsOf(r)})
		}
	}
	return list
}

// Peer is a session of a domain, and what of one prefix is advertised in it.
type Peer struct {
	Reflector config.Reflector
	Status    bgp.PeerStatus // zero: the peer is not configured yet
	Adverts   []rib.Advert   // the domain's own
}

// Peers returns the sessions of a domain.
func (s *Speakers) Peers(c *config.Config, name string, p netip.Prefix) (list []Peer) {
	m, d := s.domains[name], c.Domain(name)
	if m.speaker == nil || d == nil {
		return nil
	}
	peers := m.status()
	all, _ := c.SessionsOf(*d)
	for _, r := range all {
		key := peering.SessionKey(r)
		one := Peer{Reflector: r, Status: peers[key]}
		one.Adverts, _ = m.bgp.Advertised(key, p) // it is not configured yet: nothing
		list = append(list, one)
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
