package fib

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/watch"
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

// RouteChange is the newest status of a route.
type RouteChange struct {
	RouteStatus
	// Gone: the route is neither desired nor ours in the kernel any more, and only RouteKey
	// counts.
	Gone bool
	// Synced: this is no route. All that were there at the time of [FIB.WatchRoutes] have
	// been returned; it comes once.
	Synced bool
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
	core   *fibcore.Follower
	synced bool // was returned
	closed bool
	ready  chan struct{} // capacity 1
}

// WatchRoutes starts to report how far routes have come.
func (f *FIB) WatchRoutes(filter RouteFilter) *RouteWatcher {
	tables := slices.Clone(filter.Tables)
	for i, t := range tables {
		tables[i] = cmp.Or(t, rtnl.RT_TABLE_MAIN)
	}
	var accept func(wire.RouteKey) bool
	if filter.Accept != nil {
		accept = func(k wire.RouteKey) bool { return filter.Accept(RouteKey(k)) }
	}
	w := &RouteWatcher{fib: f, ready: make(chan struct{}, 1)}
	f.lock()
	defer f.unlock()
	w.core = f.core.Follow(tables, accept, w.poke)
	w.poke() // also when there are none
	f.followers = append(f.followers, w)
	w.closed = f.over
	return w
}

// Next waits for changes and fills buf with as many as it has room for. Without room it
// does not wait. It returns ctx's error, or ErrClosed after Close or the end of Run. With a ctx
// that has ended it returns what there is, and ctx's error only if that is nothing.
func (w *RouteWatcher) Next(ctx context.Context, buf []RouteChange) (n int, err error) {
	for len(buf) > 0 {
		n, closed := w.take(buf)
		switch {
		case n > 0:
			return n, nil
		case closed:
			return 0, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-w.ready:
		}
	}
	return 0, nil
}

// All iterates over the changes until ctx ends, Close is called or Run ends; the last
// pair has the error of [RouteWatcher.Next].
func (w *RouteWatcher) All(ctx context.Context) iter.Seq2[RouteChange, error] {
	return watch.All(ctx, make([]RouteChange, 64), w.Next)
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *RouteWatcher) Close() {
	w.fib.lock()
	w.fib.followers = slices.DeleteFunc(w.fib.followers, func(v *RouteWatcher) bool { return v == w })
	w.fib.core.Unfollow(w.core)
	w.end()
	w.fib.unlock()
}

// end is called under the FIB's lock.
func (w *RouteWatcher) end() {
	w.closed = true
	w.poke()
}

func (w *RouteWatcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// take moves changes into buf, which has room.
func (w *RouteWatcher) take(buf []RouteChange) (n int, closed bool) {
	w.fib.lock()
	defer w.fib.unlock()
	now := w.fib.now()
	for n < len(buf) {
		if !w.synced && w.core.Synced() {
			w.synced = true
			buf[n] = RouteChange{Synced: true}
			n++
			continue
		}
		s, gone, ok := w.core.Take(now)
		if !ok {
			break
		}
		buf[n] = RouteChange{RouteStatus: statusOf(&s), Gone: gone}
		n++
	}
	if w.core.Pending() || !w.synced && w.core.Synced() || w.closed {
		w.poke() // for other callers of Next
	}
	return n, w.closed
}
