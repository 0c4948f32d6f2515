package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// follower brings the paths of a speaker to the domains that it serves.
type follower struct {
	*speaker
	loop   loop
	router *router
	of     []*routing // by the member's number
	sets   []pathSet  // scratch
	room   []rib.Path
}

// concern returns what concerns a member of changes, valid until the next call.
func (f *follower) concern(no int, changes []rib.Change) []pathSet {
	f.sets = f.sets[:0]
	for _, c := range changes {
		mine := f.members[no].Of(c.Paths, f.room)
		if len(f.members) > 1 {
			f.room = mine
		}
		f.sets = append(f.sets, pathSet{c.Prefix, peering.Remote(mine)})
	}
	return f.sets
}

// watch brings paths to the loop until ctx ends.
func (s *speaker) watch(ctx context.Context, l loop, r *router, of []*routing) {
	ready := make(chan struct{}, 1)
	notify := func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	}
	w := s.Table().Watch(rib.WatchConfig{AllPaths: true, Notify: notify})
	defer w.Close()
	f := follower{speaker: s, loop: l, router: r, of: of}
	buf := make([]rib.Change, changesAtOnce)
	var h convergence
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
			// The table has nothing to wait for, but not everybody has said everything.
			converged, h = false, s.convergence()
		}
		f.bring(ctx, buf[:n], converged)
		if n > 0 {
			continue
		}
		select {
		case <-ready:
		case <-s.again:
			s.ring()
		case <-h.some:
			h.some, h.time = nil, time.After(establishTime)
		case <-h.all:
			f.bring(ctx, nil, true)
			h = convergence{}
		case <-h.time:
			f.bring(ctx, nil, true)
			h = convergence{}
		case <-ctx.Done():
		}
	}
}

// bring has each domain take what concerns it.
func (f *follower) bring(ctx context.Context, changes []rib.Change, converged bool) {
	if len(changes) == 0 && !converged {
		return
	}
	for no, g := range f.of {
		sets := f.concern(no, changes)
		f.loop.do(ctx, func() {
			if converged {
				g.without = f.missing()
			}
			f.router.onPaths(g, sets, converged)
		})
	}
}

// takeAll takes all paths once more: next hops have died, or live again.
func (f *follower) takeAll(ctx context.Context) {
	dead := f.nextHops.Dead()
	for no, g := range f.of {
		var all []netip.Prefix
		f.loop.do(ctx, func() {
			g.dead = dead
			all = slices.Collect(g.rib.Prefixes)
		})
		if !f.Table().Converged() {
			continue // nothing has been taken yet
		}
		for some := range slices.Chunk(all, changesAtOnce) {
			changes := make([]rib.Change, len(some))
			for i, p := range some {
				changes[i] = rib.Change{Prefix: p, Paths: f.Table().Lookup(p)}
			}
			sets := f.concern(no, changes)
			f.loop.do(ctx, func() { f.router.onPaths(g, sets, false) })
		}
	}
}
