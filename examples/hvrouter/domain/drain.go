package domain

import (
	"net/netip"
	"slices"
	"time"
)

// Drain says whether a host is drained: traffic that can go elsewhere does, and what it serves
// stays reachable. The zero value is a host that is not.
//
// Everything that a drained host announces has the community GRACEFUL_SHUTDOWN and the local
// preference 0, so that it is used only if there is nothing else (RFC 8326, Section 4). What
// another router announces as well, without that community, is withdrawn [MoveTime] later, and
// announced again as soon as no other router does.
type Drain struct {
	// On: the host is drained.
	On bool
	// All: what only this host announces is withdrawn, too, MoveTime after Since, but for its own
	// address, by which it is reached.
	All bool
	// Since is when the drain, or that of all, began.
	Since time.Time
}

// Drain begins, changes or ends a drain.
func (x *Exports) Drain(d Drain, now time.Time, fx *ExportEffects) {
	x.drain = d
	all := make([]*export, 0, len(x.all))
	for _, e := range x.all {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *export) int { return a.Prefix.Compare(b.Prefix) })
	for _, e := range all {
		x.review(e, now, fx)
	}
}

// leaves reports whether the drain withdraws a prefix now, and notes when it will. A prefix that
// others announce and that is not announced yet need not be: nothing is sent here because of it.
func (x *Exports) leaves(e *export, now time.Time) bool {
	at := x.leavesAt(e)
	if !at.IsZero() && !e.announced && !e.alternative.IsZero() && at.After(now) {
		at = now
	}
	if !at.Equal(e.leaves) {
		if e.leaves = at; at.After(now) {
			x.moves.add(e, &e.leaves, at)
		}
	}
	return !at.IsZero() && !at.After(now)
}

// leavesAt returns when the drain withdraws a prefix, the zero time if it does not.
func (x *Exports) leavesAt(e *export) time.Time {
	all := x.drain.All && !e.Address.IsValid()
	switch {
	case !x.drain.On || e.alternative.IsZero() && !all:
		return time.Time{}
	case all || e.alternative.Before(x.drain.Since):
		return x.drain.Since.Add(MoveTime)
	}
	return e.alternative.Add(MoveTime)
}

// Drained is how a prefix stands that a drained host is to announce.
type Drained struct {
	Prefix netip.Prefix
	// Announced: it still attracts traffic, if there is no other router that announces it.
	Announced bool
	// Alternative is since when another router announces it, zero if none does.
	Alternative time.Time
	// Leaves is when it is withdrawn, or was; zero: not as things stand.
	Leaves time.Time
}

// Drained returns how each prefix stands, in their order, while the host is drained.
func (x *Exports) Drained() (list []Drained) {
	for p, e := range x.all {
		list = append(list, Drained{p, e.announced, e.alternative, e.leaves})
	}
	slices.SortFunc(list, func(a, b Drained) int { return a.Prefix.Compare(b.Prefix) })
	return list
}
