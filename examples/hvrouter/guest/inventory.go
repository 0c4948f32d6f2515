package guest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
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

// Inventory is every guest that is known. The zero value is empty, and takes whatever does
// not conflict. It is not safe for concurrent use.
type Inventory struct {
	admission *config.Admission                 // nil: everybody is admitted
	admitted  [sources]map[string]*config.Entry // which stay as they are: clones share them
	refused   [sources][]Refused                // by a rule, or by a guest that was there before
	claims    config.Claims
	moves     map[movedKey]Moved // what `guest move` said of guests of files: never changed in place
	absence   absence
	version   uint64
	listed    list // what All returned last
}

// list is every guest, sorted by name, as of a version.
type list struct {
	guests  []config.Guest
	version uint64
}

// Refused is a guest that the inventory knows of and does not count, and why.
type Refused struct {
	config.Entry
	Why error
}

// Version changes whenever a guest does.
func (in *Inventory) Version() uint64 { return in.version }

// Admit sets what guests are checked against, and checks all of them again, those that
// were refused as well. It returns why guests are refused that were not before, or for
// another reason.
func (in *Inventory) Admit(a *config.Admission) []error {
	in.admission = a
	return in.review(func() { in.claims = config.Claims{} }, true)
}

// Use sets what guests are checked against from now on, without a look at those that are
// there.
func (in *Inventory) Use(a *config.Admission) { in.admission = a }

// Replace sets all guests of one source. Those that break a rule, or conflict with one
// that counts more or came earlier, are left out. It returns why.
func (in *Inventory) Replace(s Source, guests []config.Entry) (errs []error) {
	return in.review(func() {
		for _, e := range in.admitted[s] {
			in.claims.Remove(e.Guest, who(*e, s))
		}
		in.admitted[s], in.refused[s] = nil, nil
		for _, e := range guests {
			in.refused[s] = append(in.refused[s], Refused{Entry: e})
		}
	}, false)
}

