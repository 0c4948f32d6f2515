package bfd

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/internal/watch"
)

// board keeps the latest event of every session and hands it to watchers. It is
// where the bound on memory lies: an event per session and watcher, however slow
// the watcher. It is safe for concurrent use.
type board struct {
	mu       sync.Mutex            // guards the following, and the watchers' events
	last     map[Key]Event         // of each session
	watchers map[*Watcher]struct{} // those not closed
	closed   bool                  // the Service has ended
}

// pending is what a watcher has not yet returned about one session.
type pending struct {
	down *Event // a Down that last would hide; nil: none
	last Event  // the newest event
}

// known is what a watcher's reader knows of a session.
type known struct {
	downs    uint64 // Downs of the last event returned, or of the session when the watcher began
	returned bool   // some event of the session was returned
}

// Watcher reads the events of a [Service]: of each session the newest, and before it a Down
// that the newest would hide. What it costs is bounded by the sessions that there are and
// those that its reader has been handed and that were removed. It is safe for concurrent use.
type Watcher struct {
	board *board           // it reads from
	ready chan struct{}    // holds a token while order is not empty
	order []Key            // sessions with something pending, oldest first; others are passed over
	todo  map[Key]*pending // what is pending, by session
	seen  map[Key]known    // by session
	done  bool             // closed by the reader
}

func (b *board) watch() *Watcher {
	w := &Watcher{board: b, ready: make(chan struct{}, 1), todo: map[Key]*pending{}, seen: map[Key]known{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = map[*Watcher]struct{}{}
	}
	b.watchers[w] = struct{}{}
	for _, e := range b.sorted() {
		w.seen[e.Key] = known{downs: e.Downs}
		w.push(e, nil)
	}
	if b.closed {
		w.wake()
	}
	return w
}

// post records the session's newest event. down is its last fall from Up, which
// watchers must see even if e is already the next Up; nil if it never fell.
func (b *board) post(e Event, down *Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.last = map[Key]Event{}
	}
	if e.Removed {
		delete(b.last, e.Key)
	} else {
		kept := e
		kept.Failover = nil
		b.last[e.Key] = kept
	}
	for w := range b.watchers {
		w.push(e, down)
	}
}

// close ends every watcher: Next returns ErrClosed once it has returned every event.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for w := range b.watchers {
		w.wake()
	}
}

// push folds e into what is pending; the board's lock is held. down is as in post.
func (w *Watcher) push(e Event, down *Event) {
	p, seen := w.todo[e.Key], w.seen[e.Key]
	switch {
	case e.Removed && !seen.returned: // the reader need not know that it ever was
		delete(w.todo, e.Key)
		delete(w.seen, e.Key)
		w.compact()
		return
	case p == nil:
		p = &pending{}
		w.todo[e.Key] = p
		w.order = append(w.order, e.Key)
	default:
		last := p.last
		p.hide(&last, &e, seen.downs)
	}
	if down != nil {
		p.hide(down, &e, seen.downs)
	}
	if e.Failover == nil {
		e.Failover = p.last.Failover
	}
	if e.Removed {
		w.seen[e.Key], p.down = known{returned: true}, nil
	}
	p.last = e
	w.wake()
}

// hide keeps a Down that next is about to replace, unless the reader knows it or next reports
// the same fall. The failure of a path is not given up for what was done on purpose.
func (p *pending) hide(down, next *Event, seen uint64) {
	switch {
	case down.State != StateDown || down.Downs <= seen:
	case next.State == StateDown && next.Downs == down.Downs && next.Reason == down.Reason:
	case p.down != nil && p.down.pathFailed() && !down.pathFailed():
	default:
		p.down = down
	}
}

// compact forgets the sessions in order that have nothing pending, when they are the most.
func (w *Watcher) compact() {
	if len(w.order) > 2*len(w.todo)+64 {
		w.order = slices.DeleteFunc(w.order, func(k Key) bool { return w.todo[k] == nil })
	}
}

func (w *Watcher) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Next waits for events and fills buf with as many as it has room for. Without room it does
// not wait. It returns the error of ctx when that ends, and [ErrClosed] after Close, or once
// the service has ended and all events before that were returned.
func (w *Watcher) Next(ctx context.Context, buf []Event) (n int, err error) {
	for len(buf) > 0 {
		if n, closed := w.take(buf); n > 0 {
			return n, nil
		} else if closed {
			return 0, ErrClosed
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return 0, nil
}

// All iterates over the events until ctx ends, Close is called or the service ends; the last
// pair has the error of [Watcher.Next].
func (w *Watcher) All(ctx context.Context) iter.Seq2[Event, error] {
	return watch.All(ctx, make([]Event, 1), w.Next)
}

// Failures is [Watcher.All] with nothing but the failures of paths: for each time that a
// session left Up, the event that reports it, unless one side has taken the session down on
// purpose (RFC 5882, Section 4.2: AdminDown says nothing about the path). A session that is
// Down already because of a failure when the watcher begins is reported, once: a program
// that was away hears of it.
func (w *Watcher) Failures(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		downs := map[Key]uint64{}
		for e, err := range w.All(ctx) {
			failed := err == nil && e.failed(downs[e.Key])
			if downs[e.Key] = e.Downs; e.Removed {
				delete(downs, e.Key)
			}
			if (failed || err != nil) && !yield(e, err) {
				return
			}
		}
	}
}

// failed reports whether the path of a session has failed that the reader knew to have left
// Up downs times.
func (e *Event) failed(downs uint64) bool {
	return !e.Removed && e.Downs > downs && e.pathFailed()
}

// pathFailed reports whether e is a Down that nobody wanted.
func (e *Event) pathFailed() bool {
	return e.State == StateDown && e.Reason != ReasonNone && e.Reason != ReasonRemoteAdminDown && e.Reason != ReasonLocalAdminDown
}

// take moves events to buf. closed reports whether there are no more and none will come.
func (w *Watcher) take(buf []Event) (n int, closed bool) {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	for n < len(buf) && len(w.order) > 0 {
		key := w.order[0]
		p := w.todo[key]
		if p == nil {
			w.order = w.order[1:]
			continue
		}
		buf[n] = w.pop(key, p)
		n++
	}
	closed = w.board.closed || w.done
	if len(w.order) > 0 || closed {
		w.wake() // for other callers of Next
	}
	return n, n == 0 && closed
}

// pop returns the next event of the session that is first in order; the board's lock is held.
func (w *Watcher) pop(key Key, p *pending) (e Event) {
	if p.down != nil {
		e, p.down = *p.down, nil
		w.seen[key] = known{e.Downs, true}
		return e
	}
	w.order = w.order[1:]
	delete(w.todo, key)
	w.seen[key] = known{p.last.Downs, true}
	if p.last.Removed {
		delete(w.seen, key)
	}
	return p.last
}

// Close ends the watcher and frees what it holds. Next returns ErrClosed
// afterwards.
func (w *Watcher) Close() {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	delete(w.board.watchers, w)
	w.order, w.todo, w.seen, w.done = nil, nil, nil, true
	w.wake()
}

// events is a copy of the latest event of every session.
func (b *board) events() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sorted()
}

// sorted is events with the lock held, in the order of their keys.
func (b *board) sorted() []Event {
	list := slices.AppendSeq(make([]Event, 0, len(b.last)), maps.Values(b.last))
	slices.SortFunc(list, func(a, b Event) int { return compareKeys(a.Key, b.Key) })
	return list
}

// event returns the latest event of a session.
func (b *board) event(k Key) (Event, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.last[k]
	return e, ok
}
