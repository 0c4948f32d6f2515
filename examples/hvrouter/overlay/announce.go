package overlay

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// What is in this file is what an overlay says to others.

// setReady takes whether the device is there.
func (s *segment) setReady(ready bool, fx *Effects) {
	if ready == s.ready {
		return
	}
	s.ready = ready
	s.speak(fx)
}

// setDrain takes how the host is drained.
func (s *segment) setDrain(drained, silent bool, fx *Effects) {
	if drained == s.drained && silent == s.silent {
		return
	}
	s.drained, s.silent = drained, silent
	s.speak(fx)
}

// speak announces everything, or withdraws it.
func (s *segment) speak(fx *Effects) {
	if !s.ready || s.silent {
		s.silence(fx)
		return
	}
	s.originate(s.origin(s.multicast()), fx)
	for _, mac := range sortedMACs(s.locals) {
		s.announce(s.locals[mac], fx)
	}
}

// silence withdraws everything.
func (s *segment) silence(fx *Effects) {
	for _, key := range slices.Sorted(maps.Keys(s.originated)) {
		fx.Routes = append(fx.Routes, Change{Key: key})
	}
	clear(s.originated)
	for _, l := range s.locals {
		l.keys = nil
	}
}

// multicast is the route of type 3. Its address is the originating router's; the tunnel ends there.
func (s *segment) multicast() evpn.Route {
	return evpn.Route{Type: evpn.TypeMulticast, IP: s.config.Local.Addr, Label: evpn.Label(s.config.VNI)}
}

// macIP is the route of type 2 for a MAC, with an address if that is valid.
func (s *segment) macIP(mac MAC, a netip.Addr) evpn.Route {
	return evpn.Route{Type: evpn.TypeMACIP, MAC: mac, IP: a, Label: evpn.Label(s.config.VNI)}
}

func (s *segment) origin(r evpn.Route) *Origin {
	r.RD = s.config.EVPN.RD.RD
	return &Origin{Route: r, VTEP: s.config.Local.Addr, LastChoice: s.drained, Targets: []wire.ExtCommunity{s.config.EVPN.RouteTarget.ExtCommunity}}
}

// announce announces a guest, or withdraws it if it is superseded: its MAC, and its MAC with each
// address.
func (s *segment) announce(l *local, fx *Effects) {
	var keys []string
	if !l.superseded && s.ready && !s.silent {
		for _, a := range append([]netip.Addr{{}}, l.Addresses...) {
			o := s.origin(s.macIP(l.MAC, a))
			o.Mobility = l.mobility
			keys = append(keys, s.originate(o, fx))
		}
	}
	s.withdraw(l, keys, fx)
}

// originate originates a route, unless it is as it is already, and returns its key.
func (s *segment) originate(o *Origin, fx *Effects) string {
	b, _ := o.Key(nil) // of what the configuration has checked
	key := string(b)
	if old := s.originated[key]; old == nil || old.Mobility != o.Mobility || old.LastChoice != o.LastChoice {
		s.originated[key] = o
		fx.Routes = append(fx.Routes, Change{key, o})
	}
	return key
}

// withdraw leaves a guest the routes with these keys.
func (s *segment) withdraw(l *local, keys []string, fx *Effects) {
	for _, key := range l.keys {
		if !slices.Contains(keys, key) {
			delete(s.originated, key)
			fx.Routes = append(fx.Routes, Change{Key: key})
		}
	}
	l.keys = keys
}
