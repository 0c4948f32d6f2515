package sessions

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// Sink takes the paths of the domains. Each speaker calls it from one goroutine and waits for
// it: meanwhile the changes of the speaker's table are coalesced. A call that comes after the
// sink's end does nothing.
type Sink interface {
	// Paths takes changes of a domain's paths, and whether those are all that there are to
	// begin with.
	Paths(ctx context.Context, domain string, u Update)
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

// PathSet is the best paths of one prefix, none if it has gone.
type PathSet struct {
	Prefix netip.Prefix
	Paths  []peering.Path
}

// changesAtOnce is how many prefixes a sink takes at a time: enough to be worth the switch,
// few enough that the arrival of a guest waits under a millisecond.
const changesAtOnce = 256

// follower brings the paths of a speaker to the domains that it serves.
type follower struct {
	*speaker
	to   Sink
	sets []PathSet  // scratch
	own  []rib.Path // scratch
}

// setsOf returns the part of changes that a member has, valid until the next call.
func (f *follower) setsOf(no int, changes []rib.Change) []PathSet {
	f.sets = f.sets[:0]
	for _, c := range changes {
		mine := f.members[no].Of(c.Paths, f.own)
		if len(f.members) > 1 {
			f.own = mine
		}
		f.sets = append(f.sets, PathSet{c.Prefix, peering.Remote(mine)})
	}
	return f.sets
}

// follow brings the paths of a speaker to a sink until ctx ends.
func follow(ctx context.Context, s *speaker, to Sink) {
	ready := make(chan struct{}, 1)
	notify := func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	}
	w := s.bgp.Table().Watch(rib.WatchConfig{AllPaths: true, Notify: notify})
	defer w.Close()
	f := follower{speaker: s, to: to}
	buf := make([]rib.Change, changesAtOnce)
	var c convergence
	for ctx.Err() == nil {
		select {
		case <-s.again:
			f.takeAll(ctx)
		default:
		}
		n := w.Next(buf)
		converged := n > 0 && buf[n-1].Converged
		if converged {
			n--
		}
		if converged && !closed(s.initialSync.all) {
			// The table has nothing to wait for, but some peer has not sent all of its routes.
			converged, c = false, newConvergence(s)
		}
		f.deliver(ctx, buf[:n], converged)
		if n > 0 {
			continue
		}
		select {
		case <-ready:
		case <-s.again:
			s.ring()
		case <-c.some:
			c.some, c.time = nil, time.After(establishTime)
		case <-c.all:
			f.deliver(ctx, nil, true)
			c = convergence{}
		case <-c.time:
			f.deliver(ctx, nil, true)
			c = convergence{}
		case <-ctx.Done():
		}
	}
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
		for some := range slices.Chunk(all, changesAtOnce) {
			changes := make([]rib.Change, len(some))
			for i, p := range some {
				changes[i] = rib.Change{Prefix: p, Paths: table.Lookup(p)}
			}
			f.to.Paths(ctx, m.Domain, Update{Sets: f.setsOf(no, changes)})
		}
	}
}
