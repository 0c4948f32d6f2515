package ndp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Watcher drives a Tracker on a Conn. All methods are safe for concurrent use.
type Watcher struct {
	conn PacketConn

	mu      sync.Mutex // guards tracker and the read deadline
	tracker *Tracker
	pending []WatchEvent // of removed links, for Run to report
}

// NewWatcher makes a Watcher without links on conn, which must receive neighbor
// solicitations and advertisements, and stays the caller's to close.
func NewWatcher(conn PacketConn, cfg WatchConfig) *Watcher {
	return &Watcher{conn: conn, tracker: NewTracker(cfg)}
}

// AddLink watches link; see [Tracker.AddLink].
func (w *Watcher) AddLink(link int, mac MAC, ip netip.Addr) error {
	w.mu.Lock()
	w.tracker.AddLink(link, mac, ip)
	w.mu.Unlock()
	return w.conn.Add(link)
}

// RemoveLink stops watching link; Run reports its stations as Gone.
func (w *Watcher) RemoveLink(link int) {
	w.conn.Remove(link)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, w.tracker.RemoveLink(link)...)
	_ = w.conn.SetReadDeadline(time.Unix(1, 0))
}

// Seed says that somebody on link had ip when it was last heard of; see
// [Tracker.Seed].
func (w *Watcher) Seed(link int, ip netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracker.Seed(time.Now(), link, ip)
	_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // has Run look at the tracker again
}

// Run watches until ctx ends, and then returns nil: it reads packets, asks the
// questions, and calls report for every event, from its own goroutine, which report
// holds up. It returns early only if the Conn fails as a whole.
func (w *Watcher) Run(ctx context.Context, report func(WatchEvent)) error {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock() // so that the loop cannot set its deadline after us
		defer w.mu.Unlock()
		_ = w.conn.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	in := make([]Packet, Batch)
	var events []WatchEvent
	for {
		var alive bool
		if events, alive = w.advance(ctx, events[:0]); !alive {
			return nil
		}
		for _, e := range events {
			report(e)
		}
		n, err := w.conn.Read(in)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		events = w.observe(in[:n], events[:0])
		for _, e := range events {
			report(e)
		}
	}
}

// advance sends the questions that are due, sets the deadline of the next Read, and
// returns false when ctx has ended.
func (w *Watcher) advance(ctx context.Context, events []WatchEvent) ([]WatchEvent, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return nil, false
	}
	events = append(events, w.pending...)
	w.pending = w.pending[:0]
	send, events := w.tracker.Advance(time.Now(), nil, events)
	_, _ = w.conn.Write(send) // a question that cannot go counts as unanswered
	_ = w.conn.SetReadDeadline(w.tracker.Deadline())
	return events, true
}

func (w *Watcher) observe(in []Packet, events []WatchEvent) []WatchEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for i := range in {
		events = w.tracker.Observe(now, &in[i], events)
	}
	return events
}
