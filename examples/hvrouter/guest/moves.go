package guest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Moved is what `guest move` has said of a guest of a file, as far as that is not what the file
// says. It holds until the file says something else, or has had the guest no more for a while. What it says of a
// guest that came over the API is kept with that guest.
type Moved struct {
	Guest     string            `json:"guest"`
	Source    Source            `json:"source"` // of the guest
	Since     time.Time         `json:"since"`  // when Down was said or, if nothing was said of that, LocalPref
	Down      *Override[bool]   `json:"down,omitempty"`
	LocalPref *Override[uint32] `json:"local-pref,omitempty"`
}

// Override is a value in place of the one that a file has. It is not changed once it is made.
type Override[T comparable] struct {
	File T `json:"file"` // which the file had then
	// Before is what the file had that comes back if a reload on trial is rolled back; nil: none was on trial, or it had the same.
	Before *T `json:"before,omitempty"`
	Moved  T  `json:"moved"`
}

// stands reports whether the file still says what it said, or says it again.
func (o *Override[T]) stands(file T) bool {
	return o != nil && (o.File == file || o.Before != nil && *o.Before == file)
}

// override returns the override of the value of a file, and of the one before it if that may come back, by another one,
// nil if they are the same.
func override[T comparable](file T, before *T, moved T) *Override[T] {
	if before != nil && *before == file {
		before = nil
	}
	if file == moved && before == nil {
		return nil
	}
	return &Override[T]{file, before, moved}
}

// settled returns what is left of an override when the file's value counts for good, and whether the file has overtaken it.
func (o *Override[T]) settled(file T) (left *Override[T], overtaken bool) {
	switch {
	case o == nil:
		return nil, false
	case !o.stands(file):
		return nil, true
	case o.File == file && o.Before == nil:
		return o, false
	}
	return override(file, nil, o.Moved), false
}

// String says of whom what was said, and when.
func (m Moved) String() string {
	return fmt.Sprintf("guest %s: `guest move %s`, since %s", m.Guest, m.Words(), m.Since.Format(time.RFC3339))
}

// Words returns what was said, as flags of `guest move`.
func (m Moved) Words() string {
	var words []string
	switch {
	case m.Down != nil && m.Down.Moved:
		words = append(words, "-down")
	case m.Down != nil:
		words = append(words, "-up")
	}
	if m.LocalPref != nil {
		words = append(words, fmt.Sprint("-local-pref ", m.LocalPref.Moved))
	}
	return strings.Join(words, " ")
}

// on returns what of it changes a guest as its file has it.
func (m Moved) on(g config.Guest) Moved {
	if !m.Down.stands(g.Down) || m.Down.Moved == g.Down {
		m.Down = nil
	}
	if !m.LocalPref.stands(g.LocalPref) || m.LocalPref.Moved == g.LocalPref {
		m.LocalPref = nil
	}
	return m
}

func (m Moved) nothing() bool { return m.Down == nil && m.LocalPref == nil }

// apply changes a guest as its file has it.
func (m Moved) apply(g *config.Guest) {
	m = m.on(*g)
	if m.Down != nil {
		g.Down = m.Down.Moved
	}
	if m.LocalPref != nil {
		g.LocalPref = m.LocalPref.Moved
	}
}

// check says what is wrong with one that comes from a file.
func (m Moved) check() error {
	if m.Guest == "" || m.Source != FromConfig && m.Source != FromDirectory || m.Since.IsZero() || m.nothing() {
		return fmt.Errorf("it has %+v", m)
	}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Source) UnmarshalText(text []byte) error {
	for one := range sources {
		if one.String() == string(text) {
			*s = one
			return nil
		}
	}
	return fmt.Errorf("source %q", text)
}

// EncodeMoves encodes what [Inventory.Moves] returns.
func EncodeMoves(list []Moved) ([]byte, error) {
	if list == nil {
		list = []Moved{}
	}
	data, err := json.MarshalIndent(list, "", "  ")
	return append(data, '\n'), err
}

