package overlay

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// Station is a guest that is here, on one overlay.
type Station struct {
	Guest     string
	Overlay   string // its name
	Port      string // the interface
	IfIndex   int    // and its index
	MAC       MAC
	Addresses []netip.Addr
	// Down: the operator says that the guest is not here. Of its MAC's moves none is remembered.
	Down bool
}

// Core is the state of all overlays with EVPN of a hypervisor. It is not safe for concurrent use. What
// is to be said to the speakers and to people is appended to the Effects that methods are given; what
// the kernel shall have is in [Core.Desired].
type Core struct {
	segments map[string]*segment              // by name
	routes   map[routeID]*Route               // of others, also those that no overlay imports
	targets  map[wire.ExtCommunity][]*segment // who imports what has a target
	imported struct {                         // who imports what has these, which the routes of one UPDATE share; nil: not known
		targets Targets
		by      []*segment
	}
	earlier map[string]map[MAC]Kept // by overlay: what an earlier run has kept; nil once synced
	moves   map[string]*tally       // notices of each overlay, by kind
	synced  bool
	drain   Drain
	next    time.Time // when a duplicate, moves to be forgotten, or the end of a drain, is due; zero: never
}

// routeID names a route of another VTEP: the same may come from several speakers.
type routeID struct {
	source string
	key    string // of EVPN, with the route distinguisher
}

// Effects is what is to be done.
type Effects struct {
	Routes  []Change // of what we originate, in their order
	Notices []Notice
	Keep    bool // what Core.Kept returns has changed
}

// Change is a route that is originated, replaced or withdrawn.
type Change struct {
	Key    string  // of EVPN
	Origin *Origin // nil: it is withdrawn. It is not to be changed
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() { *e = Effects{Routes: e.Routes[:0], Notices: e.Notices[:0]} }

// Notice is something that people want to know.
type Notice struct {
	Kind    NoticeKind
	Overlay string
	Guest   string
	MAC     MAC
	VTEP    netip.Addr // the other one
	// Sequence is that of the VTEP that has the MAC now.
	Sequence uint32
	// Moves is how often a MAC that is frozen has moved.
	Moves int
}

// NoticeKind is the kind of a Notice.
type NoticeKind uint8

const (
	// Claimed: a guest came, and its MAC was taken over from another VTEP.
	Claimed NoticeKind = iota
	// Superseded: another VTEP took the MAC of a guest over that is here.
	Superseded
	// Returned: it has given it back, and the guest is announced again.
	Returned
	// Duplicate: the guest is still here, and the other VTEP announces its MAC, after [DuplicateTime].
	Duplicate
	// Frozen: the MAC has moved so often that its sequence number is raised no more (RFC 7432, Section 15.1).
	Frozen
	// Thawed: that is over.
	Thawed
)

// tally counts notices by kind.
type tally [Thawed + 1]uint64

// String names the kind in a word.
func (k NoticeKind) String() string {
	return enum.String("NoticeKind", []string{"claimed", "superseded", "returned", "duplicate", "frozen", "thawed"}, k)
}

// DuplicateTime is how long a guest may be here while another VTEP has its MAC, as it is at the source
// of a migration, until that is reported.
const DuplicateTime = 30 * time.Second

// New makes a Core without overlays.
func New() *Core {
	return &Core{segments: map[string]*segment{}, routes: map[routeID]*Route{}, targets: map[wire.ExtCommunity][]*segment{}, earlier: map[string]map[MAC]Kept{}, moves: map[string]*tally{}}
}

// Configure makes the overlays those of a configuration that have EVPN. One of which something has changed that is in
// routes is a new one, whose device is not ready yet.
func (c *Core) Configure(overlays []config.Overlay, now time.Time, fx *Effects) {
	next := map[string]config.Overlay{}
	for _, o := range overlays {
		if o.EVPN != nil {
			next[o.Name] = o
		}
	}
	before := map[string]*segment{} // that are replaced
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		s := c.segments[name]
		if o, ok := next[name]; !ok || !s.like(o) {
			s.silence(fx)
			before[name] = s
			delete(c.segments, name)
			fx.Keep = true
			if !ok {
				delete(c.moves, name)
			}
		}
	}
	fresh := map[*segment]bool{}
	c.imported.targets, c.imported.by = Targets{}, nil
	clear(c.targets)
	for _, o := range overlays {
		if o.EVPN == nil {
			continue
		}
		s := c.segments[o.Name]
		if s == nil {
			s = newSegment(o, c.synced)
			s.earlier = c.earlier[o.Name]
			if c.moves[o.Name] == nil {
				c.moves[o.Name] = &tally{}
			}
			s.moves = c.moves[o.Name]
			s.setDrain(c.drain.On, c.drain.silent(now), fx)
			c.segments[o.Name], fresh[s] = s, true
		}
		if !slices.Equal(s.config.EVPN.Import, o.EVPN.Import) {
			fresh[s] = true
		}
		s.setPeers(o.Peers)
		s.setGateway(o.Gateway, c.routes, now, fx)
		s.config.EVPN = o.EVPN // of what s.like does not compare
		for _, t := range o.EVPN.Imports() {
			c.targets[t.ExtCommunity] = append(c.targets[t.ExtCommunity], s)
		}
	}
	c.fill(fresh, now, fx)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if s := c.segments[name]; s != nil {
			s.adopt(before[name].locals, now, fx)
		}
	}
	c.due()
}

