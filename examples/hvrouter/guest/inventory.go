package guest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// Source is where a guest is known from. Of two guests with one name, the lower
// source wins.
type Source uint8

// The sources.
const (
	FromConfig Source = iota
	FromDirectory
	FromAPI
	sources
)

// String names the source for people.
func (s Source) String() string {
	return enum.String("Source", []string{"config", "directory", "api"}, s)
}

// Inventory is every guest that is known. The zero value is empty. It is not safe
// for concurrent use.
type Inventory struct {
	bySource [sources]map[string]config.Guest
	version  uint64
}

// Version changes whenever a guest does.
func (in *Inventory) Version() uint64 { return in.version }

// Replace sets all guests of one source. Guests that conflict with one that
// counts more, or came earlier, are left out and described in errs.
func (in *Inventory) Replace(s Source, guests []config.Guest) (errs []error) {
	in.version++
	in.bySource[s] = map[string]config.Guest{}
	x := in.index()
	for _, g := range guests {
		if err := refused(g, x); err != nil {
			errs = append(errs, err)
			continue
		}
		in.bySource[s][g.Name] = g
		x.add(g, claim{g.Name, s})
	}
	return errs
}

// Clone returns a copy that can be changed on its own.
func (in *Inventory) Clone() Inventory {
	out := *in
	for s, guests := range in.bySource {
		out.bySource[s] = maps.Clone(guests)
	}
	return out
}

// mostReasons bounds what one error lists.
const mostReasons = 10

// Put adds guests over the API, or replaces those that came that way: all of them, or,
// if one would take something from another, none.
func (in *Inventory) Put(guests ...config.Guest) error {
	next := maps.Clone(in.bySource[FromAPI])
	if next == nil {
		next = map[string]config.Guest{}
	}
	for _, g := range guests {
		delete(next, g.Name)
	}
	others := *in
	others.bySource[FromAPI] = next
	x := others.index()
	var errs []error
	for _, g := range guests {
		if err := refused(g, x); err != nil {
			errs = append(errs, err)
			continue
		}
		next[g.Name] = g
		x.add(g, claim{g.Name, FromAPI})
	}
	if n := len(errs) - mostReasons; n > 0 {
		errs = append(errs[:mostReasons], fmt.Errorf("and %d more", n))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	in.bySource[FromAPI] = next
	in.version++
	return nil
}

// Change replaces a guest where it is, whatever its source. It must have the
// addresses it had.
func (in *Inventory) Change(s Source, g config.Guest) {
	in.bySource[s][g.Name] = g
	in.version++
}

// Remove takes a guest away that came over the API.
func (in *Inventory) Remove(name string) error {
	if _, ok := in.bySource[FromAPI][name]; ok {
		delete(in.bySource[FromAPI], name)
		in.version++
		return nil
	}
	if _, source, ok := in.Find(name); ok {
		return fmt.Errorf("guest %s comes from the %v; remove it there", name, source)
	}
	return fmt.Errorf("there is no guest %s", name)
}

// Find gives the guest with this name.
func (in *Inventory) Find(name string) (config.Guest, Source, bool) {
	for s, guests := range in.bySource {
		if g, ok := guests[name]; ok {
			return g, Source(s), true
		}
	}
	return config.Guest{}, 0, false
}

// All gives every guest, sorted by name.
func (in *Inventory) All() []config.Guest {
	var all []config.Guest
	for _, guests := range in.bySource {
		all = slices.AppendSeq(all, maps.Values(guests))
	}
	slices.SortFunc(all, func(a, b config.Guest) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Of gives the guests of one source, sorted by name.
func (in *Inventory) Of(s Source) []config.Guest {
	all := slices.Collect(maps.Values(in.bySource[s]))
	slices.SortFunc(all, func(a, b config.Guest) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Present gives the guests whose interfaces exist and that are not down.
func (in *Inventory) Present(exists func(link string) bool) []config.Guest {
	return slices.DeleteFunc(in.All(), func(g config.Guest) bool { return g.Down || !exists(g.Interface) })
}

// refused says what g would take from another guest.
func refused(g config.Guest, x *index) error {
	if what, from, ok := x.conflict(g); ok {
		return fmt.Errorf("guest %s: %s belongs to guest %s (%v)", g.Name, what, from.guest, from.source)
	}
	return nil
}
