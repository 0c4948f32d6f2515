package sessions

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overlay"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Sink takes the paths of the domains. Each speaker calls it from one goroutine and waits for
// it: meanwhile the changes of the speaker's table are coalesced. A call that comes after the
// sink's end does nothing.
type Sink interface {
	// Paths takes changes of a domain's paths, and whether those are all that there are to
	// begin with.
	Paths(ctx context.Context, domain string, u Update)
	// EVPN takes changes of EVPN routes of the sessions of a domain, or of those that share them, of
	// which it is the first, and whether there will be another call at once.
	EVPN(ctx context.Context, domain string, changes []EVPN, more bool)
	// Dead takes the next hops that are dead from now on, and returns the prefixes of the
	// domain, whose paths come once more.
	Dead(ctx context.Context, domain string, dead failover.Dead) []netip.Prefix
}

// Update is what has changed in a domain. It is valid until the call that takes it returns.
type Update struct {
	Sets []PathSet
	// Converged reports that all peers have sent all of their routes since the start, but for
	// those in Without, which were given up.
	Converged bool
	Without   []bgp.PeerKey
}

// PathSet is the paths of one prefix, best first, none if it has gone.
type PathSet struct {
	Prefix netip.Prefix
	Paths  []peering.Path
	// Alternative: a router other than this one announces the prefix, and is not about to stop.
	Alternative bool
}

// EVPN is what others say of one EVPN route.
type EVPN struct {
	Key   []byte         // see [wire.EVPN]; valid until the call that takes it returns
	Route *overlay.Route // nil: nothing that is of use
}

// changesAtOnce is how many prefixes a sink takes at a time: enough to be worth the switch,
// few enough that the arrival of a guest waits under a millisecond.
const changesAtOnce = 256

// follower brings the paths of a speaker to the domains that it serves. It is one goroutine's, or
// stepped by the loop of the daemon itself.
type follower struct {
	*speaker
	to          Sink
	watcher     *rib.Watcher
	convergence convergence
	buf         []rib.Change
	sets        []PathSet    // scratch
	own         []rib.Path   // scratch
	evpn        []EVPN       // scratch
	unicast     []rib.Change // scratch
	more        bool         // the sink was told that more EVPN routes may follow
}

// newFollower makes a follower, which is to be closed.
func newFollower(s *speaker, to Sink) *follower {
	w := s.bgp.Table().Watch(rib.WatchConfig{Families: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast, wire.L2VPNEVPN), AllPaths: true, Notify: s.poke})
	return &follower{speaker: s, to: to, watcher: w, buf: make([]rib.Change, changesAtOnce)}
}

func (f *follower) close() { f.watcher.Close() }

// setsOf returns the part of changes that a member has, valid until the next call.
func (f *follower) setsOf(no int, changes []rib.Change) []PathSet {
	f.sets = f.sets[:0]
	for _, c := range changes {
		mine := f.members[no].Of(c.Paths, f.own)
		if len(f.members) > 1 {
			f.own = mine
		}
		f.sets = append(f.sets, PathSet{c.Prefix, peering.Remote(mine), peering.Alternative(mine)})
	}
	return f.sets
}

// run brings the paths of the speaker to its sink until ctx ends.
func (f *follower) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		if f.step(ctx) {
			continue
		}
		if next := f.deadline(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(f.now()))
		}
		select {
		case <-f.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// step brings the changes to the sink that there are now, up to changesAtOnce of them, and does
// what is due. It reports whether there may be more.
func (f *follower) step(ctx context.Context) (more bool) {
	f.sayEarly()
	if f.due() {
		f.proceed()
	}
	if f.takesAll() {
		f.takeAll(ctx)
	}
	n := f.watcher.Next(f.buf)
	if n == 0 && f.more {
		f.more = false
		f.to.EVPN(ctx, f.members[0].Domain, nil, false)
	}
	converged := n > 0 && f.buf[n-1].Converged
	if converged {
		n--
	}
	if converged && !closed(f.initialSync.all) {
		// The table has nothing to wait for, but some peer has not sent all of its routes.
		converged, f.convergence = false, newConvergence(f.speaker, f.now())
	}
	f.deliver(ctx, f.split(ctx, f.buf[:n]), converged)
	if n > 0 {
		return true
	}
	if f.convergence.over(f.initialSync.first(), closed(f.initialSync.all), f.now()) {
		f.deliver(ctx, nil, true)
	}
	return false
}

// split brings the changes of EVPN routes among changes to the sink, and returns the others. The buffer
// keeps its room.
func (f *follower) split(ctx context.Context, changes []rib.Change) []rib.Change {
	f.evpn, f.unicast = f.evpn[:0], f.unicast[:0]
	for i := range changes {
		c := &changes[i]
		if c.Family != wire.L2VPNEVPN {
			f.unicast = append(f.unicast, *c)
			continue
		}
		e := EVPN{Key: c.Key}
		if r, ok := overlay.Parse(c); ok {
			e.Route = &r
		}
		f.evpn = append(f.evpn, e)
	}
	if len(f.evpn) == 0 {
		return changes
	}
	f.more = len(changes) == changesAtOnce
	f.to.EVPN(ctx, f.members[0].Domain, f.evpn, f.more)
	return f.unicast
}

// deadline returns when step has something to do although nothing has changed, the zero time if
// never.
func (f *follower) deadline() time.Time {
	return earliest(f.convergence.deadline(), f.speaker.deadline())
}

// deliver has each domain take its part of changes.
func (f *follower) deliver(ctx context.Context, changes []rib.Change, converged bool) {
	if len(changes) == 0 && !converged {
		return
	}
	for no, m := range f.members {
		u := Update{Sets: f.setsOf(no, changes), Converged: converged}
		if converged {
			u.Without = f.missing()
		}
		f.to.Paths(ctx, m.Domain, u)
	}
}

// takeAll delivers all paths once more: next hops have died, or live again.
func (f *follower) takeAll(ctx context.Context) {
	dead := f.nextHops.Dead()
	table := f.bgp.Table()
	for no, m := range f.members {
		all := f.to.Dead(ctx, m.Domain, dead)
		if !table.Converged() {
			continue // nothing has been taken yet
		}
		slices.SortFunc(all, netip.Prefix.Compare) // the sink may have them in any order
		for some := range slices.Chunk(all, changesAtOnce) {
			changes := make([]rib.Change, len(some))
			for i, p := range some {
				changes[i] = rib.Change{Prefix: p, Paths: table.Lookup(p)}
			}
			f.to.Paths(ctx, m.Domain, Update{Sets: f.setsOf(no, changes)})
		}
	}
}
