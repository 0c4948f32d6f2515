package fib

import (
	"cmp"
	"context"
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
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
	// IfIndexes lists interface indexes of which a route must have one. nil is any.
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
	fib    *FIB
	core   *fibcore.Learner
	told   bool // the reader has heard of synced
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

// take moves changes into buf. done reports that "synced" is to be told.
func (l *Learner) take(buf []LearnChange) (n int, synced, done, closed bool) {
	l.fib.lock()
	defer l.fib.unlock()
	for n < len(buf) {
		r, gone, ok := l.core.Take()
		if !ok {
			break
		}
		buf[n] = LearnChange{Learned: learnedOf(r), Gone: gone}
		n++
	}
	if l.core.Pending() || l.closed {
		l.poke()
	}
	if !l.told && l.core.Synced() {
		l.told, done = true, true
	}
	return n, l.told, done, l.closed
}
