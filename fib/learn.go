package fib

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/watch"
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
	// IfIndexes lists interface indexes of which a route must have one. nil is any.
	IfIndexes []int
	// Accept has the last word if not nil. It is called from the owner
	// goroutine and must not block or call the FIB.
	Accept func(Learned) bool
}

// LearnChange is a change of one learned route.
type LearnChange struct {
	Learned
	// Gone: the route is no more, and only the key counts.
	Gone bool
	// Synced: this is no route. All that were there at the beginning have been returned; it
	// comes once.
	Synced bool
}

// Learner hands out foreign routes: first those that are there, then every
// change, coalesced by key: of several routes under one key, the first that the filter lets
// through, and the key is gone when none is left. A slow reader costs memory for each changed key
// once. It is safe for concurrent use.
type Learner struct {
	fib    *FIB
	core   *fibcore.Learner
	synced bool // was returned
	closed bool
	ready  chan struct{} // capacity 1
}

// Learn starts to report foreign routes.
func (f *FIB) Learn(filter Filter) *Learner {
	to := fibcore.LearnFilter{Tables: slices.Clone(filter.Tables), Family: wire.Family(filter.Family), Protocols: slices.Clone(filter.Protocols),
		IfIndexes: slices.Clone(filter.IfIndexes)}
	for _, t := range filter.Types {
		to.Types = append(to.Types, wire.RouteType(t))
	}
	for i, t := range to.Tables {
		to.Tables[i] = cmp.Or(t, rtnl.RT_TABLE_MAIN)
	}
	if filter.Accept != nil {
		to.Accept = func(r *fibcore.Learned) bool { return filter.Accept(learnedOf(r)) }
	}
	l := &Learner{fib: f, ready: make(chan struct{}, 1)}
	f.lock()
	l.core = f.core.Learn(to, l.poke)
	f.learners = append(f.learners, l)
	if f.over {
		l.end()
	}
	f.unlock()
	f.poke()
	return l
}

// Next waits for changes and fills buf with as many as it has room for. Without room it
// does not wait. It returns ctx's error, or ErrClosed after Close or the end of Run. With a ctx
// that has ended it returns what there is, and ctx's error only if that is nothing.
func (l *Learner) Next(ctx context.Context, buf []LearnChange) (n int, err error) {
	for len(buf) > 0 {
		n, closed := l.take(buf)
		switch {
		case n > 0:
			return n, nil
		case closed:
			return 0, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-l.ready:
		}
	}
	return 0, nil
}

// All iterates over the changes until ctx ends, Close is called or Run ends; the last
// pair has the error of [Learner.Next].
func (l *Learner) All(ctx context.Context) iter.Seq2[LearnChange, error] {
	return watch.All(ctx, make([]LearnChange, 64), l.Next)
}

// Close ends the learner; a waiting Next returns ErrClosed.
func (l *Learner) Close() {
	l.fib.lock()
	l.fib.learners = slices.DeleteFunc(l.fib.learners, func(v *Learner) bool { return v == l })
	l.fib.core.Unlearn(l.core)
	l.end()
	l.fib.unlock()
}

// end is called under the FIB's lock.
func (l *Learner) end() {
	l.closed = true
	l.poke()
}

func (l *Learner) poke() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take moves changes into buf, which has room.
func (l *Learner) take(buf []LearnChange) (n int, closed bool) {
	l.fib.lock()
	defer l.fib.unlock()
	for n < len(buf) {
		r, gone, ok := l.core.Take()
		switch {
		case ok:
			buf[n] = LearnChange{Learned: learnedOf(r), Gone: gone}
		case !l.synced && l.core.Synced():
			l.synced = true
			buf[n] = LearnChange{Synced: true}
		default:
			if l.closed {
				l.poke() // for other callers of Next
			}
			return n, l.closed
		}
		n++
	}
	l.poke() // for other callers of Next, and what had no room
	return n, l.closed
}
