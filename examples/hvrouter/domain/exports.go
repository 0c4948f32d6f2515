package domain

import (
	"net/netip"
	"slices"
	"time"
)

// RepairTime is how long a prefix stays announced whose route the kernel has lost: a
// route that somebody deleted is back within milliseconds, and a withdrawal that is taken
// back makes every router of the network work twice. Beyond it packets are lost for
// nothing. It is what BFD needs to notice a dead path by default.
const RepairTime = 500 * time.Millisecond

// MoveTime is how long routers get to send elsewhere once they know that they should, before what
// they have sent here is withdrawn: they need a best-path run and a write of their FIB, which took
// BIRD up to a second.
const MoveTime = 2 * time.Second

// FirstTime is how long a route may be on its way into the kernel before it counts as
// one that does not come. End-of-RIB waits for it.
const FirstTime = 5 * time.Second

// Standing is what is known of a thing in the kernel that an announcement needs.
type Standing struct {
	State StandingState
	// Why it is not there, in words; "" if it is on its way.
	Why string
}

// StandingState is how far the thing has come.
type StandingState uint8

const (
	// Unknown: nothing has been heard of it since it is wanted.
	Unknown StandingState = iota
	// Present: the kernel has it.
	Present
	// Missing: the kernel does not have it, but it is about to be written.
	Missing
	// Refused: the kernel does not take it, or cannot at present.
	Refused
)

// Exports decides what a domain announces: of the prefixes that it wants to announce,
// those for which the kernel has a route (R130). A prefix is announced when the kernel
// has it, and withdrawn when the kernel has been without it for [RepairTime]. While the host is
// drained (see [Drain]), less is announced.
//
// It is pure: time comes in, and what is to be done is appended to the ExportEffects. It
// is not safe for concurrent use.
type Exports struct {
	all       map[netip.Prefix]*export
	addressed map[netip.Prefix]*export // those that need an address
	// What is missing, in the order in which it went: announced, and not yet announced.
	losses, arrivals expiries
	moves            expiries // what is to be withdrawn because of the drain
	drain            Drain
	undecided        int // exports that may still come, and nobody has given up yet
	withdrawn        uint64
}

// export is one prefix that is to be announced.
type export struct {
	Announcement          // as it is wanted
	route        Standing // Present if none of ours is needed
	address      Standing // Present if none is needed
	announced    bool
	as           form      // that it is announced in
	since        time.Time // it is missing; zero: it is not
	alternative  time.Time // since when another router announces it, too; zero: none does
	leaves       time.Time // when the drain withdraws it; zero: it does not
	undecided    bool
	reported     bool // there was a notice that it is missing
}

// form is how a prefix is announced.
type form struct {
	pref     uint32
	shutdown bool
}

// form returns how a prefix is to be announced: to be used only if there is nothing else, while the
// host is drained (RFC 8326, Section 4).
func (x *Exports) form(e *export) form {
	if x.drain.On {
		return form{0, true}
	}
	return form{e.LocalPref, false}
}

// announcement returns what is announced of a prefix.
func (e *export) announcement() Announcement {
	a := e.Announcement
	a.LocalPref, a.GracefulShutdown = e.as.pref, e.as.shutdown
	return a
}

// ExportEffects is what a change calls for.
type ExportEffects struct {
	Announce []Announcement
	Withdraw []netip.Prefix
	Notices  []Notice
}

// Notice says that a prefix is not announced although it should be, or is again.
type Notice struct {
	Prefix netip.Prefix
	// Why the prefix is not announced; "" if it is now.
	Why string
	// Withdrawn: it was announced before.
	Withdrawn bool
}

// Reset empties fx and keeps its memory.
func (fx *ExportEffects) Reset() {
	*fx = ExportEffects{Announce: fx.Announce[:0], Withdraw: fx.Withdraw[:0], Notices: fx.Notices[:0]}
}

// NewExports returns one that wants nothing.
func NewExports() *Exports {
	return &Exports{all: map[netip.Prefix]*export{}, addressed: map[netip.Prefix]*export{}}
}

// Want makes a prefix one that is to be announced, or changes how. hasAddress says
// whether the kernel has a.Address.
func (x *Exports) Want(a Announcement, hasAddress bool, now time.Time, fx *ExportEffects) {
	e := x.all[a.Prefix]
	if e == nil {
		e = &export{}
		x.all[a.Prefix] = e
	}
	if a.Route != e.Route || a.Route == (Key{}) {
		e.route = Standing{}
		if a.Route == (Key{}) {
			e.route.State = Present
		}
	}
	e.Announcement = a
	if delete(x.addressed, a.Prefix); a.Address.IsValid() {
		x.addressed[a.Prefix] = e
	}
	e.address = standingOf(hasAddress || !a.Address.IsValid())
	if !a.Alternative {
		e.alternative = time.Time{}
	} else if e.alternative.IsZero() {
		e.alternative = now
	}
	x.review(e, now, fx)
}

func standingOf(present bool) Standing {
	if present {
		return Standing{State: Present}
	}
	return Standing{Missing, "the address is not there"}
}

// Drop takes Want back.
func (x *Exports) Drop(p netip.Prefix, fx *ExportEffects) {
	e := x.all[p]
	if e == nil {
		return
	}
	x.decide(e, false)
	delete(x.all, p)
	delete(x.addressed, p)
	e.since, e.leaves = time.Time{}, time.Time{} // it is missed no more
	if e.announced {
		fx.Withdraw = append(fx.Withdraw, p)
	}
}

