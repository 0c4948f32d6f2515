package bgp

import (
	"context"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// EventKind says what an [Event] tells.
type EventKind uint8

// Kinds of events.
const (
	// EventState: the peer's state changed; Event.State is the new one.
	EventState EventKind = iota
	// EventError: a connection or session ended; Event.Err says why.
	EventError
	// EventUp and EventDown: a session became Established, or ended.
	EventUp
	EventDown
	// EventEndOfRIB: the peer's End-of-RIB of Event.Family came.
	EventEndOfRIB
	// EventRestart: the peer's graceful restart phase changed.
	EventRestart
	// EventUpdateError: an UPDATE was malformed and treated as RFC 7606 says,
	// without an end of the session; Event.Err is a *wire.Error.
	EventUpdateError
	// EventAdded and EventRemoved: a peer was configured or came from a range,
	// or went.
	EventAdded
	EventRemoved
	// EventConverged: the speaker's own restart is over: best paths are selected
	// and the R bit is gone. Event.Peer is zero.
	EventConverged
	// EventListen: a listener's socket options could not be set; Event.Err.
	EventListen
)

var eventKindNames = [...]string{"state", "error", "up", "down", "end-of-rib", "restart", "update-error", "added", "removed", "converged", "listen"}

// String returns a stable name, fit for a log.
func (k EventKind) String() string { return enum.String("EventKind", eventKindNames[:], k) }

// Event is something worth a line in a log.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Peer    PeerKey
	State   State
	Family  wire.Family
	Restart RestartStatus
	Err     error
	// Lost is the number of events that were dropped before this one because
	// the subscriber was too slow. Whoever keeps state from events then compares
	// it with [Speaker.Peers].
	Lost int
}

// eventBacklog is the number of events a slow subscriber may be behind.
const eventBacklog = 1024

// Subscription is a reader of a speaker's events. It is safe for concurrent use.
type Subscription struct {
	hub  *eventHub
	ch   chan Event
	lost int // guarded by hub.mu
}

// Next waits for the next event. It returns the error of ctx when that ends.
func (s *Subscription) Next(ctx context.Context) (Event, error) {
	select {
	case e := <-s.ch:
		return e, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
}

// eventHub gives each event to all subscribers and never waits for any of them.
type eventHub struct {
	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

func (h *eventHub) subscribe() *Subscription {
	s := &Subscription{hub: h, ch: make(chan Event, eventBacklog)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[*Subscription]struct{}{}
	}
	h.subs[s] = struct{}{}
	return s
}

func (h *eventHub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		e.Lost = s.lost
		select {
		case s.ch <- e:
			s.lost = 0
		default:
			s.lost++
		}
	}
}
