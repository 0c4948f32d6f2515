package firewall

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
)

// Difference is what applying another specification changes of a firewall.
type Difference struct {
	Op   string // add, replace or delete
	What string // "table inet hvrouter", "chain input of inet hvrouter", "set guests of inet hvrouter"
	How  string // what becomes of one that is replaced
}

// Differences returns what Apply of one specification would change after Apply of another one;
// nil is no firewall. A table of which anything but elements of sets differs is replaced as a
// whole, in one transaction, and its counters begin again.
func Differences(old, new *Spec) (list []Difference) {
	var was, is []*table
	if old != nil {
		was = build(old.normal())
	}
	if new != nil {
		is = build(new.normal())
	}
	for _, t := range is {
		if o := named(was, t); o != nil {
			list = append(list, o.differences(t)...)
		} else {
			list = append(list, Difference{Op: "add", What: t.String()})
		}
	}
	for _, t := range was {
		if named(is, t) == nil {
			list = append(list, Difference{Op: "delete", What: t.String()})
		}
	}
	return list
}

// String returns "table inet hvrouter".
func (t *table) String() string { return "table " + familyName(t.Family) + " " + t.Name }

func (t *table) differences(next *table) (list []Difference) {
	if reflect.DeepEqual(t, next) {
		return nil
	}
	of := " of " + familyName(t.Family) + " " + t.Name
	if !t.updatable(next) {
		list = append(list, Difference{Op: "replace", What: t.String(), How: "as a whole, its counters begin again"})
	}
	parts(&list, "chain", of, t.chains, next.chains, func(c chain) string { return c.name }, rulesDiffer)
	parts(&list, "set", of, sets(t), sets(next), func(s *set) string { return s.Name }, elementsDiffer)
	return list
}

// rulesDiffer says how the rules of two chains differ, "" if they do not.
func rulesDiffer(old, new chain) string {
	switch {
	case reflect.DeepEqual(old, new):
		return ""
	case len(old.rules) == len(new.rules):
		return "other rules"
	}
	return fmt.Sprintf("%d rules in place of %d", len(new.rules), len(old.rules))
}

// elementsDiffer says how the elements of two sets differ, "" if they do not.
func elementsDiffer(old, new *set) string {
	// The end of an interval may be the beginning of another one.
	key := func(e nftables.SetElement) string { return fmt.Sprint(e.IntervalEnd, identity(e)) }
	have, added, removed := map[string]bool{}, 0, 0
	for _, e := range old.elements {
		have[key(e)] = !e.IntervalEnd
	}
	for _, e := range new.elements {
		if _, ok := have[key(e)]; !ok && !e.IntervalEnd {
			added++
		}
		delete(have, key(e))
	}
	for _, begins := range have {
		if begins {
			removed++
		}
	}
	if added+removed == 0 && reflect.DeepEqual(old.Set, new.Set) {
		return ""
	}
	return fmt.Sprintf("%d added, %d removed", added, removed)
}

// sets returns the sets that have a name: others are part of a rule.
func sets(t *table) (list []*set) {
	for _, s := range t.sets {
		if !s.Anonymous {
			list = append(list, s)
		}
	}
	return list
}

// parts adds what differs in chains, or in sets.
func parts[T any](list *[]Difference, kind, of string, old, new []T, name func(T) string, differ func(old, new T) string) {
	find := func(all []T, x T) int {
		return slices.IndexFunc(all, func(o T) bool { return name(o) == name(x) })
	}
	for _, n := range new {
		what := kind + " " + name(n) + of
		if i := find(old, n); i < 0 {
			*list = append(*list, Difference{Op: "add", What: what})
		} else if how := differ(old[i], n); how != "" {
			*list = append(*list, Difference{"replace", what, how})
		}
	}
	for _, o := range old {
		if find(new, o) < 0 {
			*list = append(*list, Difference{Op: "delete", What: kind + " " + name(o) + of})
		}
	}
}
