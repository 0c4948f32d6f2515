package journal

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Lost is the name of the event that stands for those a slow reader did not get; its
// attribute "count" says how many.
const Lost = "lost"

// Event is one thing that happened.
type Event struct {
	Time    time.Time         `json:"time"`
	Name    string            `json:"event"` // stable, for programs: "bgp-up"
	Level   string            `json:"level"` // DEBUG, INFO, WARN or ERROR
	Message string            `json:"message"`
	Attrs   map[string]string `json:"attrs,omitempty"` // shared by all readers: not to be changed
}

// The bounds of a Journal.
const (
	keep       = 256 // events for readers that come later
	most       = 32  // readers at once
	readerRoom = 1024
)

// ErrTooMany is returned by Subscribe when there are enough readers.
var ErrTooMany = errors.New("too many readers of events")

// Journal hands events to readers. The zero value is empty. It is safe for concurrent
// use.
type Journal struct {
	mu      sync.Mutex
	recent  []Event
	readers map[*Reader]struct{}
}

// Publish gives an event to every reader. It does not wait.
func (j *Journal) Publish(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.recent) == keep {
		j.recent = append(j.recent[:0], j.recent[1:]...)
	}
	j.recent = append(j.recent, e)
	for r := range j.readers {
		r.put(e)
	}
}

// Subscribe adds a reader that begins with up to recent events of before.
func (j *Journal) Subscribe(recent int) (*Reader, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.readers) >= most {
		return nil, ErrTooMany
	}
	r := &Reader{journal: j, wake: make(chan struct{}, 1)}
	recent = min(max(recent, 0), len(j.recent))
	for _, e := range j.recent[len(j.recent)-recent:] {
		r.put(e)
	}
	if j.readers == nil {
		j.readers = map[*Reader]struct{}{}
	}
	j.readers[r] = struct{}{}
	return r, nil
}

// Reader is one who follows a Journal. Next is for one goroutine.
type Reader struct {
	journal *Journal
	wake    chan struct{}

	// Guarded by the journal's lock: a ring that begins at first.
	ring  []Event
	first int
	lost  int
	since time.Time // of the first that was lost
}

// put keeps an event, if need be in place of the oldest; the journal's lock is held.
func (r *Reader) put(e Event) {
	if len(r.ring) < readerRoom {
		r.ring = append(r.ring, e)
	} else {
		if r.lost == 0 {
			r.since = r.ring[r.first].Time
		}
		r.lost++
		r.ring[r.first] = e
		r.first = (r.first + 1) % readerRoom
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Next waits for events and gives all there are, in order; if some were lost before them,
// that comes first. It fails when ctx ends.
func (r *Reader) Next(ctx context.Context) ([]Event, error) {
	for {
		if list := r.take(); len(list) > 0 {
			return list, nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *Reader) take() (list []Event) {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	if r.lost > 0 {
		list = append(list, lost(r.lost, r.since))
	}
	list = append(append(list, r.ring[r.first:]...), r.ring[:r.first]...)
	clear(r.ring)
	r.ring, r.first, r.lost = r.ring[:0], 0, 0
	return list
}

// Close ends the subscription.
func (r *Reader) Close() {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	delete(r.journal.readers, r)
}
