package failover

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/bfdrestart"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// state is what is known of the BFD sessions of a configuration and of the gateways behind
// them. It has no lock, clock or kernel: its methods return what is to be done.
type state struct {
	watches []peering.Watch
	configs map[bfd.Key]bfd.SessionConfig // what each session is to be, with its failover list
	up      map[bfd.Key]bool              // sessions that are Up
	known   map[bfd.Key]bool              // sessions of which an event has come in this run
	failed  map[bfd.Key]bool              // sessions that have failed, and are not back
	down    map[bfd.Key][]gateway         // gateways that are out of the kernel's groups, by the session that failed
	names   map[string]map[int]string     // names of interfaces, by the path of their namespace

	dependents map[bfd.Key]peering.Dependents // of watches
	listed     objects                        // those that the failover lists are of; nil: the lists are to be made anew
}

// gateway is a next hop of the kernel.
type gateway struct {
	netns string // path of its namespace
	link  int    // interface index
	addr  netip.Addr
}

// gatewaysOf returns the gateways that fib knows in the namespace at a path. Those include
// next-hop objects which the BFD process has deleted already: fib must know that they are to
// stay away.
type gatewaysOf func(netns string) []fib.Gateway

// objects are the next-hop objects of the kernel, by the path of their namespace.
type objects map[string][]fib.NextHopObject

func newState() state {
	return state{configs: map[bfd.Key]bfd.SessionConfig{}, up: map[bfd.Key]bool{}, known: map[bfd.Key]bool{}, failed: map[bfd.Key]bool{},
		down: map[bfd.Key][]gateway{}, names: map[string]map[int]string{}}
}

// link notes the name of an interface of the namespace at a path.
func (s *state) link(netns string, l fib.Link, gone bool) {
	names := s.names[netns]
	if names == nil {
		names = map[int]string{}
		s.names[netns] = names
	}
	if old, known := names[l.IfIndex]; known && (gone || old != l.Interface) || !known && !gone {
		for _, o := range s.listed[netns] {
			if o.IfIndex == l.IfIndex {
				s.listed = nil
				break
			}
		}
	}
	names[l.IfIndex] = l.Interface
	if gone {
		delete(names, l.IfIndex)
	}
}

// configure replaces the watches. It returns the sessions to remove, because they are not
// configured any more or must be made anew, and the gateways that may come back with that.
func (s *state) configure(watches []peering.Watch, o objects) (remove []bfd.Key, back []gateway) {
	next := map[bfd.Key]bfd.SessionConfig{}
	for _, w := range watches {
		next[w.Key] = w.Config
	}
	old := s.configs
	s.watches, s.configs = watches, next
	s.dependents, s.listed = map[bfd.Key]peering.Dependents{}, nil
	for _, w := range watches {
		s.dependents[w.Key] = peering.NewDependents(w, watches)
	}
	for _, k := range slices.SortedFunc(maps.Keys(old), compareKeys) {
		if n, ok := next[k]; !ok || n.Echo != old[k].Echo {
			remove = append(remove, k)
			back = append(back, s.recover(k)...)
			delete(s.up, k)
			delete(s.known, k)
		}
	}
	s.updateLists(o)
	return remove, back
}

// compareKeys is an order of sessions, in which whatever concerns several is done.
func compareKeys(a, b bfd.Key) int {
	multihop := func(k bfd.Key) int {
		if k.Multihop {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), cmp.Compare(a.Interface, b.Interface), a.Peer.Compare(b.Peer), a.Local.Compare(b.Local), multihop(a)-multihop(b))
}

// refresh computes the failover lists from other next-hop objects. It returns the sessions whose
// list is another, by key, and the gateways that have appeared behind sessions which have failed.
func (s *state) refresh(o objects, kernel gatewaysOf) (changed []bfd.Key, down []gateway) {
	changed = s.updateLists(o)
	for _, w := range s.watches {
		if s.failed[w.Key] {
			down = append(down, s.fail(w, kernel)...)
		}
	}
	return changed, down
}

// updateLists computes which next-hop objects the BFD process may delete for each session. It
// returns the sessions for which those are others than before, by key. What it does depends on
// what has changed: there may be an object for each host of a fleet.
func (s *state) updateLists(o objects) (changed []bfd.Key) {
	others := map[string]difference{}
	for netns, list := range o {
		others[netns] = differ(s.listed[netns], list)
	}
	for _, w := range s.watches {
		names := s.names[w.Key.NetNS]
		c := s.configs[w.Key]
		d := others[w.Key.NetNS]
		goes := func(n bfd.NextHop) bool { return s.listed == nil || d.gone[n.ID] }
		var come []bfd.NextHop
		for _, object := range d.come {
			if n, ok := s.dependents[w.Key].Has(object, func(i int) (string, bool) { n, ok := names[i]; return n, ok }); ok {
				come = append(come, n)
			}
		}
		if len(come) == 0 && !slices.ContainsFunc(c.Failover, goes) {
			continue
		}
		list := append(slices.DeleteFunc(slices.Clone(c.Failover), goes), come...)
		slices.SortFunc(list, func(a, b bfd.NextHop) int { return cmp.Compare(a.ID, b.ID) })
		if peering.SameFailover(list, c.Failover) {
			continue
		}
		c.Failover = list
		s.configs[w.Key] = c
		changed = append(changed, w.Key)
	}
	s.listed = o
	slices.SortFunc(changed, compareKeys)
	return changed
}

