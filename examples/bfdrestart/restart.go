// Package bfdrestart tells a BFD session that was restarted from one whose path has failed, for
// programs that end BGP sessions because of BFD. It has no clock, lock or goroutine.
//
// A session goes Down also if one of its two ends is another one than before: the peer has ended its
// session and begun another, as BIRD does with each BGP session, or our own BFD process is a new
// one. That says nothing of the path, and the session has [Time] to be Up again before the path
// counts as failed.
package bfdrestart

import (
	"cmp"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Time is how long a session that was restarted may take to be Up before its path counts as failed.
// A session that is not Up sends a packet a second (RFC 5880, Section 6.8.3), and needs three.
const Time = 3 * time.Second

// ByPeer reports whether a session went Down because the peer has begun its own anew. A peer
// that does not hear us says so by its diagnostic; a new session has "No Diagnostic" (RFC 5880,
// Section 6.8.1: bfd.LocalDiag "MUST be initialized to zero"). The packet that says so came over
// the path.
func ByPeer(e bfd.Event) bool {
	return e.State == bfd.StateDown && e.Reason == bfd.ReasonNeighborDown && e.RemoteDiag == bfd.DiagNone
}

// ByUs reports whether a session that was Up before e was restarted by our own BFD process: one
// that is Down without a reason was never anything but Down.
func ByUs(e bfd.Event) bool { return e.State == bfd.StateDown && e.Reason == bfd.ReasonNone }

// Sessions are those that were restarted and are not Up again. The zero value has none. It is not
// safe for concurrent use.
type Sessions struct {
	until map[bfd.Key]time.Time
}

// Begin notes that a session was restarted now.
func (s *Sessions) Begin(k bfd.Key, now time.Time) {
	if s.until == nil {
		s.until = map[bfd.Key]time.Time{}
	}
	s.until[k] = now.Add(Time)
}

// End forgets a session: it is Up, or gone.
func (s *Sessions) End(k bfd.Key) { delete(s.until, k) }

// Deadline returns when Expired returns a session next, the zero Time if never.
func (s *Sessions) Deadline() (next time.Time) {
	for _, at := range s.until {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return next
}

// Expired forgets and returns the sessions that were not Up in time, in the order of their ends.
func (s *Sessions) Expired(now time.Time) (list []bfd.Key) {
	for k, at := range s.until {
		if !now.Before(at) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b bfd.Key) int {
		return cmp.Or(s.until[a].Compare(s.until[b]), cmp.Compare(a.String(), b.String()))
	})
	for _, k := range list {
		delete(s.until, k)
	}
	return list
}
