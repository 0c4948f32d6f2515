package fsm

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// RestartStatus is the phase of graceful restart a peer is in.
type RestartStatus uint8

// Phases of graceful restart.
const (
	// RestartNone: nothing is stale.
	RestartNone RestartStatus = iota
	// RestartWaiting: the peer is gone, its paths are stale (RFC 4724, Section 4.2).
	RestartWaiting
	// RestartLongLived: the peer is still gone, its paths are long-lived stale
	// (RFC 9494, Section 4.2).
	RestartLongLived
	// RestartSyncing: the peer is back, End-of-RIB is awaited.
	RestartSyncing
)

var restartNames = [...]string{"none", "waiting", "long-lived", "syncing"}

// String returns "none", "waiting", "long-lived" or "syncing".
func (r RestartStatus) String() string { return enum.String("RestartStatus", restartNames[:], r) }

// MarshalText returns the name of the phase, for JSON.
func (r RestartStatus) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// HelperAction is what is to be done with the paths of a peer in one family.
type HelperAction uint8

// The actions.
const (
	// HelperDrop: remove all paths.
	HelperDrop HelperAction = iota
	// HelperMarkStale: mark all paths as stale, and remove those that are already (RFC 4724,
	// Section 4.2).
	HelperMarkStale
	// HelperMarkLongLived: turn stale paths into long-lived stale ones (RFC 9494,
	// Section 4.3).
	HelperMarkLongLived
	// HelperSweep: remove the paths that are still stale.
	HelperSweep
	// HelperMarkTwiceStale: mark the paths that are stale as those of an earlier restart, so that
	// HelperMarkStale, which follows, leaves them as they are instead of removing them.
	HelperMarkTwiceStale
	// HelperSweepTwiceStale: remove the paths that HelperMarkTwiceStale has marked, and that
	// were not announced again since.
	HelperSweepTwiceStale
)

var helperNames = [...]string{"drop", "mark stale", "mark long-lived stale", "sweep", "mark twice stale", "sweep twice stale"}

// String returns a short name, such as "mark stale".
func (a HelperAction) String() string { return enum.String("HelperAction", helperNames[:], a) }

// HelperEffect is one output of a [Helper].
type HelperEffect struct {
	// Action is to be done with all paths of the peer in Family.
	Action HelperAction
	Family wire.Family // the family concerned
}

// HelperConfig configures the helper's side of graceful restart. The zero value retains
// nothing.
type HelperConfig struct {
	// Enabled retains the paths of a peer that restarts.
	Enabled bool
	// StaleTime bounds how long paths stay stale after the peer came back without sending
	// End-of-RIB (RFC 4724, Section 4.2).
	StaleTime time.Duration
	// LongLivedTime bounds how long paths are retained as long-lived stale; 0 means that
	// they are not (RFC 9494, Section 4.2).
	LongLivedTime time.Duration
}

// Helper is graceful restart of one peer as the Receiving Speaker sees it: RFC 4724, Section
// 4.2, RFC 8538, Section 4, and RFC 9494, Section 4.2. It is pure, and not safe for
// concurrent use. The zero value retains nothing.
//
// The owner reports what happens with Lost, Up, EndOfRIB and DropStale, calls Advance at the
// time of Deadline, and after each of these carries out what Effects returns, in order.
//
// A peer that comes back and goes again before it has sent everything restarts consecutively. RFC
// 4724, Section 4.2: "To deal with possible consecutive restarts, a route (from the peer) previously
// marked as stale MUST be deleted." We deviate as long as the restart time of the first of those
// restarts runs: what is stale stays until then, and no longer. A peer that had not come back
// in between would have been given that time, and the one that did has even said that its forwarding
// state is preserved (F bit), or its paths would have gone with the new session. To delete them would
// make the moment after a restart, in which a daemon is most likely to die again, the one at
// which its death costs traffic. The rule keeps a peer that restarts again and again from having its
// paths retained for ever; so does the time of the first restart, which no later one renews.
type Helper struct {
	cfg   HelperConfig  // as given to Configure
	phase RestartStatus // what is done for the peer now
	// stale are the families that have stale paths of an earlier session.
	stale wire.FamilySet
	// longLived is how long each family's paths may be long-lived stale, from
	// the capabilities of the session that was lost.
	longLived [families]time.Duration
	deadline  time.Time           // of phase waiting or syncing
	first     time.Time           // when the restart time of the first of consecutive restarts ends; zero: nothing is stale
	twice     wire.FamilySet      // families with paths that are stale since an earlier restart, while the peer is gone
	llUntil   [families]time.Time // of phase long-lived
	out       []HelperEffect      // what Effects has not returned yet
}

// families is the number of address families that there are.
const families = 4

func familyIndex(f wire.Family) int {
	switch f {
	case wire.IPv6Unicast:
		return 1
	case wire.L2VPNEVPN:
		return 2
	case wire.RTConstrain:
		return 3
	}
	return 0
}

// Configure replaces the configuration. It counts from the next event on.
func (h *Helper) Configure(c HelperConfig) { h.cfg = c }

// Phase returns what graceful restart does for the peer now.
func (h *Helper) Phase() RestartStatus { return h.phase }

// Stale returns the families with paths of an earlier session.
func (h *Helper) Stale() wire.FamilySet { return h.stale }

