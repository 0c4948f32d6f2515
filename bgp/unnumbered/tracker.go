package unnumbered

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Config configures a [Tracker]. The zero value is its defaults.
type Config struct {
	// Max is how many neighbours of an interface have a session or are tried at a time. 0 means 8.
	Max int
	// Known is how many routers are remembered for an interface. 0 means 64; at least Max.
	Known int
	// Patience is how long a router that gets no session is tried while others wait, and how long one is
	// to be heard at an address that it had left, and not at the newer one, until it is tried there
	// again. 0 means 5 s.
	Patience time.Duration
	// Memory is how long a router without a session is remembered that is not heard any more.
	// 0 means 1 h, more than the longest interval of advertisements (RFC 4861, Section 6.2.1).
	Memory time.Duration
	// Overlap is how long the older one of two sessions with the same router stays while the
	// newer one has not sent all of its routes. 0 means 1 s.
	Overlap time.Duration
}

// Link is an interface that neighbours are looked for on.
type Link struct {
	Interface string // its name, not empty
	IfIndex   int    // another one is another interface of the same name
	// Local is our link-local address there, without a zone. The zero Addr is that there is none
	// that can be used, as while duplicate address detection goes on (RFC 4862, Section 5.4):
	// there are no sessions then.
	Local netip.Addr
}

// Neighbor is a router that a session is wanted with. It is comparable.
type Neighbor struct {
	Interface string     // the link's
	Addr      netip.Addr // the router's link-local address, without a zone
	Local     netip.Addr // ours, without a zone
}

// Session is how the session with a neighbour is. The zero value is that it is not up.
type Session struct {
	Up bool
	// Retained: it is not up, and the neighbour's routes are retained meanwhile (graceful restart,
	// RFC 4724, Section 4.2). It keeps its place.
	Retained bool
	RouterID netip.Addr // the neighbour's BGP identifier
	AS       uint32     // the neighbour's
	Synced   bool       // it has sent all of its routes
}

// alive reports whether it has its place for sure.
func (s Session) alive() bool { return s.Up || s.Retained }

// Tracker says which neighbours the interfaces have. It is not safe for concurrent use. Memory is
// bounded by Config.Known for each interface.
type Tracker struct {
	cfg   Config
	links map[string]*link // by name
}

// link is an interface with the routers that were heard on it.
type link struct {
	Link
	routers map[netip.Addr]*router
	had     [][6]byte // the MACs that had a session last, Config.Max at most, the latest one first
}

// router is one address that advertisements came from.
type router struct {
	addr     netip.Addr
	mac      [6]byte
	first    time.Time // when it was first heard
	heard    time.Time // when it was last heard, or its session ended
	seen     time.Time // when its last advertisement came
	session  Session
	id       identity  // of the last session
	since    time.Time // of the session, if it is up
	tried    bool      // it is listed
	began    time.Time // when the try began, or the last one
	attempts int       // tries that ended without a session
	proven   bool      // it had a session, or its MAC had one, and no try in vain since
	twin     *router   // the same router, whose newer session took this one's place
	back     time.Time // when it was first heard since its twin was heard last
}

// identity is who a router is, whatever its address (RFC 6286, Section 2.1).
type identity struct {
	routerID netip.Addr
	as       uint32
}

// New returns a Tracker without links.
func New(c Config) *Tracker {
	c.Max = cmp.Or(c.Max, 8)
	c.Known = max(cmp.Or(c.Known, 64), c.Max)
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	c.Memory = cmp.Or(c.Memory, time.Hour)
	c.Overlap = cmp.Or(c.Overlap, time.Second)
	return &Tracker{cfg: c, links: map[string]*link{}}
}

// SetLink reports an interface, or what has changed of it. Under another index it is another
// interface, with other neighbours.
func (t *Tracker) SetLink(now time.Time, l Link) {
	l.Local = l.Local.WithZone("")
	old := t.links[l.Interface]
	if old == nil || old.IfIndex != l.IfIndex {
		old = &link{routers: map[netip.Addr]*router{}}
		t.links[l.Interface] = old
	}
	if old.Local != l.Local {
		for _, r := range old.routers { // sessions are between two addresses
			r.session, r.began = Session{}, now
		}
		delete(old.routers, l.Local) // what was heard was ours
	}
	old.Link = l
	t.choose(now, old)
}

// RemoveLink reports that an interface is gone, or not wanted any more.
func (t *Tracker) RemoveLink(name string) { delete(t.links, name) }

// Heard reports a router advertisement that came in on an interface, from a link-local address
// and a MAC, whatever the router says of itself: one that is no default router may speak BGP. It
// must have passed the checks of RFC 4861, Section 6.1.2, and its sender must have answered for the
// address ([Prober]), from that MAC. What comes from no link-local address or over an unknown interface
// counts for nothing.
//
// Returned reports that n, a neighbour that was listed already and has no session, is a router that is back at
// an address that it had left: it was last heard at another one. What was tried in vain meanwhile says
// nothing about it, and a session is to be tried at once.
func (t *Tracker) Heard(now time.Time, ifindex int, from netip.Addr, mac [6]byte) (n Neighbor, returned bool) {
	from = from.WithZone("")
	l := t.byIndex(ifindex)
	if l == nil || !from.Is6() || !from.IsLinkLocalUnicast() || from == l.Local {
		return Neighbor{}, false
	}
	r := l.routers[from]
	if r == nil {
		if !t.room(l, mac) {
			return Neighbor{}, false
		}
		r = &router{addr: from, first: now}
		l.routers[from] = r
		r.proven = slices.Contains(l.had, mac) // a router that was away
		for _, o := range l.routers {          // the same router, at another address
			r.proven = r.proven || o.mac == mac && (o.proven || o.session.Up)
		}
	}
	if r.mac != mac && (!r.tried || !r.session.alive() && !now.Before(r.began.Add(t.cfg.Patience))) { // another router at the address, perhaps
		r.mac = mac
		if !r.tried {
			r.attempts = 0
		}
	}
	returned = r.tried && !r.session.Up && l.left(r)
	r.heard, r.seen = now, now
	t.returned(now, r)
	t.choose(now, l)
	return Neighbor{Interface: l.Interface, Addr: from, Local: l.Local}, returned && r.tried
}

