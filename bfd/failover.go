package bfd

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// failover takes the next-hop objects of dead sessions out of the kernel, as
// [bfdcore.Failover] decides. It runs on a thread of its own: netlink waits for locks
// that bulk route writers hold for 100 ms, which the owner of the sessions must never do.
type failover struct {
	server *Server // whose sessions they are
	dead   *marks  // sessions that went down and have next hops
}

// dying is a session that went Down and what it asked to be done then.
type dying struct {
	key   Key           // of the session
	space *netnsSockets // where it ran
	list  []NextHop     // next hops that were to go with it
	entry *entry        // the session itself
	at    time.Duration // when it went down
}

// run serves until the server is closed.
func (f *failover) run() {
	runtime.LockOSThread()
	for range f.dead.ready {
		dying, closed := f.collect()
		if closed {
			return
		}
		f.executeAll(dying)
	}
}

// collect lists the sessions that went Down for a reason that takes paths away.
// AdminDown, on either side, says nothing about the path (RFC 5882, Section 4.2).
func (f *failover) collect() (list []dying, closedNow bool) {
	s := f.server
	s.mu.Lock()
	defer s.mu.Unlock()
	f.dead.drain(func(slot int) {
		if slot >= len(s.slots) || s.slots[slot] == nil || s.slots[slot].removed {
			return
		}
		e := s.slots[slot]
		fact := e.cell.read()
		lost := fact.reason == ReasonExpired || fact.reason == ReasonNeighborDown || fact.reason == ReasonEchoFailed
		if fact.state == StateUp || !lost || fact.downs == e.failed || len(e.kept.Failover) == 0 || e.space == nil {
			return
		}
		e.failed = fact.downs
		list = append(list, dying{key: e.key, space: e.space, list: e.kept.Failover, entry: e, at: fact.since})
	})
	return list, s.state == closed
}

// executeAll does what sessions asked for, and reports it.
func (f *failover) executeAll(list []dying) {
	for _, d := range list {
		f.server.reportFailover(d.entry, f.execute(d))
	}
}

// execute does what one session asked for.
func (f *failover) execute(d dying) []FailoverResult {
	results := make([]FailoverResult, len(d.list))
	done := func(i int, err error) {
		results[i] = FailoverResult{ID: d.list[i].ID, Deleted: err == nil, Took: f.server.clock.now() - d.at}
		if err != nil {
			results[i].Err = err.Error()
		}
	}
	err := d.space.withNextHops(func(k nextHops) error {
		work := bfdcore.Failover{Kernel: k}
		if err := work.Begin(); err != nil {
			return err
		}
		var w watched
		for i, n := range d.list {
			f.watch(&w, d.key.NetNS)
			work.Up = w.up
			done(i, work.Delete(bfdcore.DeadNextHop{ID: n.ID, Link: n.IfIndex, Gateway: n.Gateway.Unmap().WithZone(""), Strict: len(n.Guards) > 0, Guarded: w.guarded(n.Guards)}))
		}
		return nil
	})
	if err != nil {
		for i := range d.list {
			done(i, err)
		}
	}
	return results
}

// watched are the sessions of a network namespace as they were read last, and what they watch.
type watched struct {
	sessions []watching
	next     []watching      // scratch
	up       map[uint32]bool // of each object that a session watches, whether one of those is Up
}

// watching is a session that exists.
type watching struct {
	key   Key
	entry *entry
	list  []NextHop
	alive bool // it is Up
}

func (w watching) same(o watching) bool {
	return w.entry == o.entry && w.alive == o.alive && len(w.list) == len(o.list) && (len(w.list) == 0 || &w.list[0] == &o.list[0])
}

// watch reads the states of the sessions now: between two deletions they may change, but mostly do
// not. Only those of a network namespace watch its objects, any may be a guard.
func (f *failover) watch(w *watched, netns string) {
	s := f.server
	s.mu.Lock()
	w.next = w.next[:0]
	for k, e := range s.entries {
		if e.removed {
			continue
		}
		x := watching{key: k, entry: e, alive: e.cell.read().state == StateUp}
		if k.NetNS == netns {
			x.list = e.kept.Failover
		}
		w.next = append(w.next, x)
	}
	s.mu.Unlock()
	slices.SortFunc(w.next, func(a, b watching) int { return cmp.Compare(a.entry.slot, b.entry.slot) })
	w.sessions, w.next = w.next, w.sessions
	if w.up != nil && slices.EqualFunc(w.sessions, w.next, watching.same) {
		return
	}
	w.up = map[uint32]bool{}
	for _, x := range w.sessions {
		for _, n := range x.list {
			w.up[n.ID] = w.up[n.ID] || x.alive
		}
	}
}

// guarded reports whether one of some sessions is Up. No sessions at all counts as guarded.
func (w *watched) guarded(guards []Key) bool {
	return len(guards) == 0 || slices.ContainsFunc(w.sessions, func(x watching) bool {
		return x.alive && slices.ContainsFunc(guards, func(g Key) bool { return g.Normal() == x.key })
	})
}
