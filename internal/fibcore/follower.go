package fibcore

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Follower collects the routes whose status has changed, for one reader. It begins with
// those that are there. All methods are part of the core, and under its lock.
type Follower struct {
	routes *routes
	tables []uint32                 // nil: all
	accept func(wire.RouteKey) bool // may be nil
	wake   func()                   // there is something to take; must not block

	dirty map[rkey]bool
	queue []rkey // the keys of dirty, first in first out
	rows  int    // of the queue: left of those that were there at the beginning
}

// Take returns the status now of the next route that has changed; ok is false if there
// is none.
func (w *Follower) Take(now time.Time) (s RouteStatus, gone, ok bool) {
	if len(w.queue) == 0 {
		return s, false, false
	}
	key := w.queue[0]
	w.queue = w.queue[1:]
	delete(w.dirty, key)
	w.rows = max(w.rows-1, 0)
	if len(w.queue) == 0 {
		w.queue = nil
	}
	c := w.routes
	c.env.clock = now
	i, e := c.store.find(&key)
	if e == nil || e.want == nil && e.have == nil {
		s.RouteKey = c.unpack(&key)
		return s, true, true
	}
	return c.statusOf(i, e), false, true
}

// Pending reports whether Take has something.
func (w *Follower) Pending() bool { return len(w.queue) > 0 }

// Synced reports whether all routes that were there at the beginning have been taken.
func (w *Follower) Synced() bool { return w.rows == 0 }

// add notes that the status of a route has changed.
func (w *Follower) add(key *rkey) {
	c := w.routes
	if w.tables != nil && !slices.Contains(w.tables, c.tables.list[key.table].table) {
		return
	}
	if w.accept != nil && !w.accept(c.unpack(key)) {
		return
	}
	if !w.dirty[*key] {
		w.dirty[*key] = true
		w.queue = append(w.queue, *key)
	}
}
