package fibcore

import (
	"errors"
	"time"

	"github.com/hyperfib/hyperfib/internal/pace"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// The audit reads again what notifications are to have told, and compares. It changes nothing by
// itself: what it finds, and what no notification explains within a moment, is taken into the
// model as a notification would be, or its part of the kernel's state is read again. Whatever
// follows from that is not the audit's.
//
// A round has a part for each kind of object. A part is one dump, which may take many slices:
// between two of them everything else goes on. So a dump is no snapshot, not even of the state
// that this FIB makes. What it has is judged only if the model has not changed in this place
// since the kernel wrote the datagram; what it lacks, only if it was read to its end.

const (
	// sliceDatagrams is what a slice reads at most: datagrams of 32 kB, some 300 routes each. It
	// takes two to five milliseconds, for which nothing but a failover goes on.
	sliceDatagrams = 16
	// auditShare is the share of the time that the audit takes at most, 1/auditShare, unless a rest would be longer than mostRest.
	auditShare = 100
	// leastRest is for how long there is no slice after another, however quick it was.
	leastRest = 10 * time.Millisecond
	// mostRest is for how long there is none at most.
	mostRest = time.Minute
	// explainTime is how long a notification may take that explains a difference. The kernel queues
	// it microseconds after a dump may have had the change.
	explainTime = 100 * time.Millisecond
)

// What kind of a difference an audit has found.
const (
	opMissing = "missing" // the kernel has not what it was known to have
	opChanged = "changed" // it has something else
	opExtra   = "extra"   // it has what nobody knew of
	opStolen  = "stolen"  // another program's route is in the place of ours
)

// auditor is the audit of one core.
type auditor struct {
	core    *Core
	next    time.Time   // when the next slice is due; zero: never
	round   time.Time   // when the round began
	running bool        // a round is
	parts   []auditPart // of the round, those left
	begun   bool        // the dump of the first part was asked for
	reading bool        // a dump is not at its end
	void    bool        // what is being read is of no interest any more
	outcome Outcome     // of the dump so far
}

// auditPart is a part of the kernel's state.
type auditPart interface {
	request() []byte
	// row takes one record of the dump in. stale says that this FIB may have changed something
	// since the kernel wrote it.
	row(m rtnl.Message)
	// datagram says that the rows of another datagram follow.
	datagram()
	// pause says that the slice is over.
	pause()
	// pending reports whether differences wait for an explanation.
	pending() bool
	// full reports whether so much was found that it must be settled before more is read.
	full() bool
	// settle takes the differences in that were found before a moment, which is explainTime ago, and
	// that nothing has explained. wait reports that there are later ones.
	settle(found, now time.Time) (wait bool)
	// stop ends the part, whether or not it was concluded.
	stop()
	// conclude, at the end of the dump, looks for what it lacked. more says that it has not looked
	// at everything yet.
	conclude(o Outcome, now time.Time) (more bool)
}

// start lets the first round begin one interval from now.
func (a *auditor) start(now time.Time) {
	if len(a.parts) > 0 && a.begun {
		a.parts[0].stop()
	}
	a.parts, a.running, a.begun, a.void = nil, false, false, a.reading
	if a.core.env.config.AuditRound > 0 && !a.core.env.config.DryRun {
		a.next, a.round = now.Add(a.core.env.config.AuditRound), now
	}
}

// deadline returns the earlier of t and when the next slice is due.
func (a *auditor) deadline(t time.Time) time.Time {
	if !a.next.IsZero() && a.next.Before(t) {
		return a.next
	}
	return t
}

// Slice is what the shell reads for the audit now, from a socket of its own:
//
//	for request, more := s.Next(now); more; request, more = s.Next(now) {
//		... send request unless it is nil, receive one datagram
//		s.Datagram(datagram, err, now)
//	}
//	s.End(now)
//
// The kernel writes a datagram of a dump while the one before is received: the first of a slice
// is as old as the end of the slice before. All methods are part of the core, under its lock.
type Slice struct {
	a     *auditor
	start time.Time
	left  int // datagrams
}

// StartSlice begins a slice of the audit; nil if none is due. All notifications that have arrived
// are to be taken in before.
func (c *Core) StartSlice(now time.Time) *Slice {
	a := &c.auditor
	if a.next.IsZero() || now.Before(a.next) || c.env.rereads.everything.needed {
		return nil
	}
	c.env.clock = now
	return &Slice{a: a, start: now, left: sliceDatagrams}
}

// Unsettled reports whether the next slice settles differences. The kernel tells of some changes
// before it makes them, such as the end of a next-hop group with all its routes, and of others after
// it, such as an interface that goes down with all its routes: the shell waits until the change
// under way is over, and takes in what has arrived.
func (c *Core) Unsettled(now time.Time) bool {
	a := &c.auditor
	return !a.next.IsZero() && !now.Before(a.next) && len(a.parts) > 0 && a.parts[0].pending()
}

// Next reports whether another datagram is to be received, and what is to be sent before.
func (s *Slice) Next(now time.Time) (request []byte, more bool) {
	a := s.a
	a.core.env.clock = now
	for ; s.left > 0; s.left-- {
		switch {
		case a.reading && a.void:
			return nil, true
		case !a.running:
			a.running, a.round, a.parts = true, now, a.core.auditParts()
		case len(a.parts) == 0:
			a.running = false
			a.core.env.stats.AuditRounds++
			a.next = a.round.Add(a.core.env.config.AuditRound)
			return nil, false
		}
		p := a.parts[0]
		if wait := p.settle(now.Add(-explainTime), now); wait && (p.full() || a.begun && !a.reading) {
			a.next = now.Add(explainTime)
			return nil, false
		}
		switch {
		case a.reading:
			return nil, true
		case !a.begun:
			a.begun, a.reading, a.outcome = true, true, Complete
			return p.request(), true
		case p.conclude(a.outcome, now):
		default:
			if !p.settle(now.Add(-explainTime), now) {
				p.stop()
				a.parts, a.begun = a.parts[1:], false
			}
		}
	}
	a.next = now
	return nil, false
}

// Datagram takes one in, or the error of the socket.
func (s *Slice) Datagram(b []byte, err error, now time.Time) {
	a := s.a
	a.core.env.clock = now
	s.left--
	done, interrupted := err != nil, false
	if err == nil {
		if !a.void {
			a.parts[0].datagram()
		}
		done, interrupted, err = rtnl.WalkDump(b, func(m rtnl.Message) {
			if !a.void {
				a.parts[0].row(m)
			}
		})
	}
	switch {
	case err != nil && !errors.Is(err, unix.ENOENT): // ENOENT: a table that does not exist, and has nothing
		a.outcome = BrokenOff
	case interrupted && a.outcome == Complete:
		a.outcome = Interrupted
	}
	if done {
		a.reading, a.void = false, false
	}
}

// End ends the slice.
func (s *Slice) End(now time.Time) {
	a := s.a
	if len(a.parts) > 0 {
		a.parts[0].pause()
	}
	cost := now.Sub(s.start)
	a.core.env.stats.AuditTime += cost
	if least := now.Add(pace.Rest(cost, auditShare, leastRest, mostRest)); a.next.Before(least) {
		a.next = least
	}
}

// found reports a difference.
func (c *env) found(e Event) {
	c.stats.Differences++
	e.Kind = EventDifference
	c.event(e)
}