// difference is how two lists of next-hop objects differ. An object that has changed goes and comes.
type difference struct {
	gone map[uint32]bool
	come []fib.NextHopObject
}

// differ compares lists, which are sorted by id.
func differ(old, list []fib.NextHopObject) (d difference) {
	d.gone = map[uint32]bool{}
	for len(old) > 0 || len(list) > 0 {
		switch {
		case len(list) == 0 || len(old) > 0 && old[0].ID < list[0].ID:
			d.gone[old[0].ID] = true
			old = old[1:]
		case len(old) == 0 || list[0].ID < old[0].ID:
			d.come = append(d.come, list[0])
			list = list[1:]
		default:
			if old[0] != list[0] {
				d.gone[old[0].ID] = true
				d.come = append(d.come, list[0])
			}
			old, list = old[1:], list[1:]
		}
	}
	return d
}

// verdict is what an event of a session means.
type verdict uint8

const (
	unchanged     verdict = iota
	sessionUp             // the session is Up
	sessionFailed         // the path is dead
	failedEarlier         // the path died while no daemon was there; the BFD process has deleted its next hops
	neverUp               // a probe of an earlier run has been down for the time of grace already
	adminDown             // the operator of the peer has stopped BFD
	peerRestarted         // the peer has begun its session anew, and may be well
	selfRestarted         // our BFD process has begun the session anew: it says nothing of the path
)

// outcome is what follows from an event.
type outcome struct {
	verdict verdict
	watch   peering.Watch
	down    []gateway // gateways to take out of the groups
	back    []gateway // gateways that may come back
}

// watch returns the watch of a session, if there is one.
func (s *state) watch(k bfd.Key) (w peering.Watch, ok bool) {
	i := slices.IndexFunc(s.watches, func(w peering.Watch) bool { return w.Key == k })
	if i < 0 {
		return w, false
	}
	return s.watches[i], true
}

// event takes an event of a session at a time.
func (s *state) event(e bfd.Event, now time.Time, kernel gatewaysOf) outcome {
	w, ok := s.watch(e.Key)
	if !ok || e.Removed {
		return outcome{}
	}
	o := outcome{watch: w}
	was, first := s.up[e.Key], !s.known[e.Key]
	s.known[e.Key] = true
	switch {
	case first && e.State == bfd.StateDown && e.Downs > 0 && e.Reason != bfd.ReasonRemoteAdminDown:
		// BGP need not wait for that peer, and its gateways stay out also where other sessions
		// announce them.
		o.verdict, o.down = failedEarlier, s.fail(o.watch, kernel)
	case first && e.State == bfd.StateDown && e.Reason == bfd.ReasonRemoteAdminDown:
		o.verdict = adminDown
	case first && e.State == bfd.StateDown && o.watch.Probe() && now.Sub(e.Time) >= graceTime:
		o.verdict = neverUp // in the life of the BFD process, which is longer than ours
	case e.State == bfd.StateUp && !was:
		s.up[e.Key] = true
		o.verdict, o.back = sessionUp, s.recover(e.Key)
	case e.State == bfd.StateDown && was && e.Reason == bfd.ReasonRemoteAdminDown:
		// RFC 5882, Section 4.2: the operator of the peer has stopped BFD, the path may be well.
		delete(s.up, e.Key)
		o.verdict = adminDown
	case was && bfdrestart.ByUs(e): // the gateways stay as they are until it is known what the path is
		delete(s.up, e.Key)
		o.verdict = selfRestarted
	case e.State == bfd.StateDown && was:
		delete(s.up, e.Key)
		o.verdict, o.down = sessionFailed, s.fail(o.watch, kernel)
		if bfdrestart.ByPeer(e) {
			o.verdict = peerRestarted
		}
	}
	return o
}

// fail returns the gateways that are dead with a session, but for those which are out already
// or which another session that is Up watches.
func (s *state) fail(w peering.Watch, kernel gatewaysOf) (dead []gateway) {
	hops := w.Alone(s.watches, func(k bfd.Key) bool { return s.up[k] })
	s.failed[w.Key] = true
	out := make(map[gateway]bool, len(s.down[w.Key])) // there may be one for each host of a fleet
	for _, g := range s.down[w.Key] {
		out[g] = true
	}
	for _, g := range kernel(w.Key.NetNS) {
		one := gateway{w.Key.NetNS, g.IfIndex, g.Gateway}
		if name, ok := s.names[w.Key.NetNS][g.IfIndex]; ok && hops.Cover(name, g.Gateway) && !out[one] {
			dead = append(dead, one)
		}
	}
	s.down[w.Key] = append(s.down[w.Key], dead...)
	return dead
}

// recover ends the failure of a session and returns the gateways that were out because of it.
func (s *state) recover(k bfd.Key) (back []gateway) {
	back = s.down[k]
	delete(s.down, k)
	delete(s.failed, k)
	return back
}

// silentProbes returns the watches of probes that are not Up.
func (s *state) silentProbes() (list []peering.Watch) {
	for _, w := range s.watches {
		if w.Probe() && !s.up[w.Key] {
			list = append(list, w)
		}
	}
	return list
}
