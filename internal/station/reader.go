package station

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// ErrClosed: the Reader was closed, or the Run of its Loop has ended.
var ErrClosed = errors.New("closed")

// readers are all of one Loop, whose lock guards them.
type readers struct {
	mu     *sync.Mutex // the Loop's
	list   []*Reader   // those not closed
	closed bool        // the Loop has ended
}

// Reader hands out the events of a [Loop], coalesced: the last of each address, and of each
// address the last Conflict. What it holds is bounded by the stations that the Loop
// remembers and by those that it has handed out and that are gone.
type Reader struct {
	all     *readers            // of the same Loop
	ready   chan struct{}       // capacity 1: there may be something
	order   []subject           // of what is pending, oldest first
	pending map[subject]Event   // by subject
	known   map[netip.Addr]bool // the user knows of a station with the address, by a Seed or an event
	closed  bool                // by the user, or the Loop has ended
}

// subject is what an event replaces an earlier one about.
type subject struct {
	ip       netip.Addr // the address
	conflict bool       // the event is a Conflict
}

func (rs *readers) add(stations []Event, seeded []netip.Addr) *Reader {
	r := &Reader{all: rs, ready: make(chan struct{}, 1), pending: map[subject]Event{}, known: map[netip.Addr]bool{}, closed: rs.closed}
	for _, ip := range seeded {
		r.known[ip] = true
	}
	if !rs.closed {
		rs.list = append(rs.list, r)
		r.post(stations)
	}
	r.signal()
	return r
}

func (rs *readers) post(events []Event) {
	if len(events) == 0 {
		return
	}
	for _, r := range rs.list {
		r.post(events)
	}
}

// seed says that the users believe that a station has ip.
func (rs *readers) seed(ip netip.Addr) {
	for _, r := range rs.list {
		r.known[ip] = true
	}
}

func (rs *readers) close() {
	rs.closed = true
	for _, r := range rs.list {
		r.closed = true
		r.signal()
	}
	rs.list = nil
}

func (r *Reader) post(events []Event) {
	for _, e := range events {
		r.fold(e)
	}
	r.signal()
}

// fold makes e what is pending about its address.
func (r *Reader) fold(e Event) {
	about := subject{e.IP, e.Kind == Conflict}
	old, pending := r.pending[about]
	switch {
	case e.Kind == Gone:
		r.drop(subject{e.IP, true}) // no station has the address of the Conflict
		if pending && !r.known[e.IP] {
			r.drop(about)
			return
		}
	case e.Kind == Moved && pending && old.Kind == Moved:
		e.OldIfIndex, e.OldMAC = old.OldIfIndex, old.OldMAC
	case e.Kind == Moved && !r.known[e.IP]:
		e.Kind, e.OldIfIndex, e.OldMAC = Seen, 0, [6]byte{}
	}
	if !pending {
		r.order = append(r.order, about)
	}
	r.pending[about] = e
}

func (r *Reader) drop(about subject) {
	if _, pending := r.pending[about]; pending {
		delete(r.pending, about)
		r.order = slices.DeleteFunc(r.order, func(s subject) bool { return s == about })
	}
}

func (r *Reader) signal() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Next waits for events and calls put for as many as there are, up to most. It returns
// the error of ctx when that ends, and ErrClosed after Close, or once Run has ended and all
// events before that were handed out. It is safe for concurrent use.
func (r *Reader) Next(ctx context.Context, most int, put func(Event)) error {
	for most > 0 {
		if n, closed := r.take(most, put); n > 0 {
			return nil
		} else if closed {
			return ErrClosed
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take hands out what is pending. closed reports whether nothing is and nothing will be.
func (r *Reader) take(most int, put func(Event)) (n int, closed bool) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	n = min(most, len(r.order))
	for _, about := range r.order[:n] {
		e := r.pending[about]
		delete(r.pending, about)
		switch e.Kind {
		case Seen, Moved:
			r.known[e.IP] = true
		case Gone:
			delete(r.known, e.IP)
		}
		put(e)
	}
	r.order = slices.Delete(r.order, 0, n)
	if len(r.order) > 0 || r.closed {
		r.signal() // another Next may wait
	}
	return n, n == 0 && r.closed
}

// Close ends the Reader; a waiting Next returns ErrClosed.
func (r *Reader) Close() {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.all.list = slices.DeleteFunc(r.all.list, func(o *Reader) bool { return o == r })
	r.closed, r.order, r.pending = true, nil, nil
	r.signal()
}
