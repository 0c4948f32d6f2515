package daemon

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/unnumbered"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/rtadv"
	"github.com/hyperfib/hyperfib/ndp"
)

// advertisements hears and sends router advertisements in a namespace, while Run runs.
type advertisements interface {
	Set([]rtadv.Uplink)
	Solicit(ifindex int)
	Run(context.Context) error
	// Next waits for advertisements. An error is that ctx has ended.
	Next(ctx context.Context) ([]rtadv.Heard, error)
}

// openAdvertisements opens the advertisements of the namespace at a path.
func openAdvertisements(path string) (advertisements, error) { return rtadv.Open(path) }

// finders find the neighbours that the configuration has no address of. The event loop owns them.
type finders struct {
	list []*finder // one a namespace; none: the configuration has no such neighbours, or there is nothing to hear with
	// waiting: after a restart nobody is taken before findFirst has ended. A domain's routes are complete when all
	// its sessions have said theirs: one that is found later would come too late for that, and
	// routes by it would be taken out of the kernel and put back.
	waiting bool
	lines   foundLog
}

// finder finds the neighbours of the interfaces of one namespace.
type finder struct {
	namespace *netns.Namespace
	adverts   advertisements
	tracker   *unnumbered.Tracker
	links     []unnumbered.Link
	up        map[int]bool                 // those that have their carrier
	alive     map[unnumbered.Neighbor]bool // those with a session
	solicit   solicitations
}

func newFinder(n *netns.Namespace, a advertisements) *finder {
	return &finder{namespace: n, adverts: a, tracker: unnumbered.New(unnumbered.Config{}), up: map[int]bool{}, alive: map[unnumbered.Neighbor]bool{}}
}

// find looks at the interfaces of a namespace again.
func (f *finder) find(now time.Time, c *config.Config) {
	var links []unnumbered.Link
	var uplinks []rtadv.Uplink
	up := map[int]bool{}
	for l := range f.namespace.Links().All {
		if !slices.ContainsFunc(c.Domains, func(d config.Domain) bool {
			return d.NetNS == f.namespace.NetNS() && d.NeighborOn(l.Interface) >= 0
		}) {
			continue
		}
		one := unnumbered.Link{Interface: l.Interface, IfIndex: l.IfIndex, Local: f.namespace.LinkLocal(l.Interface)}
		links = append(links, one)
		if l.Up() && one.Local.IsValid() {
			up[l.IfIndex] = true
			uplinks = append(uplinks, rtadv.Uplink{IfIndex: l.IfIndex, MAC: ndp.MAC(l.MAC), Local: one.Local})
		}
	}
	slices.SortFunc(links, func(a, b unnumbered.Link) int { return cmp.Compare(a.Interface, b.Interface) })
	slices.SortFunc(uplinks, func(a, b rtadv.Uplink) int { return cmp.Compare(a.IfIndex, b.IfIndex) })
	for _, old := range f.links {
		if !slices.ContainsFunc(links, func(l unnumbered.Link) bool { return l.Interface == old.Interface }) {
			f.tracker.RemoveLink(old.Interface)
		}
	}
	for _, l := range links {
		if !slices.Contains(f.links, l) {
			f.tracker.SetLink(now, l)
		}
	}
	f.adverts.Set(uplinks)
	for index := range up {
		if !f.up[index] {
			f.adverts.Solicit(index)
		}
	}
	f.links, f.up = links, up
	for _, index := range f.solicit.due(now, up) {
		f.adverts.Solicit(index)
	}
}

// forget forgets the sessions with those who are neighbours no more.
func (f *finder) forget() {
	list := f.tracker.Neighbors()
	maps.DeleteFunc(f.alive, func(n unnumbered.Neighbor, _ bool) bool { return !slices.Contains(list, n) })
}