// review changes the inventory, and then takes up whom it can of those that were refused
// or, with all, of everybody.
func (in *Inventory) review(change func(), all bool) (errs []error) {
	in.version++
	before := map[string]bool{}
	for s := range in.refused {
		for _, r := range in.refused[s] {
			before[reason(Source(s), r)] = true
		}
	}
	change()
	for s := range in.refused {
		s := Source(s)
		waiting := in.refused[s]
		if all {
			for _, name := range slices.Sorted(maps.Keys(in.admitted[s])) {
				waiting = append(waiting, Refused{Entry: *in.admitted[s][name]})
			}
			// Who was there stays, if it may.
			slices.SortStableFunc(waiting, func(a, b Refused) int { return count(a.Why != nil) - count(b.Why != nil) })
			in.admitted[s] = nil
		}
		in.refused[s] = nil
		for _, r := range waiting {
			if r.Why = in.check(r.Entry); r.Why == nil {
				in.add(s, r.Entry)
				continue
			}
			in.refused[s] = append(in.refused[s], r)
			if !before[reason(s, r)] {
				errs = append(errs, r.Why)
			}
		}
	}
	return errs
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func reason(s Source, r Refused) string { return fmt.Sprint(s, r.Name, r.Why) }

// mostGuests bounds the inventory.
const mostGuests = 20000

// check says why a guest cannot be taken.
func (in *Inventory) check(e config.Entry) error {
	if n := len(in.admitted[FromConfig]) + len(in.admitted[FromDirectory]) + len(in.admitted[FromAPI]); n >= mostGuests {
		return fmt.Errorf("guest %s: there are %d others already", e.Name, n)
	}
	var problems []config.Problem
	if in.admission != nil {
		problems = in.admission.Check(e.Guest)
	}
	problems = append(problems, in.claims.Check(e.Guest)...)
	if len(problems) == 0 {
		return nil
	}
	errs := e.Errors(problems)
	for _, err := range errs {
		err.Msg = "guest " + e.Name + ": " + err.Msg
	}
	return errs
}

func who(e config.Entry, s Source) string { return fmt.Sprintf("%s (%v)", e.Name, s) }

func (in *Inventory) add(s Source, e config.Entry) {
	if in.admitted[s] == nil {
		in.admitted[s] = map[string]*config.Entry{}
	}
	brief := e.Brief()
	in.admitted[s][e.Name] = &brief
	in.claims.Add(e.Guest, who(e, s))
}

// Clone returns a copy that can be changed on its own.
func (in *Inventory) Clone() *Inventory {
	out := *in
	for s := range in.admitted {
		out.admitted[s], out.refused[s] = maps.Clone(in.admitted[s]), slices.Clone(in.refused[s])
	}
	out.claims = in.claims.Clone()
	return &out
}

// mostReasons bounds what one error lists.
const mostReasons = 10

// Put adds guests over the API, or replaces those that came that way: all of them or, if
// anything is wrong with one, none.
func (in *Inventory) Put(guests ...config.Entry) error {
	var errs []error
	var replaced, added []config.Entry
	for _, e := range guests {
		if old, ok := in.admitted[FromAPI][e.Name]; ok && !slices.ContainsFunc(replaced, func(r config.Entry) bool { return r.Name == e.Name }) {
			replaced = append(replaced, *old)
			in.claims.Remove(old.Guest, who(*old, FromAPI))
		}
	}
	for _, e := range guests {
		if err := in.check(e); err != nil {
			errs = append(errs, err)
			continue
		}
		added = append(added, e)
		in.claims.Add(e.Guest, who(e, FromAPI))
	}
	if n := len(errs) - mostReasons; n > 0 {
		errs = append(errs[:mostReasons], fmt.Errorf("and %d more", n))
	}
	if len(errs) > 0 {
		for _, e := range added {
			in.claims.Remove(e.Guest, who(e, FromAPI))
		}
		for _, e := range replaced {
			in.claims.Add(e.Guest, who(e, FromAPI))
		}
		return errors.Join(errs...)
	}
	for _, e := range added {
		in.claims.Remove(e.Guest, who(e, FromAPI)) // add does it again
		in.add(FromAPI, e)
		in.forget(e.Name)
	}
	in.review(func() {}, false) // who was replaced may have left something
	return nil
}

// forget drops a guest that came over the API and is refused; it reports whether there was
// one.
func (in *Inventory) forget(name string) bool {
	n := len(in.refused[FromAPI])
	in.refused[FromAPI] = slices.DeleteFunc(in.refused[FromAPI], func(r Refused) bool { return r.Name == name })
	return len(in.refused[FromAPI]) < n
}

// Remove takes a guest away that came over the API.
func (in *Inventory) Remove(name string) error {
	if e, ok := in.admitted[FromAPI][name]; ok {
		in.review(func() {
			delete(in.admitted[FromAPI], name)
			in.claims.Remove(e.Guest, who(*e, FromAPI))
		}, false)
		return nil
	}
	if in.forget(name) {
		return nil
	}
	if _, source, ok := in.Find(name); ok {
		return fmt.Errorf("guest %s comes from the %v; remove it there", name, source)
	}
	return fmt.Errorf("there is no guest %s", name)
}

// Find returns the guest with this name.
func (in *Inventory) Find(name string) (config.Guest, Source, bool) {
	for s, guests := range in.admitted {
		if e, ok := guests[name]; ok {
			g := e.Guest
			in.moves[movedKey{Source(s), name}].apply(&g)
			return g, Source(s), true
		}
	}
	return config.Guest{}, 0, false
}

// Knows reports whether there is a guest with this name, refused or not.
func (in *Inventory) Knows(name string) bool {
	if _, _, ok := in.Find(name); ok {
		return true
	}
	for _, r := range in.Refused {
		if r.Name == name {
			return true
		}
	}
	return false
}

// All returns every guest, sorted by name. The slice belongs to the inventory, which
// returns it again until a guest changes: it must not be modified.
func (in *Inventory) All() []config.Guest {
	if in.listed.guests == nil || in.listed.version != in.version {
		in.listed = list{sorted(in.admitted[:], nil), in.version}
		in.moved(in.listed.guests)
	}
	return in.listed.guests
}

// Refused returns the guests that are refused, by source.
func (in *Inventory) Refused(yield func(Source, Refused) bool) {
	for s := range in.refused {
		for _, r := range in.refused[s] {
			if !yield(Source(s), r) {
				return
			}
		}
	}
}

// FromAPI returns the guests that came over the API, sorted by name, those that are refused
// as well: what refuses them may go.
func (in *Inventory) FromAPI() []config.Guest {
	return sorted(in.admitted[FromAPI:FromAPI+1], in.refused[FromAPI])
}

// sorted lists guests by name.
func sorted(admitted []map[string]*config.Entry, refused []Refused) []config.Guest {
	var all []*config.Guest // a guest is many words
	for _, guests := range admitted {
		for _, e := range guests {
			all = append(all, &e.Guest)
		}
	}
	for i := range refused {
		all = append(all, &refused[i].Guest)
	}
	slices.SortFunc(all, func(a, b *config.Guest) int { return strings.Compare(a.Name, b.Name) })
	out := make([]config.Guest, len(all))
	for i, g := range all {
		out[i] = *g
	}
	return out
}

// Free reports whether a prefix may be a guest's that the inventory does not say it has.
func (in *Inventory) Free(p netip.Prefix) bool { return in.admission == nil || in.admission.Free(p) }