// Route says how a route of ours stands in the kernel. Routes that no announcement needs
// are ignored.
func (x *Exports) Route(k Key, s Standing, now time.Time, fx *ExportEffects) {
	if e := x.all[k.Prefix]; e != nil && e.Announcement.Route == k {
		e.route = s
		x.review(e, now, fx)
	}
}

// Address reports whether the kernel has an address of ours.
func (x *Exports) Address(a netip.Addr, present bool, now time.Time, fx *ExportEffects) {
	var on []*export
	for _, e := range x.addressed {
		if e.Announcement.Address == a {
			on = append(on, e)
		}
	}
	slices.SortFunc(on, func(a, b *export) int { return a.Prefix.Compare(b.Prefix) })
	for _, e := range on {
		e.address = standingOf(present)
		x.review(e, now, fx)
	}
}

// standing is that of the whole: of its worst part.
func (e *export) standing() Standing {
	if e.route.State != Present {
		return e.route
	}
	return e.address
}

// review looks at a prefix again whose standing may have changed.
func (x *Exports) review(e *export, now time.Time, fx *ExportEffects) {
	if x.leaves(e, now) {
		x.decide(e, false)
		e.since = time.Time{}
		if e.announced {
			e.announced = false
			fx.Withdraw = append(fx.Withdraw, e.Prefix)
		}
		return
	}
	s := e.standing()
	as := x.form(e)
	if s.State == Present {
		x.decide(e, false)
		e.since = time.Time{}
		if e.reported {
			e.reported = false
			fx.Notices = append(fx.Notices, Notice{Prefix: e.Prefix})
		}
	}
	if s.State == Present && !e.announced || e.announced && e.as != as { // if it is still announced, so as it is wanted
		e.announced, e.as = true, as
		fx.Announce = append(fx.Announce, e.announcement())
	}
	if s.State == Present {
		return
	}
	if e.since.IsZero() {
		e.since = now
		if e.announced {
			x.losses.add(e, &e.since, now.Add(RepairTime))
		} else {
			x.decide(e, true)
			x.arrivals.add(e, &e.since, now.Add(FirstTime))
		}
	}
	if !e.announced && s.State == Refused {
		x.decide(e, false)
		x.notice(e, fx)
	}
}

// decide notes whether a prefix may still come.
func (x *Exports) decide(e *export, undecided bool) {
	if e.undecided != undecided {
		e.undecided = undecided
		x.undecided += map[bool]int{true: 1, false: -1}[undecided]
	}
}

// notice says once that a prefix is missing.
func (x *Exports) notice(e *export, fx *ExportEffects) {
	if !e.reported {
		e.reported = true
		fx.Notices = append(fx.Notices, Notice{Prefix: e.Prefix, Why: e.why(), Withdrawn: e.announced})
	}
}

func (e *export) why() string {
	if s := e.standing(); s.Why != "" {
		return s.Why
	}
	return "the kernel does not have the route"
}

// Advance withdraws what has been missing for too long.
func (x *Exports) Advance(now time.Time, fx *ExportEffects) {
	for e := x.losses.due(now); e != nil; e = x.losses.due(now) {
		x.notice(e, fx)
		e.announced = false
		x.withdrawn++
		fx.Withdraw = append(fx.Withdraw, e.Prefix)
	}
	for e := x.arrivals.due(now); e != nil; e = x.arrivals.due(now) {
		x.decide(e, false)
		x.notice(e, fx)
	}
	for e := x.moves.due(now); e != nil; e = x.moves.due(now) {
		x.review(e, now, fx)
	}
}

// Deadline returns when Advance has something to do, the zero time if never.
func (x *Exports) Deadline() time.Time {
	next := time.Time{}
	for _, t := range []time.Time{x.losses.next(), x.arrivals.next(), x.moves.next()} {
		if next.IsZero() || !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

// Decided reports whether it is known of every prefix if it is announced.
func (x *Exports) Decided() bool { return x.undecided == 0 }

// Withdrawn counts the prefixes that were withdrawn because the kernel had lost them.
func (x *Exports) Withdrawn() uint64 { return x.withdrawn }

// Announced yields what is announced, in no order.
func (x *Exports) Announced(yield func(Announcement) bool) {
	for _, e := range x.all {
		if e.announced && !yield(e.announcement()) {
			return
		}
	}
}

// Announcement returns how a prefix is announced; ok is false if it is not.
func (x *Exports) Announcement(p netip.Prefix) (a Announcement, ok bool) {
	e := x.all[p]
	if e == nil || !e.announced {
		return a, false
	}
	return e.announcement(), true
}

// Status reports whether a prefix is announced, and, if it should be and is not, why.
func (x *Exports) Status(p netip.Prefix) (announced bool, why string) {
	e := x.all[p]
	if e == nil || e.announced {
		return e != nil, ""
	}
	if x.drain.On && !e.leaves.IsZero() {
		return false, "drained" + map[bool]string{true: ", and another router announces it"}[!e.alternative.IsZero()]
	}
	return false, e.why()
}

// Held counts the prefixes that should be announced and are not, since the kernel lacks something.
func (x *Exports) Held() (n int) {
	for _, e := range x.all {
		if !e.announced && e.leaves.IsZero() {
			n++
		}
	}
	return n
}