// Effects returns what is to be done, in order, and forgets it. The slice is valid until the
// next call of another method.
func (h *Helper) Effects() []HelperEffect {
	out := h.out
	h.out = h.out[:0]
	return out
}

func (h *Helper) do(a HelperAction, f wire.Family) { h.out = append(h.out, HelperEffect{a, f}) }

// Lost reports the end of an Established session. The flag retain reports whether graceful
// restart covers it: see [Negotiated.Retains].
func (h *Helper) Lost(now time.Time, n *Negotiated, retain bool) {
	before, again := h.stale, now.Before(h.first)
	h.stale, h.twice, h.deadline, h.llUntil = 0, 0, time.Time{}, [families]time.Time{}
	for _, f := range n.Families.Slice() {
		_, listed := n.restartFamily(f)
		ll := min(n.longLived(f), h.cfg.LongLivedTime)
		if !retain || !h.cfg.Enabled || !listed && ll == 0 {
			h.do(HelperDrop, f)
			continue
		}
		switch {
		case !before.Has(f):
		case again:
			h.do(HelperMarkTwiceStale, f)
			h.twice = h.twice.With(f)
		default: // what was stale before has had its chance
			h.do(HelperSweep, f)
		}
		h.do(HelperMarkStale, f)
		h.stale = h.stale.With(f)
		h.longLived[familyIndex(f)] = ll
	}
	if h.stale == 0 {
		h.phase, h.first = RestartNone, time.Time{}
		return
	}
	h.phase = RestartWaiting
	h.deadline = now
	if g := n.Remote.GracefulRestart; g != nil {
		h.deadline = now.Add(g.Time)
	}
	if h.twice == 0 {
		h.first = h.deadline
	}
}

// Up reports a new session. Stale paths of a family that the peer does not list, or whose
// forwarding state it lost (F bit clear), go at once (RFC 4724, Section 4.2).
func (h *Helper) Up(now time.Time, n *Negotiated) {
	if h.phase == RestartNone {
		return
	}
	for _, f := range h.stale.Slice() {
		forwarding, listed := n.restartFamily(f)
		if h.phase == RestartLongLived && !forwarding {
			forwarding = n.longLivedForwarding(f)
			listed = listed || forwarding
		}
		if !n.Families.Has(f) || !listed || !forwarding {
			h.drop(f)
		}
	}
	h.llUntil, h.twice = [families]time.Time{}, 0
	h.deadline = now.Add(h.cfg.StaleTime)
	h.phase = RestartSyncing
	h.settle()
}

// EndOfRIB reports End-of-RIB of a family, or the end of a refresh that serves as one.
func (h *Helper) EndOfRIB(f wire.Family) {
	if h.phase != RestartSyncing || !h.stale.Has(f) {
		return
	}
	h.do(HelperSweep, f)
	h.stale = h.stale.Without(f)
	h.settle()
}

// DropStale removes everything that is stale, now: the path to the peer has failed, or an
// operator wants it.
func (h *Helper) DropStale() {
	for _, f := range h.stale.Slice() {
		h.drop(f)
	}
	h.settle()
}

// drop removes the stale paths of a family.
func (h *Helper) drop(f wire.Family) {
	h.do(HelperDrop, f)
	h.stale, h.twice = h.stale.Without(f), h.twice.Without(f)
}

// settle ends graceful restart once nothing is stale.
func (h *Helper) settle() {
	if h.stale == 0 {
		h.phase, h.deadline, h.first, h.llUntil = RestartNone, time.Time{}, time.Time{}, [families]time.Time{}
	}
}

// Deadline returns the time of the next timer; zero if none runs.
func (h *Helper) Deadline() time.Time {
	next := earliest(h.deadline, earliest(h.llUntil[:]...))
	if h.twice != 0 {
		next = earliest(next, h.first)
	}
	return next
}

// Advance does what is due at now.
func (h *Helper) Advance(now time.Time) {
	if h.twice != 0 && due(now, h.first) {
		for _, f := range h.twice.Slice() {
			h.do(HelperSweepTwiceStale, f)
		}
		h.twice = 0
	}
	if due(now, h.deadline) {
		h.deadline = time.Time{}
		if h.phase == RestartWaiting {
			h.restartExpired(now)
		} else {
			h.staleExpired()
		}
	}
	for _, f := range h.stale.Slice() {
		at := &h.llUntil[familyIndex(f)]
		if due(now, *at) {
			*at = time.Time{}
			h.drop(f)
		}
	}
	h.settle()
}

// restartExpired: the peer did not come back in its restart time. Paths of families with
// long-lived graceful restart stay as the last resort, the others go (RFC 9494, Section
// 4.2).
func (h *Helper) restartExpired(now time.Time) {
	h.phase = RestartLongLived
	for _, f := range h.stale.Slice() {
		i := familyIndex(f)
		if h.longLived[i] == 0 {
			h.drop(f)
			continue
		}
		h.do(HelperMarkLongLived, f)
		h.llUntil[i] = now.Add(h.longLived[i])
	}
}

// staleExpired: the peer came back but did not send End-of-RIB in StaleTime.
func (h *Helper) staleExpired() {
	for _, f := range h.stale.Slice() {
		h.do(HelperSweep, f)
	}
	h.stale = 0
}
