package firewall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
)

// explainTime is how long a notification may take that explains a difference.
const explainTime = 100 * time.Millisecond

// What kind of a difference [Firewall.Audit] has found.
const (
	opMissing = "missing" // the kernel has not what was written
	opChanged = "changed" // it has something else
	opExtra   = "extra"   // it has what nobody has written
)

// audited is what [Firewall.Audit] remembers.
type audited struct {
	// judged says that the tables stood as they were applied when the ruleset had the number
	// generation.
	judged     bool
	generation uint32
	// left is the number of the ruleset of which it is known that nobody but us has changed our tables since
	// they were replaced, 0 if there is none.
	left uint32
	// told counts the changes by others that were notified, and those of ours: a difference that is found
	// meanwhile is no secret.
	told uint64
	// manner is what this kernel shows otherwise than it was written: it can not be judged.
	manner map[Difference]bool
}

// Audit reads the tables again, if anybody has changed any table since they were found to be as they
// were applied, and returns in what they differ: the Op is missing, changed or extra. What a
// notification has told to [Firewall.Watch], or does within a tenth of a second, is no difference. After a
// difference the next Apply replaces the tables, whatever its spec. An error says that something could
// not be read, or can not be judged.
//
// Without a change of the ruleset it costs one question. It does not hold up Apply.
func (w *Firewall) Audit() ([]Difference, error) {
	r, err := w.reader()
	if err != nil {
		return nil, fmt.Errorf("firewall: audit: %w", err)
	}
	defer r.conn.Close()
	list, err := w.audit(r)
	if err != nil {
		return nil, fmt.Errorf("firewall: audit: %w", err)
	}
	return list, nil
}

// readings is how often the tables are read while others change the ruleset.
const readings = 3

func (w *Firewall) audit(r reader) (list []Difference, err error) {
	for range readings {
		generation, err := r.generation()
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		tables, told, left := slices.Clone(w.applied), w.audited.told, w.audited.left
		skip := w.spoiled || len(tables) == 0 || w.audited.judged && w.audited.generation == generation
		w.mu.Unlock()
		if skip {
			return nil, nil
		}
		list = nil
		for _, t := range tables {
			differ, err := r.compare(t)
			if err != nil {
				return nil, err
			}
			list = append(list, differ...)
		}
		after, err := r.generation()
		if err != nil {
			return nil, err
		}
		if after != generation {
			continue // it may have been read half before a change and half after it
		}
		if len(list) > 0 && generation != left {
			time.Sleep(explainTime)
		}
		return w.judge(list, generation, told)
	}
	return nil, nil // in the next round
}

// judge takes what was found when the ruleset had a number.
func (w *Firewall) judge(list []Difference, generation uint32, told uint64) ([]Difference, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.audited
	if a.told != told {
		return nil, nil
	}
	list = slices.DeleteFunc(list, func(d Difference) bool { return a.manner[d] })
	switch {
	case len(list) == 0:
		a.judged, a.generation = true, generation
	case generation == a.left: // nobody but us has changed them
		var names []string
		if a.manner == nil {
			a.manner = map[Difference]bool{}
		}
		for _, d := range list {
			a.manner[d] = true
			names = append(names, d.Op+" "+d.What)
		}
		a.judged, a.generation = true, generation
		return nil, fmt.Errorf("this kernel shows otherwise what was written, and it is not looked after: %s", strings.Join(names, ", "))
	default:
		w.spoiled = true
	}
	return list, nil
}

// beginAnew notes that all tables are about to be replaced: what has become of those that stand is of no
// interest any more. The lock is held.
func (w *Firewall) beginAnew() {
	w.audited.manner, w.audited.judged = nil, false
	w.audited.left = w.now()
}

// commit carries out what is queued, and follows the number of the ruleset, which each transaction
// raises by one. The lock is held.
func (w *Firewall) commit(conn *nftables.Conn) error {
	before := w.now()
	if err := conn.Flush(); err != nil {
		return err
	}
	a := &w.audited
	ours := before == a.left || a.judged && before == a.generation
	a.told++
	a.judged = false
	if a.left = w.now(); !ours || a.left != before+1 {
		a.left = 0
	}
	return nil
}

// now returns the number of the ruleset, 0 if that cannot be told.
func (w *Firewall) now() uint32 {
	r, err := w.reader()
	if err != nil {
		return 0
	}
	defer r.conn.Close()
	generation, _ := r.generation()
	return generation
}

// compare returns in what a table differs from what was written.
func (r reader) compare(t *table) (list []Difference, err error) {
	want, err := t.wanted()
	if err != nil {
		return nil, err
	}
	have, err := r.stands(t.Table)
	switch {
	case err != nil:
		return nil, err
	case have == nil:
		return []Difference{{Op: opMissing, What: t.String()}}, nil
	}
	return differ(t, want, have), nil
}

// differ compares two pictures of a table.
func differ(t *table, want, have picture) (list []Difference) {
	name := func(part string) string {
		if part == "table" {
			return t.String()
		}
		return part + " of " + familyName(t.Family) + " " + t.Name
	}
	for part, w := range want {
		if h, ok := have[part]; !ok {
			list = append(list, Difference{Op: opMissing, What: name(part)})
		} else if h != w {
			list = append(list, Difference{Op: opChanged, What: name(part)})
		}
	}
	for part := range have {
		if _, ok := want[part]; !ok {
			list = append(list, Difference{Op: opExtra, What: name(part)})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int { return strings.Compare(a.What, b.What) })
	return list
}
