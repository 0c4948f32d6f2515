package bgp

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/watch"
)

// EventKind says what an [Event] reports.
type EventKind uint8

// Kinds of events.
const (
	// EventState: the peer's state changed; Event.State is the new one. When a peer has
	// failed twice without a session that lasted, only changes from and to Established
	// are published.
	EventState EventKind = iota
	// EventError: a connection or session ended; Event.Err is a *PeerError that says
	// why. While a peer fails again and again without a session that lasted (ten
	// seconds), each kind of error is published once; then Failures and Repeats count, in an
	// event a minute at first, and in one an hour at last.
	EventError
	// EventUp and EventDown: a session became Established, or ended. Event.Err of
	// EventDown is the *PeerError that says why, nil if nothing was said.
	EventUp
	EventDown
	// EventEndOfRIB: the peer's first End-of-RIB of Event.Family came in this session.
	EventEndOfRIB
	// EventRestart: the peer's graceful restart phase changed.
	EventRestart
	// EventUpdateError: an UPDATE was malformed and treated as RFC 7606, Section 2, says,
	// without an end of the session; Event.Err is a *wire.Error. Repeats are published as
	// those of EventError are.
	EventUpdateError
	// EventAdded and EventRemoved: a peer was configured, or came from a range and has
	// its first session; or went.
	EventAdded
	EventRemoved
	// EventConverged: the speaker's own restart is over: best paths are selected
	// and the R bit is gone. Event.Peer is zero.
	EventConverged
	// EventListen: a listener's socket options could not be set, or one that a peer wants
	// (PeerConfig.Listen) could not be opened; Event.Err is nil once all is as it should be.
	EventListen
	// EventSnapshot: the snapshot that a subscription begins with is complete. Event.Peer
	// is zero.
	EventSnapshot
	// EventPlain, after EventUp: our OPEN of the session had no capabilities, because
	// the peer had refused one with Unsupported Optional Parameter: IPv4 unicast only,
	// no graceful restart, no ADD-PATH, no route refresh, AS numbers of two octets.
	// Event.Err is a *PeerError with the NOTIFICATION. Our next OPEN is a full one:
	// when this session has ended, or after [Speaker.Reset].
	EventPlain
	// EventUnsendable: there are routes of Event.Family that cannot be sent to the peer
	// in this session; Event.Err says how many, and what they lack. FamilyStatus counts
	// them. Event.Err is nil once there are none.
	EventUnsendable
	// EventPrefixLimit: what the peer has announced in Event.Family has come near its
	// limit, or beyond; Event.Err is a [*rib.LimitError]. Repeats are published as those of
	// EventError are.
	EventPrefixLimit
	// EventStable: a session has lasted ten seconds after Event.Failures: the peer fails
	// no more.
	EventStable
	// EventNoPolicy, after EventUp: the session is external and exchanges nothing in one
	// direction or both, as Event.MissingPolicy says (RFC 8212, Section 3). Once the policies are there it
	// comes again with the zero value.
	EventNoPolicy
	// EventBFDWait: the session waits for BFD ([PeerConfig].BFDStrict), as Event.BFDWait says.
	// [Speaker.PathUp] ends the wait: a program calls it if BFD to the peer is Up already, and
	// begins a BFD session if it has none, as for a new peer of a range. It comes for each
	// connection that waits, and with a nil BFDWait when it does so no longer.
	EventBFDWait
)

var eventKindNames = [...]string{"state", "error", "up", "down", "end-of-rib", "restart", "update-error", "added", "removed", "converged", "listen", "snapshot", "plain", "unsendable", "prefix-limit", "stable", "no-policy", "bfd-wait"}

// String returns a stable name, fit for a log.
func (k EventKind) String() string { return enum.String("EventKind", eventKindNames[:], k) }

// Event is something worth a line in a log.
type Event struct {
	Kind    EventKind     // says which of the fields below count
	Time    time.Time     // when it happened
	Peer    PeerKey       // zero: the speaker as a whole
	State   State         // of the session
	Family  wire.Family   // zero: all
	Restart RestartStatus // of the peer
	Err     error         // nil: no failure
	// MissingPolicy, with EventNoPolicy, is what the session lacks now.
	MissingPolicy MissingPolicy
	// BFDWait, with EventBFDWait, is what the session waits for; nil: it waits no longer.
	BFDWait *BFDWait
	// Failures is how many connections with the peer have failed since its last session
	// that lasted ten seconds; Since is when the first of them did.
	Failures int
	Since    time.Time // when the first of Failures was
	// Flapping says that five sessions in a row have ended within ten seconds: one more
	// that comes or goes is nothing new. A program acts upon it all the same, a log may leave
	// it out, and print EventError, which is published now and then, and EventStable.
	Flapping bool
	// Repeats, with EventError, EventUpdateError and EventPrefixLimit, is how many like this one have
	// happened since the last one that was published, and were left out.
	Repeats int
	// Snapshot says that this has been so for a while: see [Speaker.Watch].
	Snapshot bool
	// Lost is the number of events that the subscriber was too slow for. A snapshot
	// follows, which this event is the first of: what the subscriber knew of peers that
	// are not in it is out of date.
	Lost int
}

// eventBacklog is the number of events a slow subscriber may be behind.
const eventBacklog = 1024

// Watcher is a reader of a speaker's events. It is safe for concurrent use.
type Watcher struct {
	hub  *eventHub     // of the speaker
	wake chan struct{} // queue or closed may have changed

	// Guarded by hub.mu.
	queue  []Event
	live   int  // events in queue that are not of a snapshot
	behind bool // events were lost: a snapshot is due
	lost   int  // events that behind stands for
	closed bool // Close was called
}

