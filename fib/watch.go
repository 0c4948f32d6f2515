package fib

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/watch"
)

// WatchOptions select what a [Watcher] gets. The zero value is everything but
// EventWrite.
type WatchOptions struct {
	// Writes adds an EventWrite for every change that is written.
	Writes bool
	// Buffer bounds the events that wait for the reader. 0 is 1024; with
	// Writes a bigger one may be wanted. What does not fit is counted in an
	// EventLost.
	Buffer int
}

// Watcher hands out events: first, if Run has read the kernel, the state that it has: an
// EventLink for each interface, an EventAddress for each address, and EventSynced. Then
// come changes. Those of interfaces, addresses and next hops coalesce: a slow reader gets
// the newest of each interface and address, and misses only what was over meanwhile. All
// others are reports, of which [WatchOptions.Buffer] wait for the reader at most. A Watcher
// is safe for concurrent use.
type Watcher struct {
	fib     *FIB
	options WatchOptions
	ready   chan struct{} // capacity 1

	mu      sync.Mutex // taken after FIB.mu
	events  []Event
	taken   int              // events ever taken: the number of events[0]
	newest  map[stateKey]int // the number of the event that waits
	reports int              // of events that do not coalesce
	lost    int
	closed  bool
}

// stateKey names what coalescing events are about.
type stateKey struct {
	kind    EventKind
	ifindex int
	addr    netip.Prefix
}

// stateOf reports whether e coalesces.
func stateOf(e *Event) (k stateKey, ok bool) {
	switch e.Kind {
	case EventLink, EventLinkGone:
		return stateKey{kind: EventLink, ifindex: e.Link.IfIndex}, true
	case EventAddress:
		return stateKey{kind: EventAddress, ifindex: e.Link.IfIndex, addr: e.Addr}, true
	case EventNextHops:
		return stateKey{kind: EventNextHops}, true
	}
	return k, e.Kind == EventSynced
}

// Watch starts to report events.
func (f *FIB) Watch(options WatchOptions) *Watcher {
	options.Buffer = cmp.Or(options.Buffer, 1024)
	w := &Watcher{fib: f, options: options, ready: make(chan struct{}, 1), newest: map[stateKey]int{}}
	f.lock()
	defer f.unlock()
	for _, e := range f.core.Snapshot(f.now()) {
		w.add(eventOf(&e))
	}
	f.watchers = append(f.watchers, w)
	if options.Writes {
		f.core.ReportWrites(true)
	}
	if f.over {
		w.end()
	}
	return w
}

// broadcast takes an event of the core.
func (f *FIB) broadcast(e fibcore.Event) {
	if len(f.watchers) == 0 {
		return
	}
	out := eventOf(&e)
	for _, w := range f.watchers {
		w.add(out)
	}
}

// Next waits for events and fills buf with as many as it has room for. Without room it does
// not wait. It returns ctx's error, or ErrClosed after Close or the end of Run, when all
// events before that were returned. With a ctx that has ended it returns what there is, and
// ctx's error only if that is nothing.
func (w *Watcher) Next(ctx context.Context, buf []Event) (n int, err error) {
	for len(buf) > 0 {
		if n, closed := w.take(buf); n > 0 {
			return n, nil
		} else if closed {
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

// All iterates over the events until ctx ends, Close is called or Run ends; the last pair has
// the error of [Watcher.Next].
func (w *Watcher) All(ctx context.Context) iter.Seq2[Event, error] {
	return watch.All(ctx, make([]Event, 64), w.Next)
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watcher) Close() {
	f := w.fib
	f.lock()
	f.watchers = slices.DeleteFunc(f.watchers, func(v *Watcher) bool { return v == w })
	f.core.ReportWrites(slices.ContainsFunc(f.watchers, func(v *Watcher) bool { return v.options.Writes }))
	f.unlock()
	w.end()
}

func (w *Watcher) end() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) take(buf []Event) (n int, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = copy(buf, w.events)
	for i := range buf[:n] {
		if k, ok := stateOf(&buf[i]); !ok {
			w.reports--
		} else if w.newest[k] == w.taken+i {
			delete(w.newest, k)
		}
	}
	w.taken += n
	if w.events = w.events[n:]; len(w.events) == 0 {
		w.events = nil
	}
	if w.lost > 0 && n < len(buf) {
		buf[n] = Event{Kind: EventLost, Time: w.fib.now(), Count: w.lost}
		w.lost, n = 0, n+1
	}
	if w.closed || len(w.events) > 0 || w.lost > 0 {
		w.poke() // for other callers of Next, and what had no room
	}
	return n, w.closed
}

func (w *Watcher) add(e Event) {
	if e.Kind == EventWrite && !w.options.Writes {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	k, state := stateOf(&e)
	at, waits := w.newest[k]
	switch {
	case state && waits:
		w.events[at-w.taken] = e
	case state:
		w.newest[k] = w.taken + len(w.events)
		w.events = append(w.events, e)
	case w.reports < w.options.Buffer:
		w.reports++
		w.events = append(w.events, e)
	default:
		w.lost++
	}
	w.poke()
}

func (w *Watcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
