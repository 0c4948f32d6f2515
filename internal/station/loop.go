package station

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/serve"
)

// Conn is what a [Loop] uses of the connection of a protocol, whose packets are of type F.
type Conn[F any] interface {
	serve.Conn[F]
	Add(ifindex int) error
	Remove(ifindex int)
	Write([]F) (int, error)
}

// Machine is the pure tracker of a protocol: a [Tracker] and what the packets mean.
type Machine[F any] interface {
	RemoveLink(ifindex int) []Event
	Seed(now time.Time, ifindex int, ip netip.Addr)
	Observe(now time.Time, f *F, events []Event) []Event
	Advance(now time.Time, send []F, events []Event) ([]F, []Event)
	Deadline() time.Time
	Stations() []Event
	Seeded() []netip.Addr
}

// Loop drives a Machine on a Conn and hands its events to readers. All methods are safe for
// concurrent use.
type Loop[F any] struct {
	conn  Conn[F] // where packets come from and go to
	batch int     // packets of one Read

	mu      sync.Mutex // guards what follows, and the readers
	machine Machine[F] // decides
	changed bool       // since Advance saw it
	readers readers    // of its events
	began   bool       // Run was called
	events  []Event    // scratch
}

// NewLoop returns a Loop that reads batch packets at once.
func NewLoop[F any](conn Conn[F], m Machine[F], batch int) *Loop[F] {
	l := &Loop[F]{conn: conn, machine: m, batch: batch}
	l.readers.mu = &l.mu
	return l
}

// Add calls add, which changes the machine, and receives on the interface.
func (l *Loop[F]) Add(ifindex int, add func()) error {
	l.mu.Lock()
	add()
	l.mu.Unlock()
	return l.conn.Add(ifindex)
}

// Remove stops receiving on the interface; its stations are Gone.
func (l *Loop[F]) Remove(ifindex int) {
	l.conn.Remove(ifindex)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers.post(l.machine.RemoveLink(ifindex))
	l.wake()
}

// Seed is the Machine's.
func (l *Loop[F]) Seed(ifindex int, ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machine.Seed(time.Now(), ifindex, ip)
	l.readers.seed(ip)
	l.wake()
}

// wake has Run look at the machine again; the lock is held.
func (l *Loop[F]) wake() {
	l.changed = true
	serve.Wake(l.conn)
}

// Watch returns a reader: first each station that is known is Seen, then come the events.
func (l *Loop[F]) Watch() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readers.add(l.machine.Stations(), l.machine.Seeded())
}

// Run reads packets and asks the machine's questions until ctx ends, and then returns nil.
// It returns early only if the Conn fails as a whole. A second Run returns ErrClosed.
func (l *Loop[F]) Run(ctx context.Context) error {
	l.mu.Lock()
	began := l.began
	l.began = true
	l.mu.Unlock()
	if began {
		return ErrClosed
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.readers.close()
	}()
	return serve.Run(ctx, l.conn, l.batch, serve.Service[F](l))
}

// Advance implements serve.Service: it sends the questions that are due.
func (l *Loop[F]) Advance(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = false
	var send []F
	send, l.events = l.machine.Advance(now, nil, l.events[:0])
	l.readers.post(l.events)
	if len(send) > 0 {
		_, _ = l.conn.Write(send) // a question that cannot go counts as unanswered
	}
	return l.machine.Deadline()
}

// Handle implements serve.Service.
func (l *Loop[F]) Handle(now time.Time, in []F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = l.events[:0]
	for i := range in {
		l.events = l.machine.Observe(now, &in[i], l.events)
	}
	l.readers.post(l.events)
}

// Stale implements serve.Service.
func (l *Loop[F]) Stale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}
