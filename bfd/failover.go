package bfd

import (
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
		for i, n := range d.list {
			var guarded bool
			work.Up, guarded = f.watched(d.key.NetNS, n.Guards)
			done(i, work.Delete(bfdcore.DeadNextHop{ID: n.ID, Link: n.IfIndex, Gateway: n.Gateway.Unmap().WithZone(""), Strict: len(n.Guards) > 0, Guarded: guarded}))
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

// watched reads the states of the sessions now: what they watch, and whether one
// of guards is Up. No guards at all counts as guarded.
func (f *failover) watched(netns string, guards []Key) (up map[uint32]bool, guarded bool) {
	s := f.server
	s.mu.Lock()
	defer s.mu.Unlock()
	up, guarded = map[uint32]bool{}, len(guards) == 0
	for k, e := range s.entries {
		alive := !e.removed && e.cell.read().state == StateUp
		if alive && slices.ContainsFunc(guards, func(g Key) bool { return g.Normal() == k }) {
			guarded = true
		}
		for _, n := range e.kept.Failover {
			if k.NetNS == netns && !e.removed {
				up[n.ID] = up[n.ID] || alive
			}
		}
	}
	return up, guarded
}