// Next waits for events and fills buf with as many as it has room for. Without room it does
// not wait. It returns the error of ctx when that ends, and [ErrClosed] after Close, or once
// the speaker's Run has ended and all events before that were returned.
func (s *Watcher) Next(ctx context.Context, buf []Event) (n int, err error) {
	for {
		n, err := s.next(buf)
		if n > 0 || err != nil || len(buf) == 0 {
			return n, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// All iterates over the events until ctx ends, Close is called or Run ends; the last pair
// has the error of [Watcher.Next].
func (s *Watcher) All(ctx context.Context) iter.Seq2[Event, error] {
	return watch.All(ctx, make([]Event, 1), s.Next)
}

// next moves the first events of the queue to buf.
func (s *Watcher) next(buf []Event) (n int, err error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.behind {
		s.queue = s.hub.snapshot()
		s.queue[0].Lost = s.lost
		s.behind, s.lost = false, 0
	}
	n = copy(buf, s.queue)
	for _, e := range buf[:n] {
		if !e.Snapshot {
			s.live--
		}
	}
	s.queue = s.queue[n:]
	if s.closed || s.hub.closed && n == 0 {
		err = ErrClosed
	}
	if len(s.queue) > 0 || err != nil {
		s.signal() // others wait, too
	}
	return n, err
}

// put adds an event; hub.mu is held.
func (s *Watcher) put(e Event) {
	switch {
	case s.behind:
		s.lost++
	case s.live == eventBacklog:
		s.lost = s.live + 1
		s.behind, s.queue, s.live = true, nil, 0
	default:
		s.queue = append(s.queue, e)
		s.live++
	}
	s.signal()
}

func (s *Watcher) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close ends the subscription.
func (s *Watcher) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
	s.closed, s.queue = true, nil
	s.signal()
}

// eventHub hands each event to all watchers and never waits for any of them. It
// remembers what a new one must know.
type eventHub struct {
	now    func() time.Time      // the time of day
	mu     sync.Mutex            // guards the following, and the queues of subs
	subs   map[*Watcher]struct{} // the watchers that are open
	closed bool                  // the speaker has ended
	ended  chan struct{}         // closed with it
	peers  map[PeerKey]*standing // what a new watcher must know of each peer
	// The speaker's own, nil if there was none.
	converged, listen *Event
}

// standing holds the events of a peer that still hold.
type standing struct {
	// The last event of each kind; nil if there was none, or it holds no longer.
	added, state, bfdWait, up, plain, noPolicy, restart *Event
	// The same by family: IPv4, IPv6.
	endOfRIB, unsendable [len(families)]*Event
}

func (h *eventHub) subscribe() *Watcher {
	s := &Watcher{hub: h, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return s
	}
	s.queue = h.snapshot()
	if h.subs == nil {
		h.subs = map[*Watcher]struct{}{}
	}
	h.subs[s] = struct{}{}
	return s
}

func (h *eventHub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remember(e)
	for s := range h.subs {
		s.put(e)
	}
}

// close ends all subscriptions, once they have read what there is.
func (h *eventHub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	close(h.ended)
	for s := range h.subs {
		s.signal()
	}
}

// remember keeps what a snapshot needs.
func (h *eventHub) remember(e Event) {
	switch e.Kind {
	case EventConverged:
		h.converged = &e
		return
	case EventListen:
		h.listen = &e
		return
	case EventRemoved:
		delete(h.peers, e.Peer)
		return
	case EventAdded:
		if h.peers == nil {
			h.peers = map[PeerKey]*standing{}
		}
		h.peers[e.Peer] = &standing{added: &e}
		return
	}
	p := h.peers[e.Peer]
	if p == nil {
		return
	}
	switch e.Kind {
	case EventState:
		p.state = &e
	case EventUp:
		p.up = &e
	case EventDown:
		p.up, p.plain, p.noPolicy, p.endOfRIB, p.unsendable = nil, nil, nil, [len(families)]*Event{}, [len(families)]*Event{}
	case EventBFDWait:
		p.bfdWait = &e
		if e.BFDWait == nil {
			p.bfdWait = nil
		}
	case EventPlain:
		p.plain = &e
	case EventNoPolicy:
		p.noPolicy = &e
		if e.MissingPolicy == (MissingPolicy{}) {
			p.noPolicy = nil
		}
	case EventEndOfRIB:
		p.endOfRIB[familyIndex(e.Family)] = &e
	case EventUnsendable:
		p.unsendable[familyIndex(e.Family)] = &e
		if e.Err == nil {
			p.unsendable[familyIndex(e.Family)] = nil
		}
	case EventRestart:
		p.restart = &e
	}
}

// snapshot returns what holds now, peer by peer, and ends with EventSnapshot; h.mu is held.
func (h *eventHub) snapshot() (out []Event) {
	keys := slices.SortedFunc(maps.Keys(h.peers), PeerKey.compare)
	add := func(events ...*Event) {
		for _, e := range events {
			if e != nil {
				s := *e
				s.Snapshot = true
				out = append(out, s)
			}
		}
	}
	for _, k := range keys {
		p := h.peers[k]
		add(p.added, p.state, p.bfdWait, p.up, p.plain, p.noPolicy)
		add(p.endOfRIB[:]...)
		add(p.unsendable[:]...)
		if p.restart != nil && p.restart.Restart != RestartNone {
			add(p.restart)
		}
	}
	if h.listen != nil && h.listen.Err != nil {
		add(h.listen)
	}
	add(h.converged, &Event{Kind: EventSnapshot, Time: h.now()})
	return out
}