// heard takes advertisements, and returns the neighbours that are back at an address that they had left.
func (f *finder) heard(now time.Time, list []rtadv.Heard) (returned []unnumbered.Neighbor) {
	slices.SortFunc(list, func(a, b rtadv.Heard) int {
		return cmp.Or(cmp.Compare(a.IfIndex, b.IfIndex), a.From.Compare(b.From), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	for _, h := range list {
		if n, again := f.tracker.Heard(now, h.IfIndex, h.From, h.MAC); again {
			returned = append(returned, n)
		}
	}
	return returned
}

// session takes how a session is.
func (f *finder) session(now time.Time, s bgp.PeerStatus) {
	n := unnumbered.Neighbor{Interface: s.Key.Addr.Zone(), Addr: s.Key.Addr.WithZone(""), Local: s.Key.Local}
	synced := len(s.Families) > 0
	for _, one := range s.Families {
		synced = synced && (!one.EndOfRIB.IsZero() || s.Negotiated != nil && !s.Negotiated.Families.Has(one.Family))
	}
	switch up := s.State == bgp.Established; {
	case up:
		f.alive[n] = true
	case f.alive[n]:
		delete(f.alive, n)
		if i := slices.IndexFunc(f.links, func(l unnumbered.Link) bool { return l.Interface == n.Interface }); i >= 0 {
			f.solicit.begin(f.links[i].IfIndex)
		}
	}
	f.tracker.Session(now, n, unnumbered.Session{Up: s.State == bgp.Established, RouterID: s.RouterID, AS: s.AS,
		Retained: s.State != bgp.Established && s.Restart != bgp.RestartNone, Synced: synced})
}

// withFound returns a configuration with the interfaces that are there, and with who was found.
func (n *finders) withFound(c *config.Config) *config.Config {
	links, found := map[string][]string{}, map[string][]config.Found{}
	for _, d := range c.Domains {
		for _, p := range n.list {
			if p.namespace.NetNS() != d.NetNS {
				continue
			}
			for _, l := range p.links {
				links[d.Name] = append(links[d.Name], l.Interface)
			}
			for _, one := range p.tracker.Neighbors() {
				found[d.Name] = append(found[d.Name], config.Found{Interface: one.Interface, Address: config.Addr{Addr: one.Addr}, Local: config.Addr{Addr: one.Local}})
			}
		}
	}
	return c.WithFound(links, found)
}

// deadline returns when advance has something to do, the zero time if never.
func (n *finders) deadline() (next time.Time) {
	for _, p := range n.list {
		for _, t := range []time.Time{p.tracker.Deadline(), p.solicit.deadline()} {
			if !t.IsZero() && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}

// findNeighbors takes who is found now. It comes after whatever may have changed that.
func (r *router) findNeighbors() {
	if len(r.finders.list) == 0 {
		return
	}
	now := r.now()
	for _, p := range r.finders.list {
		p.find(now, r.cfg)
		p.tracker.Advance(now)
		p.forget()
	}
	if r.finders.waiting {
		return
	}
	c := r.finders.withFound(r.cfg)
	if c.SameFound(r.cfg) {
		return
	}
	r.finders.lines.changed(r.cfg, c, now)
	r.use(c)
	r.refresh()
}

// openFinders opens what hears and sends advertisements, in the namespaces that need it. Which those
// are does not change while the daemon runs.
func (d *Daemon) openFinders(t *tasks, c *config.Config, open func(path string) (advertisements, error)) error {
	d.router.finders.waiting = d.again
	for _, n := range d.router.namespaces {
		if !slices.ContainsFunc(c.Domains, func(d config.Domain) bool { return d.NetNS == n.NetNS() && d.Unnumbered() }) {
			continue
		}
		conn, err := open(n.Path())
		if err != nil {
			return err
		}
		p := newFinder(n, conn)
		d.router.finders.list = append(d.router.finders.list, p)
		t.start("router advertisements", conn.Run)
		t.start("", func(ctx context.Context) error { return d.pumps.heard(ctx, p, conn) })
	}
	return nil
}

// findTime is how long a start waits for neighbours to be found. A router answers a solicitation within
// half a second (RFC 4861, Section 6.2.6), or advertises itself each 10 s or so.
const findTime = 5 * time.Second

// findFirst waits until a neighbour has been found on each interface that has its carrier, if an earlier
// run had sessions, and takes all of them then: those BFD sessions that nobody has asked for by then are
// removed. Meanwhile the BFD process takes dead next hops out by itself.
func (d *Daemon) findFirst(ctx context.Context) {
	if !d.again || len(d.router.finders.list) == 0 {
		return
	}
	defer d.loop.do(ctx, func() {
		d.router.finders.waiting = false
		d.router.findNeighbors()
	})
	for until := time.Now().Add(findTime); time.Now().Before(until); {
		waits := false
		if !d.loop.do(ctx, func() { waits = d.router.finders.waits() }) || !waits || pause(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

// waits reports whether an interface has its carrier, and no neighbour yet.
func (n *finders) waits() bool {
	for _, p := range n.list {
		list := p.tracker.Neighbors()
		for _, l := range p.links {
			if p.up[l.IfIndex] && !slices.ContainsFunc(list, func(o unnumbered.Neighbor) bool { return o.Interface == l.Interface }) {
				return true
			}
		}
	}
	return false
}

// none returns the interfaces on which neighbours are to be found, and none is, in the order of the file.
func (n *finders) none(c *config.Config) (out []api.NoNeighbor) {
	for _, p := range n.list {
		found := p.tracker.Neighbors()
		for _, d := range c.Domains {
			if d.NetNS != p.namespace.NetNS() {
				continue
			}
			for i, line := range d.Neighbors {
				names := []string{line.Interface}
				if line.Pattern() {
					names = nil
				}
				for _, l := range p.links {
					if line.Pattern() && d.NeighborOn(l.Interface) == i {
						names = append(names, l.Interface)
					}
				}
				for _, name := range names {
					if !line.Unnumbered() || slices.ContainsFunc(found, func(o unnumbered.Neighbor) bool { return o.Interface == name }) {
						continue
					}
					out = append(out, api.NoNeighbor{Domain: d.Name, Interface: name, Carrier: p.ready(name), Pattern: line.Pattern()})
				}
			}
		}
	}
	return out
}

// ready reports whether an interface is up, with a link-local address of ours.
func (f *finder) ready(name string) bool {
	for l := range f.namespace.Links().All {
		if l.Interface == name && l.Up() {
			return f.namespace.LinkLocal(name).IsValid()
		}
	}
	return false
}

// heard brings advertisements.
func (p *pumps) heard(ctx context.Context, f *finder, a advertisements) error {
	for {
		list, err := a.Next(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		var returned []unnumbered.Neighbor
		p.loop.do(ctx, func() {
			returned = f.heard(p.router.now(), list)
			p.router.findNeighbors()
		})
		for _, n := range returned {
			for _, s := range p.sessions.In(f.namespace.NetNS()) {
				_ = s.PeerReturned(bgp.PeerKey{Addr: n.Addr.WithZone(n.Interface), Local: n.Local}) // another domain's, or gone meanwhile
			}
		}
	}
}

// followSessions brings how the sessions with found neighbours are.
func (p *pumps) followSessions(t *tasks) {
	for _, f := range p.router.finders.list {
		for _, s := range p.sessions.In(f.namespace.NetNS()) {
			w := s.Watch()
			t.start("sessions of neighbours", func(ctx context.Context) error { return p.follow(ctx, f, s, w) })
		}
	}
}

// follow brings how the sessions of one speaker are until ctx or the speaker has ended.
func (p *pumps) follow(ctx context.Context, f *finder, s *bgp.Speaker, w *bgp.Watcher) error {
	defer w.Close()
	changed := map[bgp.PeerKey]bool{}
	buf := make([]bgp.Event, 64)
	for {
		n, err := w.Next(ctx, buf)
		if err != nil {
			return nil
		}
		clear(changed)
		for _, e := range buf[:n] {
			if e.Peer.Addr.IsLinkLocalUnicast() && e.Peer.Addr.Is6() {
				changed[e.Peer] = true
			}
		}
		var list []bgp.PeerStatus
		for _, k := range slices.SortedFunc(maps.Keys(changed), func(a, b bgp.PeerKey) int { return cmp.Or(a.Addr.Compare(b.Addr), a.Local.Compare(b.Local)) }) {
			if st, err := s.Peer(k); err == nil {
				list = append(list, st)
			}
		}
		if len(list) == 0 {
			continue
		}
		p.loop.do(ctx, func() {
			for _, st := range list {
				f.session(p.router.now(), st)
			}
			p.router.findNeighbors()
		})
	}
}
