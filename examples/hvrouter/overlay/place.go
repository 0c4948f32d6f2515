package overlay

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/evpn"
)

// Place is where a MAC of an overlay should be, and what each route for it says.
type Place struct {
	VTEP netip.Addr // behind which it is; the zero Addr if it is behind none
	Port string     // the interface of the guest that is here and has it; "" if none has
	// Settled says that Port counts: everybody has said everything since the start.
	Settled   bool
	Neighbors []netip.Addr // the addresses that the kernel shall have with the MAC, sorted
	Routes    []Listed     // of type 2, ours and those of others, as they are preferred; those that cannot be used last
}

// Place returns where a MAC of an overlay should be; ok is false if that has no EVPN. It looks at all routes of others.
func (c *Core) Place(name string, mac MAC) (p Place, ok bool) {
	s := c.segments[name]
	if s == nil {
		return p, false
	}
	p = Place{VTEP: s.desired.MACs[mac], Port: s.desired.Ports[mac], Settled: s.desired.Settled}
	add := func(l Listed) {
		if p.Routes = append(p.Routes, l); l.IP.IsValid() && s.desired.Neighbors[l.IP] == mac && !slices.Contains(p.Neighbors, l.IP) {
			p.Neighbors = append(p.Neighbors, l.IP)
		}
	}
	if one := s.locals[mac]; one != nil {
		for _, l := range s.listOurs(nil) {
			if l.Type == evpn.TypeMACIP && l.MAC == mac {
				add(l)
			}
		}
	}
	var useless []Listed
	for id, r := range c.routes {
		if r.Type != evpn.TypeMACIP || r.MAC != mac || !slices.Contains(c.importers(r), s) {
			continue
		}
		l := Listed{Overlay: name, Route: r.Route, VTEP: r.VTEP, Mobility: r.Mobility, Peer: r.Peer}
		if l.State, l.Why = s.standing(id, r); s.entries[id] == nil {
			useless = append(useless, l)
			continue
		}
		add(l)
	}
	slices.SortFunc(p.Neighbors, netip.Addr.Compare)
	slices.SortFunc(p.Routes, func(a, b Listed) int {
		if here := p.Port != "" && (a.Guest != "") != (b.Guest != ""); here { // it has the MAC, also if nothing was compared yet
			return cmp.Compare(b.Guest, a.Guest)
		}
		switch {
		case better(a.Mobility, a.VTEP, b.Mobility, b.VTEP):
			return -1
		case better(b.Mobility, b.VTEP, a.Mobility, a.VTEP):
			return 1
		}
		return a.Compare(b)
	})
	slices.SortFunc(useless, Listed.Compare)
	p.Routes = append(p.Routes, useless...)
	return p, true
}

// AddressPlace is which MAC an address of an overlay should have, and what each route for it says.
type AddressPlace struct {
	MAC    MAC      // zero: none
	Routes []Listed // of type 2, ours and those of others, that of MAC first
}

// AddressPlace returns which MAC an address of an overlay should have; ok is false if that has no EVPN. It looks at all routes
// of others.
func (c *Core) AddressPlace(name string, addr netip.Addr) (p AddressPlace, ok bool) {
	s := c.segments[name]
	if s == nil {
		return p, false
	}
	p.MAC = s.desired.Neighbors[addr]
	for _, l := range s.listOurs(nil) {
		if l.Type == evpn.TypeMACIP && l.IP == addr {
			p.Routes = append(p.Routes, l)
		}
	}
	for id, r := range c.routes {
		if r.Type != evpn.TypeMACIP || r.IP != addr || !slices.Contains(c.importers(r), s) {
			continue
		}
		l := Listed{Overlay: name, Route: r.Route, VTEP: r.VTEP, Mobility: r.Mobility, Peer: r.Peer}
		l.State, l.Why = s.standing(id, r)
		p.Routes = append(p.Routes, l)
	}
	slices.SortFunc(p.Routes, func(a, b Listed) int {
		if first := a.MAC == p.MAC; first != (b.MAC == p.MAC) {
			if first {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	return p, true
}
