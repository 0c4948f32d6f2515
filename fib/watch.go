package fib

import (
	"cmp"
	"context"
	"sync"
	"time"
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

// Watcher hands out events. It is safe for concurrent use.
type Watcher struct {
	options WatchOptions
	mu      sync.Mutex
	events  []Event
	lost    int
	closed  bool
	ready   chan struct{} // capacity 1
	detach  func(*Watcher)
}

// Next waits for events and returns all there are. It returns ctx's error, or
// ErrClosed after Close or the end of Run.
func (w *Watcher) Next(ctx context.Context) ([]Event, error) {
	for {
		if events, closed := w.take(); len(events) > 0 {
			return events, nil
		} else if closed {
			return nil, ErrClosed
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.ready:
		}
	}
}

// Close ends the watch; a waiting Next returns ErrClosed.
func (w *Watcher) Close() {
	if w.detach != nil {
		w.detach(w)
	}
	w.end()
}

func (w *Watcher) end() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) take() ([]Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.events
	w.events = nil
	if w.lost > 0 {
		events = append(events, Event{Kind: EventLost, Time: time.Now(), Count: w.lost})
		w.lost = 0
	}
	if w.closed {
		w.poke() // for other callers of Next
	}
	return events, w.closed
}

func (w *Watcher) add(e Event) {
	if e.Kind == EventWrite && !w.options.Writes {
		return
	}
	w.mu.Lock()
	if len(w.events) < w.options.Buffer {
		w.events = append(w.events, e)
	} else {
		w.lost++
	}
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) poke() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func newWatcher(options WatchOptions, detach func(*Watcher)) *Watcher {
	options.Buffer = cmp.Or(options.Buffer, 1024)
	return &Watcher{options: options, ready: make(chan struct{}, 1), detach: detach}
}
