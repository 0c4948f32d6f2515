package overlay

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hyperfib/hyperfib/bgp/evpn"
)

// Listed is how a route of an overlay stands: one that is originated here, or would be, or one of others
// with a route target that the overlay imports.
type Listed struct {
	Overlay string
	evpn.Route
	VTEP     netip.Addr
	Mobility evpn.Mobility
	Guest    string     // whose it is, of ours
	Peer     netip.Addr // that it came from, of others
	State    string     // announced or withheld of ours, used or unused of others
	Why      string     // why it is withheld or unused, or not used for its address; that its MAC is frozen
}

// List returns the routes of all overlays, in no order. There may be many: the caller sorts them
// ([Listed.Compare]) once the Core can go on.
func (c *Core) List() (list []Listed) {
	for _, s := range c.segments {
		list = s.listOurs(list)
	}
	for id, r := range c.routes {
		for _, s := range c.importers(r) {
			l := Listed{Overlay: s.config.Name, Route: r.Route, VTEP: r.VTEP, Mobility: r.Mobility, Peer: r.Peer}
			l.State, l.Why = s.standing(id, r)
			list = append(list, l)
		}
	}
	return list
}

// Absent returns what would be originated for a guest that is not here, and why it is not; nil if its overlay has no EVPN.
func (c *Core) Absent(one Station, why string) (list []Listed) {
	s := c.segments[one.Overlay]
	if s == nil {
		return nil
	}
	for _, a := range append([]netip.Addr{{}}, one.Addresses...) {
		list = append(list, Listed{Overlay: one.Overlay, Route: s.origin(s.macIP(one.MAC, a)).Route, VTEP: s.config.Local.Addr, Guest: one.Guest, State: "withheld", Why: why})
	}
	return list
}

// Compare orders routes by overlay, type, MAC and address, ours first.
func (l Listed) Compare(o Listed) int {
	return cmp.Or(cmp.Compare(l.Overlay, o.Overlay), -cmp.Compare(l.Type, o.Type), bytes.Compare(l.MAC[:], o.MAC[:]), l.IP.Compare(o.IP),
		l.Peer.Compare(o.Peer), l.VTEP.Compare(o.VTEP), bytes.Compare(l.RD[:], o.RD[:]))
}

// listOurs appends what is originated here, or withheld.
func (s *segment) listOurs(list []Listed) []Listed {
	add := func(r evpn.Route, guest, why, note string, m evpn.Mobility) {
		l := Listed{Overlay: s.config.Name, Route: s.origin(r).Route, VTEP: s.config.Local.Addr, Mobility: m, Guest: guest, State: "announced", Why: why}
		switch {
		case !s.ready:
			l.Why = "the overlay's device is not there"
		case s.silent && why == "":
			l.Why = "the host is drained, with what is nowhere else"
		}
		if l.Why != "" {
			l.State = "withheld"
		}
		switch {
		case note == "":
		case l.Why == "":
			l.Why = note
		default:
			l.Why += "; " + note
		}
		list = append(list, l)
	}
	add(s.multicast(), "", "", "", evpn.Mobility{})
	for _, l := range s.locals {
		why := ""
		if l.superseded {
			why = "another VTEP has taken the MAC over: " + best(s.macs[l.MAC]).why(l.claim(s))
		}
		for _, a := range append([]netip.Addr{{}}, l.Addresses...) {
			add(s.macIP(l.MAC, a), l.Guest, why, s.history[l.MAC].why(), l.mobility)
		}
	}
	return list
}

// standing returns how a route of others stands that has a target of the overlay.
func (s *segment) standing(id routeID, r *Route) (state, why string) {
	e := s.entries[id]
	switch {
	case e == nil:
		return "unused", s.imports(r)
	case e.Type == evpn.TypeMulticast:
	case s.locals[e.MAC] != nil && !s.locals[e.MAC].superseded:
		return "unused", "the guest is here: " + s.keeps(s.locals[e.MAC], e.Route)
	case best(s.macs[e.MAC]).VTEP != e.VTEP:
		return "unused", "another VTEP's route for the MAC is better: " + best(s.macs[e.MAC]).why(e.Route)
	case slices.ContainsFunc(s.here[e.IP], func(l *local) bool { return !l.superseded }):
		return "used", "for the MAC alone: a guest that is here has the address"
	case e.IP.IsValid() && best(s.addresses[e.IP]).MAC != e.MAC:
		return "used", "for the MAC alone: another MAC's route for the address is better"
	}
	return "used", ""
}

// keeps returns why a guest that is here has its MAC, and another VTEP's route has it not.
func (s *segment) keeps(l *local, r *Route) string {
	if !s.synced && !l.stayed {
		return "what others announce is compared when the sessions have said everything"
	}
	return l.claim(s).why(r)
}

// claim is a guest that is here as others see it.
func (l *local) claim(s *segment) *Route {
	return &Route{VTEP: s.config.Local.Addr, Mobility: l.mobility}
}

// why returns why r, which beats o, does.
func (r *Route) why(o *Route) string {
	switch {
	case r.Mobility.Sticky != o.Mobility.Sticky:
		return fmt.Sprintf("that of %v is sticky", r.VTEP)
	case r.Mobility.Sequence != o.Mobility.Sequence:
		return fmt.Sprintf("%v has the sequence number %d, %v has %d", r.VTEP, r.Mobility.Sequence, o.VTEP, o.Mobility.Sequence)
	}
	return fmt.Sprintf("both have the sequence number %d, and %v is lower than %v", r.Mobility.Sequence, r.VTEP, o.VTEP)
}
