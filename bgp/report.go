package bgp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// reporter decides which of the things that happen to a peer become events: what programs
// act upon always does; errors that repeat themselves are published once, then counted. It is
// pure: what happened and time go in, events come out.
//
// A peer that refuses could otherwise fill every log and every backlog of events. It is said
// to fail from its first failure until a session has lasted.
type reporter struct {
	dynamic  bool      // the peer came from a range: it is added with its first session
	failures int       // connections that failed
	since    time.Time // of the first
	flaps    int       // sessions among them
	errors   fold      // of EventError
	updates  fold      // of EventUpdateError
	limits   fold      // of EventPrefixLimit

	added   bool          // EventAdded was published
	state   State         // as it was published last
	phase   RestartStatus // likewise
	lastsAt time.Time     // when the session will have lasted, zero without one
}

// maxFlaps is how many sessions in a row may come up and end soon before the next that does
// so is nothing new.
const maxFlaps = 5

// take takes in what happened, and returns what is to be published.
func (r *reporter) take(now time.Time, e Event) (out []Event) {
	out = append(out, e)
	switch e.Kind {
	case EventError:
		return r.failed(now, e)
	case EventUpdateError:
		return r.updates.take(now, e)
	case EventPrefixLimit:
		return r.limits.take(now, e)
	case EventAdded:
		if r.dynamic {
			return nil
		}
		r.added = true
	case EventRemoved:
		if !r.added {
			return nil
		}
		r.added = false
	case EventState:
		out = r.stateChanged(e)
	case EventBFDWait:
		switch {
		case !r.dynamic || r.added:
		case e.BFDWait == nil:
			return nil
		default: // somebody has to begin its BFD session
			r.added = true
			added := e
			added.Kind, added.BFDWait = EventAdded, nil
			out = []Event{added, e}
		}
	case EventUp:
		r.lastsAt = now.Add(fsm.StableTime)
	case EventDown:
		if !r.lastsAt.IsZero() {
			r.flaps++
		}
		r.lastsAt = time.Time{}
	case EventRestart:
		if e.Restart == r.phase {
			return nil
		}
		r.phase = e.Restart
	}
	for i := range out {
		out[i].Failures, out[i].Since, out[i].Flapping = r.failures, r.since, r.flaps >= maxFlaps
	}
	return out
}

func (r *reporter) failed(now time.Time, e Event) []Event {
	if r.failures++; r.failures == 1 {
		r.since = now
	}
	e.Failures, e.Since = r.failures, r.since
	return r.errors.take(now, e)
}

// stateChanged publishes all states, but of a peer that fails again and again only those
// of a session.
func (r *reporter) stateChanged(e Event) (out []Event) {
	switch {
	case e.State == Established && r.dynamic && !r.added:
		added := e
		added.Kind, r.added = EventAdded, true
		out = append(out, added)
	case e.State == Established || r.state == Established:
	case r.dynamic && !r.added || r.failures >= 2:
		return nil
	}
	r.state = e.State
	return append(out, e)
}

// deadline is when advance has something to do.
func (r *reporter) deadline() time.Time {
	return earliest(r.lastsAt, r.errors.deadline(), r.updates.deadline(), r.limits.deadline())
}

// advance does what is due at now for the peer named key.
func (r *reporter) advance(now time.Time, key PeerKey) (out []Event) {
	if due(now, r.lastsAt) {
		r.lastsAt = time.Time{}
		if r.failures > 0 {
			out = append(out, Event{Kind: EventStable, Time: now, Peer: key, State: Established, Failures: r.failures, Since: r.since})
		}
		r.reset()
	}
	return slices.Concat(out, r.errors.advance(now), r.updates.advance(now), r.limits.advance(now))
}

// reset forgets failures: a session has lasted, or an operator wants to see what happens now.
func (r *reporter) reset() {
	r.failures, r.since, r.flaps, r.errors = 0, time.Time{}, 0, fold{}
}

// fold lets through the first event of each class, and leaves out what repeats it. What it
// left out becomes one event a minute at most, then one in two minutes, and so on.
type fold struct {
	classes []string      // of the events that were let through: at most foldClasses
	last    Event         // that was left out
	n       int           // events left out since the last that was not
	wait    time.Duration // between the count published last and the next
	next    time.Time     // when the count may be published
}

// Bounds of a fold.
const (
	foldClasses = 8
	foldMin     = time.Minute
	foldMax     = time.Hour
)

func (f *fold) take(now time.Time, e Event) []Event {
	if f.n == 0 && !f.next.IsZero() && now.Sub(f.next) > foldMax {
		*f = fold{} // it has been quiet for long
	}
	class := errorClass(e.Err)
	if slices.Contains(f.classes, class) || len(f.classes) == foldClasses {
		f.last, f.n = e, f.n+1
		return nil
	}
	f.classes = append(f.classes, class)
	if f.next.IsZero() {
		f.wait, f.next = foldMin, now.Add(foldMin)
	}
	return []Event{e}
}

func (f *fold) deadline() time.Time {
	if f.n == 0 {
		return time.Time{}
	}
	return f.next
}

func (f *fold) advance(now time.Time) []Event {
	if f.n == 0 || !due(now, f.next) {
		return nil
	}
	e := f.last
	e.Repeats = f.n - 1
	f.n, f.wait = 0, min(2*f.wait, foldMax)
	f.next = now.Add(f.wait)
	return []Event{e}
}

// earliest returns the first of several deadlines; the zero time is one that never comes.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// due reports whether a timer has expired; the zero time is one that does not run.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// errorClass is the same for errors that say the same to a person: ports and addresses do
// not count.
func errorClass(err error) string {
	var p *PeerError
	var w *wire.Error
	var op *net.OpError
	var sys *os.SyscallError
	var no syscall.Errno
	var limit *rib.LimitError
	switch {
	case errors.As(err, &p) && p.Received != nil:
		return fmt.Sprintf("received %d/%d", p.Received.Code, p.Received.Subcode)
	case p != nil && p.Sent != nil:
		return fmt.Sprintf("sent %d/%d", p.Sent.Code, p.Sent.Subcode)
	case errors.As(err, &limit):
		return fmt.Sprintf("limit %v %v %v", limit.Family, limit.State, limit.Prefix.IsValid())
	case errors.As(err, &w):
		return fmt.Sprintf("%v %v %s", w.Message, w.Attr, w.RFC)
	case errors.As(err, &no):
		return no.Error()
	case errors.As(err, &sys):
		return sys.Err.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	case p != nil && p.Err != nil:
		return p.Err.Error()
	}
	return fmt.Sprint(err)
}
