package fibcore

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// Follower collects the routes whose status has changed, for one reader. It begins with
// those that are there. All methods are part of the core, and under its lock.
type Follower struct {
	core   *Core
	tables []uint32                 // nil: all
	accept func(wire.RouteKey) bool // may be nil
	wake   func()                   // there is something to take; must not block

	dirty map[rkey]bool
	queue []rkey // the keys of dirty, first in first out
	rows  int    // of the queue: left of those that were there at the beginning
}

// Follow begins to collect. tables nil is all of them; accept may be nil.
func (c *Core) Follow(tables []uint32, accept func(wire.RouteKey) bool, wake func()) *Follower {
	w := &Follower{core: c, tables: tables, accept: accept, wake: wake, dirty: map[rkey]bool{}}
	c.store.all(func(_ uint32, e *entry) {
		if e.want != nil || e.have != nil {
			w.add(&e.key)
		}
	})
	w.rows = len(w.queue)
	c.followers = append(c.followers, w)
	return w
}

// Unfollow ends it.
func (c *Core) Unfollow(w *Follower) {
	c.followers = slices.DeleteFunc(c.followers, func(v *Follower) bool { return v == w })
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
	c := w.core
	c.clock = now
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
	c := w.core
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

// note remembers that the status of e has changed, if anybody wants to know.
func (c *Core) note(i uint32, e *entry) {
	if len(c.followers) == 0 || e.mark&markNoted != 0 {
		return
	}
	e.mark |= markNoted
	c.noted = append(c.noted, i)
}

// clear takes marks off e, some of which its status shows.
func (c *Core) clear(i uint32, e *entry, m mark) {
	if e.mark&m&(markYielding|markLost|markBehind) != 0 {
		c.note(i, e)
	}
	e.mark &^= m
}

// forget tells the followers that e has come to its end, before its number is used again.
func (c *Core) forget(e *entry) {
	for _, w := range c.followers {
		w.add(&e.key)
		w.wake()
	}
}

// tell passes what was noted to the followers.
func (c *Core) tell() {
	if c.news {
		c.news = false
		c.noteGroups()
	}
	if len(c.noted) == 0 {
		return
	}
	for _, i := range c.noted {
		if i >= c.store.n {
			continue // released meanwhile, and all others, too
		}
		e := c.store.at(i)
		if e.mark&markNoted == 0 {
			continue // released meanwhile
		}
		e.mark &^= markNoted
		for _, w := range c.followers {
			w.add(&e.key)
		}
	}
	c.noted = c.noted[:0]
	for _, w := range c.followers {
		w.wake()
	}
}

// noteGroups notes the routes of all groups that have news.
func (c *Core) noteGroups() {
	if len(c.followers) > 0 {
		c.store.all(func(i uint32, e *entry) {
			if e.have != nil && e.have.group != nil && e.have.group.news || e.want != nil && e.want.group != nil && e.want.group.news {
				c.note(i, e)
			}
		})
	}
	for _, k := range c.objects.kernel {
		k.news = false
	}
	for _, g := range c.groups {
		g.news = false
	}
}
