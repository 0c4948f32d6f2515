package station

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// Conn is what a [Loop] uses of the connection of a protocol, whose frames are of type F.
type Conn[F any] interface {
	Add(link int) error
	Remove(link int)
	Read([]F) (int, error)
	Write([]F) (int, error)
	SetReadDeadline(time.Time) error
}

// Machine is the pure tracker of a protocol: a [Tracker] and what the frames mean.
type Machine[F any] interface {
	RemoveLink(link int) []Event
	Observe(now time.Time, f *F, events []Event) []Event
	Advance(now time.Time, send []F, events []Event) ([]F, []Event)
	Deadline() time.Time
}

// Loop drives a Machine on a Conn. All methods are safe for concurrent use.
type Loop[F any] struct {
	conn  Conn[F]
	batch int // frames of one Read

	mu      sync.Mutex // guards machine and the read deadline
	machine Machine[F]
	pending []Event // of removed links, for Run to report
}

// NewLoop returns a Loop that reads batch frames at once.
func NewLoop[F any](conn Conn[F], m Machine[F], batch int) *Loop[F] {
	return &Loop[F]{conn: conn, machine: m, batch: batch}
}

// Add calls add, which changes the machine, and receives on link.
func (l *Loop[F]) Add(link int, add func()) error {
	l.mu.Lock()
	add()
	l.mu.Unlock()
	return l.conn.Add(link)
}

// Remove stops receiving on link; Run reports its stations as Gone.
func (l *Loop[F]) Remove(link int) {
	l.conn.Remove(link)
	l.Change(func() { l.pending = append(l.pending, l.machine.RemoveLink(link)...) })
}

// Change calls change, which changes the machine, and has Run look at it again.
func (l *Loop[F]) Change(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.wake()
}

// wake ends a Read, also the next one; the lock is held.
func (l *Loop[F]) wake() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) }

// Run reads frames until ctx ends, and then returns nil. It asks the machine's questions,
// and calls report for every event, from its own goroutine, which report holds up. It
// returns early only if the Conn fails as a whole.
func (l *Loop[F]) Run(ctx context.Context, report func(Event)) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock() // so that the loop cannot set its deadline after us
		defer l.mu.Unlock()
		l.wake()
	})
	defer stop()
	in := make([]F, l.batch)
	var events []Event
	for {
		var alive bool
		if events, alive = l.advance(ctx, events[:0]); !alive {
			return nil
		}
		for _, e := range events {
			report(e)
		}
		n, err := l.conn.Read(in)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		events = l.observe(in[:n], events[:0])
		for _, e := range events {
			report(e)
		}
	}
}

// advance sends the questions that are due, sets the deadline of the next Read, and
// returns false when ctx has ended.
func (l *Loop[F]) advance(ctx context.Context, events []Event) ([]Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil, false
	}
	events = append(events, l.pending...)
	l.pending = l.pending[:0]
	send, events := l.machine.Advance(time.Now(), nil, events)
	_, _ = l.conn.Write(send) // a question that cannot go counts as unanswered
	_ = l.conn.SetReadDeadline(l.machine.Deadline())
	return events, true
}

func (l *Loop[F]) observe(in []F, events []Event) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for i := range in {
		events = l.machine.Observe(now, &in[i], events)
	}
	return events
}
