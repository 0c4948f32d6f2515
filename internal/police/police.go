// Package police decides which interfaces a socket goes on to hear that hears many of
// them: one that floods must not fill the receive buffer, which all of them share.
//
// A socket filter has no memory, so it cannot count; the program that reads the socket
// can, but only what has passed the receive buffer. So both work together: the [Policer]
// counts what is read, and the filter drops in the kernel, before the receive buffer,
// what comes from the interfaces that the Policer has silenced. An interface is silenced
//
//   - over its limit, until it has half of its burst again; and
//   - while the reader is behind, if it is one of those that it is behind with, until the
//     reader has caught up. An interface without a limit thus gets what others leave.
//
// What comes from interfaces that were not added is dropped in the kernel, too.
//
// A flood is noticed when the reader comes to it. One that begins while frames of another
// one wait is noticed after those; several that begin within that time can fill the
// receive buffer.
//
// The package is pure: it has no clock and no socket.
package police

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/rate"
)

// MostListed bounds how many interfaces a filter names. Linux before 6.8 allows two
// filters, the old one and the one in its place, 20 KiB together (net.core.optmem_max);
// 256 interfaces take 6.
const MostListed = 256

const (
	// share is how many frames an interface may bring within a window while the reader is
	// behind. Only a flood brings 64 frames in 10 ms.
	share  = 64
	window = 10 * time.Millisecond
	// mostLinks bounds how many interfaces are counted that were not added.
	mostLinks = 1 << 14
	// forgetAfter is when interfaces that were not asked for are forgotten if there are
	// more of them than a filter names: some are gone meanwhile.
	forgetAfter = 10 * time.Second
)

// Policer is the state of one socket. The zero value hears nothing. It is not safe for
// concurrent use.
type Policer struct {
	links   map[int]*link    // by interface index
	all     bool             // frames of every interface are heard
	rest    float64          // with all: the limit of those that were not added
	limited map[int]*link    // silenced because of their limit
	pressed map[int]*link    // silenced until the reader has caught up
	foreign map[int]struct{} // not asked for, and heard of
	since   time.Time        // when foreign was last emptied
	behind  bool             // the reader is
	round   int              // how often the reader has caught up
	changed bool             // the list may have, since last
	last    List             // what Changed returned
	spare   []int            // for the next list
}

type link struct {
	bucket rate.Bucket // the limit of the interface
	until  time.Time   // silenced because of its limit
	round  int         // in which its window began
	since  time.Time   // when its window began
	frames int         // read in the window
	// silenced is how often it was.
	silenced uint64
}

// Add has an interface heard, without a limit. One that is heard already keeps its own.
func (p *Policer) Add(index int) {
	if p.links == nil {
		p.links, p.limited, p.pressed, p.foreign = map[int]*link{}, map[int]*link{}, map[int]*link{}, map[int]struct{}{}
	}
	if p.links[index] == nil {
		p.links[index] = &link{}
		delete(p.foreign, index)
		p.changed = true
	}
}

// All has every interface heard from now on. Each that was not added gets the limit, as
// [Policer.Limit] has it, when it is heard of.
func (p *Policer) All(perSecond float64) {
	p.all, p.rest, p.changed = true, perSecond, true
	clear(p.foreign)
}

// Remove ends Add.
func (p *Policer) Remove(index int) {
	if p.links[index] != nil {
		delete(p.links, index)
		delete(p.limited, index)
		delete(p.pressed, index)
		p.changed = true
	}
}

// Has reports whether an interface was added.
func (p *Policer) Has(index int) bool { return p.links[index] != nil }

// Limit sets how many frames a second an interface may bring that was added, and as many
// at once; 0 is no limit.
func (p *Policer) Limit(index int, perSecond float64) {
	l := p.links[index]
	if l == nil || l.bucket.Rate == perSecond {
		return
	}
	l.bucket = rate.Bucket{Rate: perSecond, Size: perSecond}
	if p.limited[index] != nil {
		delete(p.limited, index)
		p.changed = true
	}
}

