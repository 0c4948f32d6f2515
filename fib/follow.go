package fib

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// RouteFilter selects the routes that a [RouteWatcher] reports. The zero value is all of
// them.
type RouteFilter struct {
	// Tables are the tables whose routes are reported. nil is every table; 0 is the main
	// table (254).
	Tables []uint32
	// Accept has the last word if not nil. It is called with the FIB locked, from any
	// goroutine: it must not block and not call the FIB.
	Accept func(RouteKey) bool
}

// RouteChange is the newest status of a route. With Gone the route is neither desired nor
// ours in the kernel any more, and only RouteKey counts.
type RouteChange struct {
	RouteStatus
	Gone bool
}

// RouteWatcher reports how far routes have come: whether the kernel has them, refuses
// them, or has lost them. A program that announces what it routes announces a route when
// it is StateInstalled or StatePartial, and withdraws it when it is StateFailed,
// StateForeign, StateHeld or Gone, or stays StateLost or StatePending with Present false
// for longer than a repair may take.
//
// The first changes are the rows of [FIB.Routes] at the time of [FIB.WatchRoutes]; every
// change of status follows. Changes of one route coalesce: the reader gets the status at
// the time of Next, so a slow reader costs one entry for each route that has changed, and
// misses only what was over meanwhile. The same status may come twice. A RouteWatcher is
// safe for concurrent use.
type RouteWatcher struct {
	fib    *FIB
	filter RouteFilter

	mu     sync.Mutex // taken after FIB.mu
	dirty  map[rkey]bool
	queue  []rkey // the keys of dirty, first in first out
	rows   int    // of the queue: left of the rows at the beginning
	synced bool   // the reader knows that it has had these
	closed bool
	ready  chan struct{} // capacity 1
}

// WatchRoutes starts to report how far routes have come.
func (f *FIB) WatchRoutes(filter RouteFilter) *RouteWatcher {
	filter.Tables = slices.Clone(filter.Tables)
	for i, t := range filter.Tables {
		filter.Tables[i] = or(t, rtnl.RT_TABLE_MAIN)
	}
	w := &RouteWatcher{fib: f, filter: filter, dirty: map[rkey]bool{}, ready: make(chan struct{}, 1)}
	f.lock()
	defer f.unlock()
	f.store.all(func(_ uint32, e *entry) {
		if e.want != nil || e.have != nil {
			w.add(f.core, &e.key)
		}
	})
	w.rows = len(w.queue)
	w.poke() // also when there are none
	f.followers = append(f.followers, w)
	if f.ended() {
		w.end()
	}
	return w
}

// Next waits for changes and stores up to len(buf) of them. synced is true once the rows
// that were there at the beginning have all been returned; a return with n = 0 and synced
// true says just that. Next returns ctx's error, or ErrClosed after Close or the end of
// Run.
func (w *RouteWatcher) Next(ctx context.Context, buf []RouteChange) (n int, synced bool, err error) {
	for {
		n, first, closed := w.take(buf)
		switch {
		case n > 0 || first:
			return n, w.isSynced(), nil
		case closed:
			return 0, w.isSynced(), ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, w.isSynced(), ctx.Err()
		case <-w.ready:
		}
	}
}

// All iterates over the changes until ctx ends, Close is called or Run ends; the last
// pair has the error of [RouteWatcher.Next].
func (w *RouteWatcher) All(ctx context.Context) iter.Seq2[RouteChange, error] {
	return func(yield func(RouteChange, error) bool) {
		buf := make([]RouteChange, 64)
		for {
			n, _, err := w.Next(ctx, buf)
			for _, c := range buf[:n] {
				if !yield(c, nil) {
					return
				}
			}
			if err != nil {
				yield(RouteChange{}, err)
				return
			}
		}
	}
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *RouteWatcher) Close() {
	w.fib.lock()
	w.fib.followers = slices.DeleteFunc(w.fib.followers, func(v *RouteWatcher) bool { return v == w })
	w.fib.unlock()
	w.end()
}

func (w *RouteWatcher) end() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
}

func (w *RouteWatcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *RouteWatcher) isSynced() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.synced
}

// take moves changes into buf. first reports that the reader is to hear of synced.
func (w *RouteWatcher) take(buf []RouteChange) (n int, first, closed bool) {
	w.fib.lock() // for the status; before mu
	defer w.fib.unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n < len(buf) && len(w.queue) > 0 {
		key := w.queue[0]
		w.queue = w.queue[1:]
		delete(w.dirty, key)
		w.rows = max(w.rows-1, 0)
		buf[n] = w.fib.changeOf(&key)
		n++
	}
	if len(w.queue) == 0 {
		w.queue = nil
	}
	if w.rows == 0 && !w.synced {
		w.synced, first = true, true
	}
	if len(w.queue) > 0 || w.closed {
		w.poke() // for other callers of Next
	}
	return n, first, w.closed
}

func (c *core) changeOf(key *rkey) RouteChange {
	i, e := c.store.find(key)
	if e == nil || e.want == nil && e.have == nil {
		s := RouteStatus{}
		s.RouteKey = c.unpack(key)
		return RouteChange{RouteStatus: s, Gone: true}
	}
	return RouteChange{RouteStatus: c.statusOf(i, e)}
}

// add notes that the status of a route has changed.
func (w *RouteWatcher) add(c *core, key *rkey) {
	if w.filter.Tables != nil && !slices.Contains(w.filter.Tables, c.tables.list[key.table].table) {
		return
	}
	if w.filter.Accept != nil && !w.filter.Accept(c.unpack(key)) {
		return
	}
	w.mu.Lock()
	if !w.dirty[*key] {
		w.dirty[*key] = true
		w.queue = append(w.queue, *key)
	}
	w.mu.Unlock()
}

// note remembers that the status of e has changed, if anybody wants to know.
func (c *core) note(i uint32, e *entry) {
	if len(c.followers) == 0 || e.mark&markNoted != 0 {
		return
	}
	e.mark |= markNoted
	c.noted = append(c.noted, i)
}

// clear takes marks off e, some of which its status shows.
func (c *core) clear(i uint32, e *entry, m mark) {
	if e.mark&m&(markYielding|markLost|markBehind) != 0 {
		c.note(i, e)
	}
	e.mark &^= m
}

// forget tells the followers that e has come to its end, before its number is used again.
func (c *core) forget(e *entry) {
	for _, w := range c.followers {
		w.add(c, &e.key)
		w.poke()
	}
}

// tell passes what was noted to the followers.
func (c *core) tell() {
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
			w.add(c, &e.key)
		}
	}
	c.noted = c.noted[:0]
	for _, w := range c.followers {
		w.poke()
	}
}

// noteGroups notes the routes of all groups that have news.
func (c *core) noteGroups() {
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
