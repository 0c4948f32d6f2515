package bgp

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// helper is the receiving side of graceful restart for one peer: RFC 4724,
// Section 4.2, RFC 8538, RFC 9494. It is pure: what is to happen to the peer's
// paths comes out as steps, in order.
type helper struct {
	cfg   GracefulRestart
	phase RestartStatus
	// stale are the families that have stale paths of an earlier session.
	stale wire.FamilySet
	// longLived is how long each family's paths may be long-lived stale, from
	// the capabilities of the session that was lost; index by family().
	longLived [2]time.Duration
	deadline  time.Time    // of phase waiting or syncing
	llUntil   [2]time.Time // of phase long-lived
	out       []helperStep
}

// helperAction is what is to be done with the paths of one family.
type helperAction uint8

const (
	helpDrop   helperAction = iota // remove all paths of the family
	helpMark                       // mark all as stale
	helpMarkLL                     // turn stale into long-lived stale (RFC 9494, Section 4.3)
	helpSweep                      // remove those still stale
)

var helperNames = [...]string{"drop", "mark stale", "mark long-lived stale", "sweep"}

func (a helperAction) String() string { return enum.String("helperAction", helperNames[:], a) }

type helperStep struct {
	action helperAction
	family wire.Family
}

func familyIndex(f wire.Family) int {
	if f == wire.IPv6Unicast {
		return 1
	}
	return 0
}

func (h *helper) do(a helperAction, f wire.Family) { h.out = append(h.out, helperStep{a, f}) }

// steps returns what is to be done and forgets it.
func (h *helper) steps() []helperStep {
	out := h.out
	h.out = h.out[:0]
	return out
}

// lost tells that an Established session ended. retain says whether its end was
// one that graceful restart covers (see retains).
func (h *helper) lost(now time.Time, n *Negotiated, retain bool) {
	before := h.stale
	h.stale, h.deadline, h.llUntil = 0, time.Time{}, [2]time.Time{}
	for _, f := range n.Families.Slice() {
		_, listed := n.restartFamily(f)
		ll := h.longLivedTime(n, f)
		if !retain || !h.cfg.Enabled || !listed && ll == 0 {
			h.do(helpDrop, f)
			continue
		}
		// What was stale already has had its chance (RFC 4724, Section 4.2).
		if before.Has(f) {
			h.do(helpSweep, f)
		}
		h.do(helpMark, f)
		h.stale = h.stale.With(f)
		h.longLived[familyIndex(f)] = ll
	}
	if h.stale == 0 {
		h.phase = RestartNone
		return
	}
	h.phase = RestartWaiting
	h.deadline = now
	if g := n.Remote.GracefulRestart; g != nil {
		h.deadline = now.Add(g.Time)
	}
}

// longLivedTime is the peer's long-lived stale time, bounded by our own.
func (h *helper) longLivedTime(n *Negotiated, f wire.Family) time.Duration {
	return min(n.longLived(f), h.cfg.LongLivedTime)
}

// up tells that the peer is back. Stale paths of a family that the peer does not
// list, or whose forwarding state it lost (F bit clear), go at once.
func (h *helper) up(now time.Time, n *Negotiated) {
	if h.phase == RestartNone {
		return
	}
	for _, f := range h.stale.Slice() {
		kept, listed := n.restartFamily(f)
		if h.phase == RestartLongLived && !kept {
			kept = n.longLivedKept(f)
			listed = listed || kept
		}
		if !n.Families.Has(f) || !listed || !kept {
			h.do(helpDrop, f)
			h.stale = h.stale.Without(f)
		}
	}
	h.llUntil = [2]time.Time{}
	h.deadline = now.Add(h.cfg.StaleTime)
	h.phase = RestartSyncing
	h.settle()
}

// endOfRIB tells that End-of-RIB came, or End-of-RR of a refresh.
func (h *helper) endOfRIB(f wire.Family) {
	if h.phase != RestartSyncing || !h.stale.Has(f) {
		return
	}
	h.do(helpSweep, f)
	h.stale = h.stale.Without(f)
	h.settle()
}

// forget drops everything that is stale, now: the path to the peer is dead, or an
// operator said so.
func (h *helper) forget() {
	for _, f := range h.stale.Slice() {
		h.do(helpDrop, f)
	}
	h.stale = 0
	h.settle()
}

func (h *helper) settle() {
	if h.stale == 0 {
		h.phase, h.deadline, h.llUntil = RestartNone, time.Time{}, [2]time.Time{}
	}
}

// next is the time of the next timer, zero if none runs.
func (h *helper) next() time.Time { return earliest(h.deadline, h.llUntil[0], h.llUntil[1]) }

// advance fires the timers that are due.
func (h *helper) advance(now time.Time) {
	if !h.deadline.IsZero() && !now.Before(h.deadline) {
		h.deadline = time.Time{}
		if h.phase == RestartWaiting {
			h.restartExpired(now)
		} else {
			h.staleExpired()
		}
	}
	for _, f := range h.stale.Slice() {
		at := &h.llUntil[familyIndex(f)]
		if !at.IsZero() && !now.Before(*at) {
			*at = time.Time{}
			h.do(helpDrop, f)
			h.stale = h.stale.Without(f)
		}
	}
	h.settle()
}

// restartExpired: the peer did not come back in its restart time. Paths of
// families with long-lived graceful restart go on as the last resort, the others
// go.
func (h *helper) restartExpired(now time.Time) {
	h.phase = RestartLongLived
	for _, f := range h.stale.Slice() {
		i := familyIndex(f)
		if h.longLived[i] == 0 {
			h.do(helpDrop, f)
			h.stale = h.stale.Without(f)
			continue
		}
		h.do(helpMarkLL, f)
		h.llUntil[i] = now.Add(h.longLived[i])
	}
}

// staleExpired: the peer came back but never sent End-of-RIB.
func (h *helper) staleExpired() {
	for _, f := range h.stale.Slice() {
		h.do(helpSweep, f)
	}
	h.stale = 0
}

// longLivedKept returns the F bit of the long-lived capability.
func (n *Negotiated) longLivedKept(f wire.Family) bool {
	return slices.ContainsFunc(n.Remote.LongLived, func(l wire.LongLived) bool { return l.Family == f && l.ForwardingPreserved })
}

// retains reports whether the end of a session is one after which graceful
// restart keeps the peer's paths: a lost connection always (RFC 4724); an expired
// hold timer or a NOTIFICATION, sent or received, only with the N bit on both
// sides and unless it is a Hard Reset (RFC 8538, Section 4).
func retains(n *Negotiated, cause eventKind, notif wire.Notification) bool {
	switch {
	case !n.GracefulRestart:
		return false
	case cause == evConnFails, cause == evCollisionDump:
		return true
	}
	return n.Notification && !notif.IsHardReset()
}