// left reports whether a router was last heard at another address.
func (l *link) left(r *router) bool {
	for _, o := range l.routers {
		if o != r && r.id != (identity{}) && o.id == r.id && o.seen.After(r.seen) {
			return true
		}
	}
	return false
}

// returned looks whether a router is at an address again that it had left: it has been heard there for a
// time, and not at the newer one. The session with that may take a hold time to end. The address is tried
// beside it.
func (t *Tracker) returned(now time.Time, r *router) {
	switch {
	case r.twin == nil:
	case r.back.IsZero() || !r.back.After(r.twin.heard):
		r.back = now
	case !now.Before(r.back.Add(t.cfg.Patience)):
		r.twin, r.back = nil, time.Time{}
	}
}

func (t *Tracker) byIndex(ifindex int) *link {
	for _, l := range t.links {
		if l.IfIndex == ifindex {
			return l
		}
	}
	return nil
}

// Session reports how the session with a neighbour is now.
func (t *Tracker) Session(now time.Time, n Neighbor, s Session) {
	l := t.links[n.Interface]
	if l == nil || l.Local != n.Local || l.routers[n.Addr] == nil || !l.routers[n.Addr].tried {
		return // of a time before the last change
	}
	r := l.routers[n.Addr]
	switch {
	case s.Up && !r.session.Up:
		r.since, r.attempts, r.proven = now, 0, true
		r.id = identity{s.RouterID, s.AS}
		l.had = slices.DeleteFunc(l.had, func(m [6]byte) bool { return m == r.mac })
		l.had = slices.Insert(l.had[:min(len(l.had), t.cfg.Max-1)], 0, r.mac)
	case !s.alive() && r.session.alive():
		r.began, r.heard = now, now // it has all of its patience once more
	}
	r.session = s
	t.choose(now, l)
}

// Advance does what is due.
func (t *Tracker) Advance(now time.Time) {
	for _, l := range t.links {
		t.choose(now, l)
	}
}

// Neighbors returns with whom there is to be a session now, sorted by interface and address.
func (t *Tracker) Neighbors() (list []Neighbor) {
	for _, name := range slices.Sorted(maps.Keys(t.links)) {
		l := t.links[name]
		if !l.Local.IsValid() {
			continue
		}
		for _, r := range l.sorted() {
			if r.tried {
				list = append(list, Neighbor{Interface: name, Addr: r.addr, Local: l.Local})
			}
		}
	}
	return list
}

// Known returns how many routers of an interface are remembered.
func (t *Tracker) Known(name string) int {
	if l := t.links[name]; l != nil {
		return len(l.routers)
	}
	return 0
}

// sorted returns the routers of a link by their addresses.
func (l *link) sorted() []*router {
	return slices.SortedFunc(maps.Values(l.routers), func(a, b *router) int { return a.addr.Compare(b.addr) })
}

// choose says which routers of a link are tried.
func (t *Tracker) choose(now time.Time, l *link) {
	for a, r := range l.routers {
		if !r.session.alive() && !now.Before(r.heard.Add(t.cfg.Memory)) {
			delete(l.routers, a)
		}
	}
	all := l.sorted()
	if !l.Local.IsValid() {
		for _, r := range all {
			r.tried, r.session, r.twin = false, Session{}, nil
		}
		return
	}
	t.pair(now, all)
	t.allot(now, all)
}

// pair finds routers that have two sessions with us, from two addresses: the older one has its twin
// in the newer, and is not listed as long as that is up.
func (t *Tracker) pair(now time.Time, all []*router) {
	for _, r := range all {
		if r.twin != nil && !r.twin.session.Up && r.twin.twin == nil {
			r.twin = nil
		}
		if !r.session.alive() {
			continue
		}
		for _, o := range all {
			if o.replaces(r) && (o.session.Synced || !now.Before(o.since.Add(t.cfg.Overlap))) {
				r.twin, r.back = o, time.Time{}
				r.tried, r.session, r.proven = false, Session{}, false
			}
		}
	}
	for _, r := range all {
		for r.twin != nil && r.twin.twin != nil {
			r.twin = r.twin.twin
		}
	}
}

// replaces reports whether both are sessions with one router, and r's is the newer one.
func (r *router) replaces(o *router) bool {
	return r != o && r.session.Up && o.session.alive() && r.session.RouterID == o.session.RouterID && r.session.AS == o.session.AS &&
		(r.since.After(o.since) || r.since.Equal(o.since) && r.addr.Compare(o.addr) > 0)
}

// Deadline returns when Advance has something to do, the zero time if never.
func (t *Tracker) Deadline() (next time.Time) {
	at := func(d time.Time) {
		if next.IsZero() || d.Before(next) {
			next = d
		}
	}
	for _, l := range t.links {
		waits := false
		for _, r := range l.routers {
			waits = waits || !r.tried && r.twin == nil
		}
		for _, r := range l.routers {
			if !r.session.alive() {
				at(r.heard.Add(t.cfg.Memory))
			}
			if r.tried && !r.session.alive() && waits {
				at(r.began.Add(t.cfg.Patience))
			}
			for _, o := range l.routers {
				if o.replaces(r) {
					at(o.since.Add(t.cfg.Overlap))
				}
			}
		}
	}
	return next
}
