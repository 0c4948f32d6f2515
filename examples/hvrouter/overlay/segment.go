package overlay

import (
	"bytes"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// segment is one overlay.
type segment struct {
	config     config.Overlay
	ready      bool // the device is there
	drained    bool // what is announced is the last choice
	silent     bool // nothing is announced
	synced     bool
	earlier    map[MAC]Kept // see Core.earlier, which it is a part of
	locals     map[MAC]*local
	macs       map[MAC][]*entry        // routes of others for a MAC
	addresses  map[netip.Addr][]*entry // and for an address
	here       map[netip.Addr][]*local // guests that have an address, sorted by MAC
	entries    map[routeID]*entry
	unused     map[routeID]bool   // routes that have a target of the overlay, and are of no use
	moves      *tally             // see Core.moves, which it is a part of
	vteps      map[netip.Addr]int // by how many routes of type 3 each is known
	history    map[MAC]*moves     // of guests' MACs that have moved
	waiting    map[*local]bool    // superseded guests that are not reported yet
	originated map[string]*Origin // by key
	desired    Desired
}

// entry is a route of another VTEP that the overlay imports.
type entry struct {
	id routeID
	*Route
}

// local is a guest that is here.
type local struct {
	Station
	mobility   evpn.Mobility
	stayed     bool     // it is known to have been here since its sequence number was announced, by an earlier run as well
	keys       []string // of its routes that are originated
	superseded bool
	since      time.Time // when it was superseded
	reported   bool      // as a duplicate
}

func newSegment(o config.Overlay, synced bool) *segment {
	return &segment{config: o, synced: synced, locals: map[MAC]*local{}, macs: map[MAC][]*entry{}, addresses: map[netip.Addr][]*entry{}, here: map[netip.Addr][]*local{},
		entries: map[routeID]*entry{}, unused: map[routeID]bool{}, vteps: map[netip.Addr]int{}, history: map[MAC]*moves{}, waiting: map[*local]bool{}, originated: map[string]*Origin{},
		desired: Desired{all: true, Flood: map[netip.Addr]bool{}, MACs: map[MAC]netip.Addr{}, Neighbors: map[netip.Addr]MAC{}, Ports: map[MAC]string{}, Settled: synced}}
}

// like reports whether another configuration leaves everything as it is but for fixed peers, members and what is imported.
func (s *segment) like(o config.Overlay) bool {
	a, b := s.config, o
	return a.VNI == b.VNI && a.Local == b.Local && a.EVPN.RD == b.EVPN.RD && a.EVPN.RouteTarget == b.EVPN.RouteTarget
}

// adopt takes the guests over that the overlay had before a change of its configuration.
func (s *segment) adopt(locals map[MAC]*local, now time.Time, fx *Effects) {
	for _, mac := range sortedMACs(locals) {
		l := &local{Station: locals[mac].Station, mobility: locals[mac].mobility, stayed: locals[mac].stayed}
		s.locals[mac] = l
		s.list(l)
		s.decide(mac, now, fx)
	}
}

// setPeers sets the fixed part of the flood list.
func (s *segment) setPeers(peers []config.Addr) {
	was := s.config.Peers
	s.config.Peers = peers
	for _, p := range slices.Concat(was, peers) {
		s.flood(p.Addr)
	}
}

// setGateway sets the gateway, and looks anew at the routes that were, or are, of no use because of it.
func (s *segment) setGateway(g *config.Gateway, routes map[routeID]*Route, now time.Time, fx *Effects) {
	if reflect.DeepEqual(g, s.config.Gateway) {
		return
	}
	s.config.Gateway = g
	for _, id := range slices.SortedFunc(maps.Keys(routes), routeID.compare) {
		if s.entries[id] != nil || s.unused[id] {
			s.set(id, routes[id], now, fx)
		}
	}
}

// flood decides whether a VTEP is in the flood list.
func (s *segment) flood(v netip.Addr) {
	s.desired.setFlood(v, v != s.config.Local.Addr && (s.vteps[v] > 0 || slices.Contains(s.config.Peers, config.Addr{Addr: v})))
}

// imports returns why a route is of no use here, "" if it is.
func (s *segment) imports(r *Route) string {
	switch {
	case r.Why != "":
		return r.Why
	case r.VTEP == s.config.Local.Addr:
		return "its VTEP is our own"
	case r.VTEP.Is4() != s.config.Local.Is4() || !r.VTEP.IsValid():
		return "its VTEP is of another family than ours"
	case r.Label.VNI() != s.config.VNI:
		return "it is of another VNI"
	case r.Type == evpn.TypeMACIP && s.config.Gateway != nil && r.MAC == MAC(s.config.Gateway.MAC):
		return "its MAC is the gateway's, which is here"
	case r.IP.IsValid() && s.config.Gateway.Has(r.IP):
		return "its address is the gateway's, which is here"
	}
	return r.unusable()
}

// set takes what a route says now that has a target of the overlay; nil if it is gone, or has none any more.
func (s *segment) set(id routeID, r *Route, now time.Time, fx *Effects) {
	was := s.entries[id]
	var is *entry
	delete(s.unused, id)
	switch {
	case r == nil:
	case s.imports(r) == "":
		is = &entry{id, r}
	default:
		s.unused[id] = true
	}
	if was == nil && is == nil {
		return
	}
	if was != nil {
		delete(s.entries, id)
		s.unindex(was)
	}
	if is != nil {
		s.entries[id] = is
		s.index(is)
	}
	for _, e := range []*entry{was, is} {
		switch {
		case e == nil:
		case e.Type == evpn.TypeMulticast:
			s.flood(e.VTEP)
		default:
			s.decide(e.MAC, now, fx)
			if e.IP.IsValid() {
				s.resolve(e.IP)
			}
		}
	}
}

// index adds a route to what it is found by.
func (s *segment) index(e *entry) {
	if e.Type == evpn.TypeMulticast {
		s.vteps[e.VTEP]++
		return
	}
	s.macs[e.MAC] = append(s.macs[e.MAC], e)
	if e.IP.IsValid() {
		s.addresses[e.IP] = append(s.addresses[e.IP], e)
	}
}

// unindex takes that back.
func (s *segment) unindex(e *entry) {
	if e.Type == evpn.TypeMulticast {
		if s.vteps[e.VTEP]--; s.vteps[e.VTEP] == 0 {
			delete(s.vteps, e.VTEP)
		}
		return
	}
	without(s.macs, e.MAC, e)
	if e.IP.IsValid() {
		without(s.addresses, e.IP, e)
	}
}

// without takes v off one list of a map.
func without[K, V comparable](lists map[K][]V, key K, v V) {
	if lists[key] = slices.DeleteFunc(lists[key], func(o V) bool { return o == v }); len(lists[key]) == 0 {
		delete(lists, key)
	}
}

// best returns the route that counts, nil if there is none.
func best(list []*entry) (b *entry) {
	for _, e := range list {
		if b == nil || e.beats(b.Route) {
			b = e
		}
	}
	return b
}

// decide decides where a MAC is.
func (s *segment) decide(mac MAC, now time.Time, fx *Effects) {
	l, b := s.locals[mac], best(s.macs[mac])
	if l != nil {
		loses := b != nil && better(b.Mobility, b.VTEP, l.mobility, s.config.Local.Addr)
		switch {
		case !s.synced && !l.stayed: // what others say is compared when all have said it
		case loses && !l.superseded:
			l.superseded, l.since, l.reported = true, now, false
			s.waiting[l] = true
			fx.notice(Superseded, s, l, b)
			s.moved(l, b, now, fx)
		case !loses && l.superseded:
			l.superseded = false
			delete(s.waiting, l)
			fx.notice(Returned, s, l, b)
			s.moved(l, b, now, fx)
		}
		s.announce(l, fx)
	}
	var at netip.Addr
	port := ""
	switch {
	case l != nil && !l.superseded:
		port = l.Port
	case b != nil:
		at = b.VTEP
	}
	s.desired.setMAC(mac, at)
	s.desired.setPort(mac, port)
	if l != nil {
		for _, a := range l.Addresses {
			s.resolve(a)
		}
	}
}

// resolve decides which MAC an address has: that of a guest that is here, or else what the best route
// says. Entries for our own guests keep questions for them from being flooded.
func (s *segment) resolve(a netip.Addr) {
	var mac MAC
	b := best(s.addresses[a])
	for _, l := range s.here[a] {
		if !l.superseded || b == nil {
			s.desired.setNeighbor(a, l.MAC)
			return
		}
	}
	if b != nil {
		mac = b.MAC
	}
	s.desired.setNeighbor(a, mac)
}

// setStations replaces the guests that are here. Those that come take their MACs over.
func (s *segment) setStations(list []Station, now time.Time, fx *Effects) {
	next := map[MAC]Station{}
	for _, one := range list {
		if one.Down {
			s.forget(one.MAC, fx)
			continue
		}
		next[one.MAC] = one
	}
	for _, mac := range sortedMACs(s.locals) {
		if l := s.locals[mac]; !same(l.Station, next[mac]) {
			if next[mac].Guest != l.Guest {
				s.leave(l, now, fx)
				continue
			}
			s.unlist(l)
			again := next[mac].IfIndex != l.IfIndex // it has left and come between two looks
			l.Station = next[mac]
			s.list(l)
			if again {
				l.superseded = false
				delete(s.waiting, l)
				s.arrive(l, now, fx)
			}
			s.decide(mac, now, fx)
		}
	}
	for _, mac := range sortedMACs(next) {
		if s.locals[mac] == nil {
			s.come(next[mac], now, fx)
		}
	}
}

func same(a, b Station) bool {
	return a.Guest == b.Guest && a.Port == b.Port && a.IfIndex == b.IfIndex && slices.Equal(a.Addresses, b.Addresses)
}

func sortedMACs[V any](m map[MAC]V) []MAC {
	return slices.SortedFunc(maps.Keys(m), func(a, b MAC) int { return bytes.Compare(a[:], b[:]) })
}

// come takes a guest that has come.
func (s *segment) come(one Station, now time.Time, fx *Effects) {
	l := &local{Station: one}
	s.locals[one.MAC] = l
	s.list(l)
	s.arrive(l, now, fx)
	s.decide(one.MAC, now, fx)
}

// arrive takes the MAC of a guest over that has come, unless it has stayed here over a restart. As long as others have
// not said everything, that waits.
func (s *segment) arrive(l *local, now time.Time, fx *Effects) {
	k, ok := s.earlier[l.MAC]
	delete(s.earlier, l.MAC)
	if l.stayed = ok && k.IfIndex == l.IfIndex; l.stayed {
		l.mobility.Sequence = k.Sequence
	} else if s.synced {
		s.claim(l, now, fx)
	}
	fx.Keep = true
}

// claim takes the MAC of a guest over from the VTEP that has it: a router that detects a MAC of which it has
// received a route announces it with a sequence number that is one greater (RFC 7432, Section 15). There is none above the
// highest: then the lower VTEP has the MAC. A MAC that is frozen is not taken over.
func (s *segment) claim(l *local, now time.Time, fx *Effects) {
	b := best(s.macs[l.MAC])
	if b == nil || b.Mobility.Sticky || s.frozen(l.MAC, now) || !better(b.Mobility, netip.Addr{}, l.mobility, s.config.Local.Addr) {
		return
	}
	if l.mobility.Sequence = b.Mobility.Sequence; l.mobility.Sequence < math.MaxUint32 {
		l.mobility.Sequence++
	}
	if better(l.mobility, s.config.Local.Addr, b.Mobility, b.VTEP) {
		fx.notice(Claimed, s, l, b)
		s.moved(l, b, now, fx)
	}
}

// leave takes a guest that has left.
func (s *segment) leave(l *local, now time.Time, fx *Effects) {
	s.unlist(l)
	delete(s.locals, l.MAC)
	delete(s.waiting, l)
	fx.Keep = true
	s.withdraw(l, nil, fx)
	s.decide(l.MAC, now, fx)
	for _, a := range l.Addresses {
		s.resolve(a)
	}
}

// list makes a guest known by its addresses.
func (s *segment) list(l *local) {
	for _, a := range l.Addresses {
		s.here[a] = append(s.here[a], l)
		slices.SortFunc(s.here[a], func(x, y *local) int { return bytes.Compare(x.MAC[:], y.MAC[:]) })
	}
}

// unlist takes that back.
func (s *segment) unlist(l *local) {
	for _, a := range l.Addresses {
		without(s.here, a, l)
	}
	for _, a := range l.Addresses {
		s.resolve(a)
	}
}

// sync compares what others have said until now with the guests that are here.
func (s *segment) sync(now time.Time, fx *Effects) {
	s.synced, s.earlier = true, nil
	s.desired.Settled, s.desired.ports = true, true
	for _, mac := range sortedMACs(s.locals) {
		if l := s.locals[mac]; !l.stayed {
			s.claim(l, now, fx)
		}
		s.decide(mac, now, fx)
	}
}

// advance reports guests that are still here although another VTEP has their MAC, and forgets moves.
func (s *segment) advance(now time.Time, fx *Effects) {
	s.forgetOld(now, fx)
	for _, mac := range sortedMACs(s.locals) {
		l := s.locals[mac]
		if s.waiting[l] && !now.Before(l.since.Add(DuplicateTime)) {
			l.reported = true
			delete(s.waiting, l)
			fx.notice(Duplicate, s, l, best(s.macs[mac]))
		}
	}
}

func (fx *Effects) notice(kind NoticeKind, s *segment, l *local, b *entry) {
	n := Notice{Kind: kind, Overlay: s.config.Name, Guest: l.Guest, MAC: l.MAC, Sequence: l.mobility.Sequence}
	if b != nil {
		n.VTEP = b.VTEP
		if l.superseded {
			n.Sequence = b.Mobility.Sequence
		}
	}
	if kind == Frozen {
		n.Moves = s.history[l.MAC].count
	}
	s.moves[kind]++
	fx.Notices = append(fx.Notices, n)
}