// DecodeMoves decodes it: all or, if one is not understood, none.
func DecodeMoves(data []byte) (list []Moved, err error) {
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, fmt.Errorf("it has no list")
	}
	for _, m := range list {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// movedKey is whom a move is about: a guest of the same name in another source is another one.
type movedKey struct {
	source Source
	name   string
}

// SetMoves sets what `guest move` has said of guests of files, in an earlier run.
func (in *Inventory) SetMoves(list []Moved) {
	in.moves = map[movedKey]Moved{}
	for _, m := range list {
		in.moves[movedKey{m.Source, m.Guest}] = m
	}
	in.version++
}

// Moves returns what `guest move` has said of guests of files, sorted by name: also of those that
// are not known, or of which the file says something else by now, until [Inventory.SettleMoves].
func (in *Inventory) Moves() []Moved {
	return slices.SortedFunc(maps.Values(in.moves), func(a, b Moved) int {
		return cmp.Or(strings.Compare(a.Guest, b.Guest), cmp.Compare(a.Source, b.Source))
	})
}

// Standing returns what stands of the moves of a guest of a source. ok is false if that is nothing.
func (in *Inventory) Standing(s Source, name string) (m Moved, ok bool) {
	m, ok = in.moves[movedKey{s, name}]
	e := in.admitted[s][name]
	if !ok || e == nil {
		return Moved{}, false
	}
	m = m.on(e.Guest)
	return m, !m.nothing()
}

// Move changes the state of a guest, where that is not nil, and reports whether there is the guest.
// What comes from a file is so changed until the file says something else. There is the guest as well
// if its file has it no more and what was said of it is kept.
func (in *Inventory) Move(name string, down *bool, pref *uint32, now time.Time) bool {
	_, source, ok := in.Find(name)
	var e config.Entry
	var before *before
	if ok {
		e = *in.admitted[source][name]
		before = in.comesBack(source, name)
	} else if source, ok = in.lost(name); ok {
		e.Guest = in.moves[movedKey{source, name}].file()
	} else {
		return false
	}
	in.version++
	if source == FromAPI {
		if down != nil {
			e.Down = *down
		}
		if pref != nil {
			e.LocalPref = *pref
		}
		in.admitted[source][name] = &e
		return true
	}
	m := in.moves[movedKey{source, name}]
	was := m.Down
	m.Guest, m.Source = name, source
	if down != nil {
		m.Down = override(e.Down, before.down(), *down)
	}
	if pref != nil {
		m.LocalPref = override(e.LocalPref, before.localPref(), *pref)
	}
	if m.Since.IsZero() || m.Down != nil && (was == nil || was.Moved != m.Down.Moved) {
		m.Since = now
	}
	in.setMoves(m)
	return true
}

// OfFile reports whether [Inventory.Move] of this name is about a guest of a file.
func (in *Inventory) OfFile(name string) bool {
	if _, source, ok := in.Find(name); ok {
		return source != FromAPI
	}
	_, ok := in.lost(name)
	return ok
}

// setMoves keeps moves, and forgets those that say nothing.
func (in *Inventory) setMoves(list ...Moved) {
	next := maps.Clone(in.moves) // clones of the inventory share it
	if next == nil {
		next = map[movedKey]Moved{}
	}
	for _, m := range list {
		next[movedKey{m.Source, m.Guest}] = m
		if m.nothing() {
			delete(next, movedKey{m.Source, m.Guest})
		}
	}
	in.moves = next
}

// stated returns a guest as a source has it, refused or not; nil is none.
func (in *Inventory) stated(s Source, name string) *config.Guest {
	if e := in.admitted[s][name]; e != nil {
		return &e.Guest
	}
	for i := range in.refused[s] {
		if in.refused[s][i].Name == name {
			return &in.refused[s][i].Guest
		}
	}
	return nil
}

// moved changes guests, sorted by name, as they were moved.
func (in *Inventory) moved(guests []config.Guest) {
	for k, m := range in.moves {
		if in.admitted[k.source][k.name] == nil {
			continue
		}
		i, ok := slices.BinarySearchFunc(guests, k.name, func(g config.Guest, name string) int { return strings.Compare(g.Name, name) })
		if ok {
			m.apply(&guests[i])
		}
	}
}
