package fib

import (
	"context"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// Filter selects the foreign routes that a [Learner] reports. Never reported,
// whatever it says: routes of our own protocols, metric 4294967294 (the
// customary last resort), cloned routes, and routes that are not unicast (unless
// Types says otherwise).
type Filter struct {
	// Tables lists the tables to learn from. Required.
	Tables []uint32
	// Family is FamilyIPv4 or FamilyIPv6; 0 is both.
	Family Family
	// Protocols lists rtm_protocol numbers. nil is every foreign one but
	// RTPROT_REDIRECT (1), RTPROT_KERNEL (2) and RTPROT_RA (9).
	Protocols []uint8
	// Types lists route types. nil is RouteUnicast.
	Types []RouteType
	// Links lists interface indexes of which a route must have one. nil is any.
	IfIndexes []int
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

	fresh bool   // has not dumped yet; guarded by FIB.mu
	round uint32 // of dumps

	mu     sync.Mutex
	dirty  []RouteKey
	head   int
	known  map[RouteKey]*learned
	synced bool
	told   bool // the reader has heard of synced
	closed bool
	ready  chan struct{} // capacity 1
}

type learned struct {
	route Learned
	gone  bool
	dirty bool
	told  bool   // the reader knows that it exists
	many  bool   // several routes under the key
	visit uint32 // the last dump that had it
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
	for l.head < len(l.dirty) && n < len(buf) {
		key := l.dirty[l.head]
		l.head++
		if c, ok := l.change(key); ok {
			buf[n] = c
			n++
		}
	}
	if l.head == len(l.dirty) {
		l.dirty, l.head = l.dirty[:0], 0
	}
	if l.head < len(l.dirty) || l.closed {
		l.poke()
	}
	if l.synced && !l.told && l.head == len(l.dirty) {
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

// accepts reports whether the filter lets a route through.
func (fl *Filter) accepts(m *routeMessage) bool {
	switch {
	case !slices.Contains(fl.Tables, m.table), fl.Family != 0 && fl.Family != m.family:
		return false
	case m.metric == metricLastResort:
		return false
	case fl.Types == nil && m.typ != RouteUnicast, fl.Types != nil && !slices.Contains(fl.Types, m.typ):
		return false
	case fl.Protocols == nil && (m.proto == rtnl.RTPROT_REDIRECT || m.proto == rtnl.RTPROT_KERNEL || m.proto == rtnl.RTPROT_RA):
		return false
	case fl.Protocols != nil && !slices.Contains(fl.Protocols, m.proto):
		return false
	case fl.IfIndexes == nil:
		return true
	}
	return slices.ContainsFunc(m.nextHops, func(l nextHop) bool { return slices.Contains(fl.IfIndexes, int(l.link)) })
}

// see takes a route in, from a notification or a dump.
func (l *Learner) see(key RouteKey, route Learned, many bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.known[key]
	if r == nil {
		r = &learned{gone: true}
		l.known[key] = r
	}
	r.visit = l.round
	r.many = r.many || many
	if !r.gone && sameLearned(&r.route, &route) {
		return
	}
	r.route, r.gone = route, false
	l.mark(key, r)
}

// lose takes the end of a route in. It reports whether a dump must tell what is
// left under the key.
func (l *Learner) lose(key RouteKey, nextHops int) (unclear bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.known[key]
	if r == nil || r.gone {
		return false
	}
	if r.many || nextHops < len(r.route.NextHops) {
		return true
	}
	r.gone = true
	l.mark(key, r)
	return false
}

// conclude ends a dump: what it did not have is gone.
func (l *Learner) conclude() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, r := range l.known {
		if !r.gone && r.visit != l.round {
			r.gone = true
			l.mark(key, r)
		}
	}
	l.synced = true
	l.poke()
}

func (l *Learner) mark(key RouteKey, r *learned) {
	if !r.dirty {
		r.dirty = true
		l.dirty = append(l.dirty, key)
	}
	l.poke()
}

func sameLearned(a, b *Learned) bool {
	return a.Protocol == b.Protocol && a.RouteKey == b.RouteKey && sameContent(&a.Route, &b.Route) && slices.Equal(a.NextHops, b.NextHops)
}
