package guest

import (
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// How long what `guest move` has said of a guest is kept that its file has no more. The guest may be missing for a moment
// only, and a source of a live migration that forgets the move takes the guest's addresses and MAC back.
const (
	// LostTime is from when the guest was missed, and its source has had other guests: longer than it takes to copy or
	// mount a directory.
	LostTime = 10 * time.Minute
	// LostEmptyTime is in place of it while its source has no guest at all, as a directory that is not mounted.
	LostEmptyTime = 24 * time.Hour
)

// Lost is what is kept of a guest that its file has no more.
type Lost struct {
	Moved
	Until time.Time
}

// absence is what is not there of the guests that were moved. Maps are never changed in place: clones of the inventory
// share them.
type absence struct {
	missed map[movedKey]time.Time   // since when a guest is known to be missing
	filled [sources]time.Time       // since when a source is known to have guests; zero: it has none
	before map[string]*config.Guest // of the configuration that comes back if one on trial is rolled back; nil: none is on trial
}

// Try says that the configuration is on trial: these are the guests of the one that comes back if it is rolled back.
// It is until [Inventory.SettleMoves].
func (in *Inventory) Try(before []config.Guest) {
	in.absence.before = make(map[string]*config.Guest, len(before))
	for i := range before {
		in.absence.before[before[i].Name] = &before[i]
	}
}

// comesBack returns a guest as its file had it and may have it again, nil if there is none.
func (in *Inventory) comesBack(s Source, name string) *before {
	if s != FromConfig {
		return nil
	}
	return (*before)(in.absence.before[name])
}

// before is a guest as a file had it that may come back; nil is none.
type before config.Guest

func (b *before) down() *bool {
	if b == nil {
		return nil
	}
	return &b.Down
}

func (b *before) localPref() *uint32 {
	if b == nil {
		return nil
	}
	return &b.LocalPref
}

// file returns what its file last said of a guest, as far as that was overridden.
func (m Moved) file() (g config.Guest) {
	if m.Down != nil {
		g.Down = m.Down.File
	}
	if m.LocalPref != nil {
		g.LocalPref = m.LocalPref.File
	}
	return g
}

// lost returns the first source that has no guest of a name, of which it is kept what `guest move` has said.
func (in *Inventory) lost(name string) (s Source, ok bool) {
	for s := range sources {
		if _, ok := in.moves[movedKey{s, name}]; ok && in.stated(s, name) == nil {
			return s, true
		}
	}
	return 0, false
}

// SettleMoves forgets what was said of guests of which a source says something else by now, and of those that it has had no
// more for too long. It returns what was forgotten, and of whom, and whose guests are missed from now on. Until it is called,
// all of it counts again when the source says what it said before, as after a reload that is rolled back.
func (in *Inventory) SettleMoves(s Source, now time.Time) (ended, missed []Moved) {
	if s == FromConfig {
		in.absence.before = nil
	}
	switch filled := len(in.admitted[s])+len(in.refused[s]) > 0; {
	case !filled:
		in.absence.filled[s] = time.Time{}
	case in.absence.filled[s].IsZero():
		in.absence.filled[s] = now
	}
	times := maps.Clone(in.absence.missed)
	if times == nil {
		times = map[movedKey]time.Time{}
	}
	var rest []Moved
	for _, m := range in.Moves() {
		if m.Source != s {
			continue
		}
		k := movedKey{s, m.Guest}
		left, gone := m, m
		var down, pref bool
		if g := in.stated(s, m.Guest); g != nil {
			delete(times, k)
			left.Down, down = m.Down.settled(g.Down)
			left.LocalPref, pref = m.LocalPref.settled(g.LocalPref)
		} else if _, was := times[k]; !was && len(in.moves) <= mostGuests {
			times[k] = now
			missed = append(missed, m)
		} else if !now.Before(in.lostUntil(k)) || len(in.moves) > mostGuests {
			delete(times, k)
			left.Down, left.LocalPref, down, pref = nil, nil, m.Down != nil, m.LocalPref != nil
		}
		if !down {
			gone.Down = nil
		}
		if !pref {
			gone.LocalPref = nil
		}
		if !gone.nothing() {
			ended = append(ended, gone)
		}
		if left != m {
			rest = append(rest, left)
		}
	}
	in.absence.missed = times
	if len(rest) > 0 {
		in.version++
		in.setMoves(rest...)
	}
	return ended, missed
}

// Unsure says that it is not known which guests a source has: none is missed until the next [Inventory.SettleMoves].
func (in *Inventory) Unsure(s Source) {
	in.absence.missed = maps.Clone(in.absence.missed)
	maps.DeleteFunc(in.absence.missed, func(k movedKey, _ time.Time) bool { return k.source == s })
}

// lostUntil returns until when it is kept what was said of a guest that is missed.
func (in *Inventory) lostUntil(k movedKey) time.Time {
	missed, filled := in.absence.missed[k], in.absence.filled[k.source]
	if filled.IsZero() {
		return missed.Add(LostEmptyTime)
	}
	if filled.After(missed) {
		missed = filled
	}
	return missed.Add(LostTime)
}

// LostMoves returns what is kept of guests that their files have no more, sorted by name.
func (in *Inventory) LostMoves() (list []Lost) {
	for _, m := range in.Moves() {
		k := movedKey{m.Source, m.Guest}
		if _, ok := in.absence.missed[k]; ok && in.stated(k.source, k.name) == nil {
			list = append(list, Lost{m, in.lostUntil(k)})
		}
	}
	return list
}

// LostDeadline returns when [Inventory.SettleMoves] of a source has something to forget, if nothing else changes; zero is
// never. While a configuration is on trial nothing of it is forgotten.
func (in *Inventory) LostDeadline(s Source) (next time.Time) {
	if s == FromConfig && in.absence.before != nil {
		return next
	}
	for k := range in.absence.missed {
		if _, ok := in.moves[k]; k.source != s || !ok {
			continue
		}
		if t := in.lostUntil(k); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return next
}