// Take reports whether a frame that was read at now is to be handed on.
func (p *Policer) Take(now time.Time, index int) bool {
	l := p.links[index]
	switch {
	case l == nil && !p.all:
		p.ignore(now, index)
		return false
	case l == nil && (p.rest == 0 || len(p.links) >= mostLinks):
		return true
	case l == nil:
		p.Add(index)
		p.Limit(index, p.rest)
		l = p.links[index]
	}
	if l.round != p.round || now.Sub(l.since) > window {
		l.round, l.since, l.frames = p.round, now, 0
	}
	l.frames++
	if p.behind && l.frames > share && p.pressed[index] == nil {
		p.pressed[index] = l
		l.silenced++
		p.changed = true
	}
	if l.bucket.Rate == 0 || l.bucket.Take(now) {
		return true
	}
	if p.limited[index] == nil {
		l.until = now.Add(time.Duration(l.bucket.Size / 2 / l.bucket.Rate * float64(time.Second)))
		p.limited[index] = l
		l.silenced++
		p.changed = true
	}
	return false
}

// Silenced returns how often an interface was silenced since it was added.
func (p *Policer) Silenced(index int) uint64 {
	if l := p.links[index]; l != nil {
		return l.silenced
	}
	return 0
}

// ignore notes an interface that was not asked for.
func (p *Policer) ignore(now time.Time, index int) {
	if p.named() {
		return // the filter lets nothing else through
	}
	if len(p.foreign) >= MostListed {
		if now.Sub(p.since) < forgetAfter {
			return
		}
		clear(p.foreign)
		p.since = now
	}
	if _, known := p.foreign[index]; !known {
		p.foreign[index] = struct{}{}
		p.changed = true
	}
}

// Behind says that the receive buffer fills, though the reader reads.
func (p *Policer) Behind() { p.behind = true }

// CaughtUp says that the reader has read everything there was.
func (p *Policer) CaughtUp() {
	p.behind = false
	p.round++
	if len(p.pressed) > 0 {
		clear(p.pressed)
		p.changed = true
	}
}

// Advance ends the silence of interfaces whose time has come.
func (p *Policer) Advance(now time.Time) {
	for index, l := range p.limited {
		if !now.Before(l.until) {
			delete(p.limited, index)
			p.changed = true
		}
	}
}

// Deadline returns when Advance has something to do; the zero time if never.
func (p *Policer) Deadline() (first time.Time) {
	for _, l := range p.limited {
		if first.IsZero() || l.until.Before(first) {
			first = l.until
		}
	}
	return first
}

// List is what a filter is to name.
type List struct {
	Interfaces []int // indexes in ascending order, MostListed at most
	Only       bool  // let through nothing else; otherwise what they bring is dropped
}

// Changed returns what a filter is to name, and whether that is something else than at
// the last call. What the filter ought to drop and does not, Take does. The list is valid
// until the next call.
func (p *Policer) Changed() (List, bool) {
	if !p.changed {
		return p.last, false
	}
	next := List{Only: p.named()}
	next.Interfaces = p.list(p.spare[:0])
	old := p.last
	p.changed, p.last, p.spare = false, next, old.Interfaces
	return next, next.Only != old.Only || !slices.Equal(next.Interfaces, old.Interfaces)
}

func (p *Policer) list(list []int) []int {
	add := func(index int) {
		if len(list) < MostListed {
			list = append(list, index)
		}
	}
	if p.named() {
		for index := range p.links {
			if p.limited[index] == nil && p.pressed[index] == nil {
				add(index)
			}
		}
	} else {
		for index := range p.pressed {
			add(index)
		}
		for index := range p.limited {
			add(index)
		}
		for index := range p.foreign {
			add(index)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// named reports whether the interfaces that are let through are few enough to be listed.
func (p *Policer) named() bool { return !p.all && len(p.links) <= MostListed }
