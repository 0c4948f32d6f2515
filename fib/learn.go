package fib

import (
	"context"
	"sync"
)

// Filter selects the foreign routes that a [Learner] reports. Never reported,
// whatever it says: routes of our own protocols, metric 4294967294 (the
// customary last resort), cloned routes, and routes that are not unicast (unless
// Types says otherwise).
type Filter struct {
	// Tables lists the tables to learn from. Required.
	Tables []uint32
	// Family is IPv4 or IPv6; 0 is both.
	Family Family
	// Protocols lists rtm_protocol numbers. nil is every foreign one but
	// RTPROT_REDIRECT (1), RTPROT_KERNEL (2) and RTPROT_RA (9).
	Protocols []uint8
	// Types lists route types. nil is Unicast.
	Types []RouteType
	// Links lists interface indexes of which a route must have one. nil is any.
	Links []int
	// Accept has the last word if not nil. It is called from the owner
	// goroutine and must not block or call the FIB.
	Accept func(Learned) bool
}

// Learned is a route that somebody else put into the kernel.
type Learned struct {
	Route
	// Protocol is rtm_protocol.
	Protocol uint8
}

// LearnChange is a change of one learned route. With Gone only the key counts.
type LearnChange struct {
	Learned
	Gone bool
}

// Learner hands out foreign routes: first those that are there, then every
// change, coalesced by key. A slow reader costs memory for each changed key
// once. It is safe for concurrent use.
type Learner struct {
	filter Filter
	detach func(*Learner)

	mu     sync.Mutex
	dirty  []RouteKey
	known  map[RouteKey]*learned
	synced bool
	told   bool // the reader has heard of synced
	closed bool
	ready  chan struct{} // capacity 1
}

type learned struct {
	route   Learned
	gone    bool
	dirty   bool
	told    bool // the reader knows that it exists
	visited uint32
}

// Next waits for changes and stores up to len(buf) of them. synced is true once
// the routes that were there at the beginning have all been handed out; a
// return with n = 0 and synced true says just that. It returns ctx's error, or
// ErrClosed after Close or the end of Run.
func (l *Learner) Next(ctx context.Context, buf []LearnChange) (n int, synced bool, err error) {
	for {
		n, synced, done, closed := l.take(buf)
		if n > 0 || done {
			return n, synced, nil
		} else if closed {
			return 0, synced, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, synced, ctx.Err()
		case <-l.ready:
		}
	}
}

// Close ends the learner; a waiting Next returns ErrClosed.
func (l *Learner) Close() {
	if l.detach != nil {
		l.detach(l)
	}
	l.end()
}

func (l *Learner) end() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.poke()
}

func (l *Learner) poke() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take moves changes into buf. done reports that "synced" is to be told.
func (l *Learner) take(buf []LearnChange) (n int, synced, done, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	read := 0
	for read < len(l.dirty) && n < len(buf) {
		key := l.dirty[read]
		read++
		if c, ok := l.change(key); ok {
			buf[n] = c
			n++
		}
	}
	l.dirty = l.dirty[:copy(l.dirty, l.dirty[read:])]
	if len(l.dirty) > 0 || l.closed {
		l.poke()
	}
	if l.synced && !l.told && len(l.dirty) == 0 {
		l.told, done = true, true
	}
	return n, l.told, done, l.closed
}

// change is what the reader must hear about key, if anything.
func (l *Learner) change(key RouteKey) (LearnChange, bool) {
	r := l.known[key]
	if r == nil {
		return LearnChange{}, false
	}
	r.dirty = false
	if !r.gone {
		r.told = true
		return LearnChange{Learned: r.route}, true
	}
	delete(l.known, key)
	c := LearnChange{Gone: true}
	c.RouteKey = key
	return c, r.told
}

func newLearner(filter Filter, detach func(*Learner)) *Learner {
	return &Learner{filter: filter, detach: detach, known: map[RouteKey]*learned{}, ready: make(chan struct{}, 1)}
}