// fill gives overlays that are new, or import something else, the routes that there are, and takes away what they do not
// import any more.
func (c *Core) fill(fresh map[*segment]bool, now time.Time, fx *Effects) {
	if len(fresh) == 0 {
		return
	}
	segments := c.inOrder()
	for _, id := range slices.SortedFunc(maps.Keys(c.routes), routeID.compare) {
		importers := c.importers(c.routes[id])
		for _, s := range segments {
			switch {
			case !fresh[s]:
			case slices.Contains(importers, s):
				s.set(id, c.routes[id], now, fx)
			default:
				s.set(id, nil, now, fx)
			}
		}
	}
}

// inOrder returns the overlays by their names.
func (c *Core) inOrder() (list []*segment) {
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		list = append(list, c.segments[name])
	}
	return list
}

func (a routeID) compare(b routeID) int {
	return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.key, b.key))
}

// SetReady says whether the device of an overlay is there: without it nothing is announced.
func (c *Core) SetReady(name string, ready bool, fx *Effects) {
	if s := c.segments[name]; s != nil {
		s.setReady(ready, fx)
	}
}

// SetStations replaces the guests that are here, or down. Those of an overlay that has no EVPN are left aside.
func (c *Core) SetStations(all []Station, now time.Time, fx *Effects) {
	by := map[string][]Station{}
	for _, s := range all {
		by[s.Overlay] = append(by[s.Overlay], s)
	}
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		c.segments[name].setStations(by[name], now, fx)
	}
	c.due()
}

// SetRoute takes what a source, the domain of a speaker, says of the route with a key: nil if it is
// gone. The route is the Core's from now on.
func (c *Core) SetRoute(source string, key []byte, r *Route, now time.Time, fx *Effects) {
	id := routeID{source, string(key)}
	old := c.routes[id]
	if r == nil {
		delete(c.routes, id)
	} else {
		c.routes[id] = r
	}
	importers := c.importers(r)
	for _, s := range c.importers(old) {
		if !slices.Contains(importers, s) {
			s.set(id, nil, now, fx)
		}
	}
	for _, s := range importers {
		s.set(id, r, now, fx)
	}
	c.due()
}

// importers returns the overlays that import a route, each once; nil imports nobody. It is not to be changed.
func (c *Core) importers(r *Route) []*segment {
	if r == nil {
		return nil
	}
	if m := &c.imported; m.by == nil || m.targets != r.Targets {
		m.targets, m.by = r.Targets, []*segment{}
		for t := range r.Targets.All() {
			for _, s := range c.targets[t] {
				if !slices.Contains(m.by, s) {
					m.by = append(m.by, s)
				}
			}
		}
	}
	return c.imported.by
}

// DropSource forgets the routes of a source.
func (c *Core) DropSource(source string, now time.Time, fx *Effects) {
	var ids []routeID
	for id := range c.routes {
		if id.source == source {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, routeID.compare)
	for _, id := range ids {
		c.SetRoute(source, []byte(id.key), nil, now, fx)
	}
}

// Synced says, once, that the speakers have said everything since the start.
func (c *Core) Synced(now time.Time, fx *Effects) {
	if c.synced {
		return
	}
	c.synced, c.earlier = true, nil
	fx.Keep = true
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		c.segments[name].sync(now, fx)
	}
	c.due()
}

// Deadline returns when Advance has something to do, the zero time if never.
func (c *Core) Deadline() time.Time { return c.next }

// Advance reports duplicates that are due, forgets moves, and withdraws what a drain withdraws.
func (c *Core) Advance(now time.Time, fx *Effects) {
	if c.next.IsZero() || now.Before(c.next) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		c.segments[name].setDrain(c.drain.On, c.drain.silent(now), fx)
		c.segments[name].advance(now, fx)
	}
	c.due()
}

// due notes when there is something to do next.
func (c *Core) due() {
	c.next = time.Time{}
	for _, s := range c.segments {
		if !s.silent {
			c.next = c.drain.Silent
		}
	}
	for _, s := range c.segments {
		for l := range s.waiting {
			if t := l.since.Add(DuplicateTime); c.next.IsZero() || t.Before(c.next) {
				c.next = t
			}
		}
		for _, m := range s.history {
			if t := m.until(s.config.EVPN.DuplicateTime.Duration); c.next.IsZero() || t.Before(c.next) {
				c.next = t
			}
		}
	}
}

// Originated yields every route that is originated, in no order.
func (c *Core) Originated(yield func(Change) bool) {
	for _, s := range c.segments {
		for key, o := range s.originated {
			if !yield(Change{key, o}) {
				return
			}
		}
	}
}

// Desired returns what the kernel shall have of an overlay; nil if it has no EVPN. It is the Core's, and
// changes with it.
func (c *Core) Desired(name string) *Desired {
	if s := c.segments[name]; s != nil {
		return &s.desired
	}
	return nil
}

// Dirty reports whether the Desired of any overlay has changed since it was taken. Those that are not ready do not count: theirs is
// taken when their device is there.
func (c *Core) Dirty() bool {
	for _, s := range c.segments {
		if s.ready && s.desired.Changed() {
			return true
		}
	}
	return false
}
