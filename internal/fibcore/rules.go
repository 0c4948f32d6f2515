package fibcore

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// rules are desired, banned and existing policy rules. The kernel takes several equal
// ones, and deletes the first that is like what the request names. So what it has is never
// computed: it is what the last dump had, and after every notification and every write
// there is another dump before anything is decided.
type rules struct {
	want, banned, deleted map[wire.Rule]bool // deleted: DeleteRule was called
	kernel                []wire.KernelRule  // as dumped last, in the kernel's order
	changed               time.Time          // when others last changed rules
	by                    map[wire.Rule]origin
	failed                map[wire.Rule]*failure
	brakes                brake.Table[wire.Rule]
	version               uint64    // counts dumps, notifications and writes
	dirty                 bool      // to be compared
	dirtyAt               time.Time // to be compared again then; zero: no need
}

// ruleCalm is how long duplicates stay after others have last changed rules. While they
// do, the deletion of a duplicate might meet the deletion of the other by another program.
const ruleCalm = time.Second

func (t *rules) init() {
	t.want, t.banned, t.deleted = map[wire.Rule]bool{}, map[wire.Rule]bool{}, map[wire.Rule]bool{}
	t.by, t.failed, t.brakes = map[wire.Rule]origin{}, map[wire.Rule]*failure{}, brake.Table[wire.Rule]{}
}

func (t *rules) set(r wire.Rule) {
	delete(t.deleted, r)
	delete(t.banned, r)
	if !t.want[r] {
		t.want[r], t.dirty = true, true
	}
}

func (t *rules) setAbsent(r wire.Rule) {
	delete(t.want, r)
	delete(t.failed, r)
	if !t.banned[r] {
		t.banned[r], t.dirty = true, true
	}
}

func (t *rules) remove(r wire.Rule) {
	if t.want[r] || !t.banned[r] {
		t.deleted[r] = true
	}
	delete(t.want, r)
	delete(t.banned, r)
	delete(t.failed, r)
	t.dirty = true
}

// notified takes a notification in: it says who changed what, not what there is now.
func (t *rules) notified(r wire.Rule, ours bool, by origin, now time.Time) {
	t.changed = now
	t.version++
	if t.want[r] || t.banned[r] || ours {
		t.by[r] = by
	}
}

// dumped takes a dump in.
func (t *rules) dumped(found []wire.KernelRule) {
	t.kernel, t.dirty = found, true
	t.version++
	there := map[wire.Rule]bool{}
	for _, k := range found {
		if !k.Unknown {
			there[k.Rule] = true
			delete(t.failed, k.Rule)
		}
	}
	maps.DeleteFunc(t.by, func(r wire.Rule, _ origin) bool { return !t.want[r] && !t.banned[r] && !there[r] })
}

// plan is the difference that can be written now. Without clean the last dump may have
// left rules out, or had them twice: then nothing is removed. again is when to look again.
func (t *rules) plan(own uint8, swept, clean bool, now time.Time) (p rulePlan, again time.Time) {
	later := func(at time.Time) {
		if again.IsZero() || at.Before(again) {
			again = at
		}
	}
	waiting := map[wire.Rule]bool{}
	for r, f := range t.failed {
		waiting[r] = now.Before(f.next)
	}
	for r, b := range t.brakes {
		if !b.Ready(now) {
			waiting[r] = true
			later(b.Next)
		}
	}
	p = planRules(t.want, t.banned, t.deleted, waiting, t.kernel, own, swept)
	if calm := t.changed.Add(ruleCalm); now.Before(calm) && len(p.duplicates) > 0 {
		p.duplicates = nil
		later(calm)
	}
	if !clean {
		p.remove, p.duplicates = nil, nil
	}
	return p, again
}

// commitAdd and commitRemove take the kernel's answer in. They return the error to
// report, a new one only.
func (t *rules) commitAdd(r wire.Rule, a reply, now time.Time, wake func(time.Time)) *Error {
	if a.err == nil {
		delete(t.failed, r)
		return nil
	}
	f := t.failed[r]
	if f == nil {
		f = &failure{}
		t.failed[r] = f
	}
	var err *Error
	if !errors.Is(a.err, rtnl.ErrLost) && (f.err == nil || f.err.Err != a.err) {
		f.err = &Error{Op: "add", Key: r, Err: a.err, Text: a.text}
		err = f.err
	}
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	wake(f.next)
	return err
}

func (t *rules) commitRemove(k wire.KernelRule, a reply, now time.Time, wake func(time.Time)) *Error {
	if a.err == nil || absent(a.err) {
		delete(t.deleted, k.Rule)
		return nil
	}
	if errors.Is(a.err, rtnl.ErrLost) {
		return nil
	}
	return t.refused(k.Rule, "delete", a, now, wake)
}

// refused notes a failed deletion: it is tried again as a repair would be.
func (t *rules) refused(r wire.Rule, op string, a reply, now time.Time, wake func(time.Time)) *Error {
	first := t.brakes[r] == nil
	b := t.brakes.Of(r)
	b.Refused(now)
	wake(b.Next)
	if !first {
		return nil
	}
	return &Error{Op: op, Key: r, Err: a.err, Text: a.text}
}

// repaired notes that the difference that was written for r was another program's doing,
// if it was. It returns who that was, and whether repairs are delayed from now on.
func (t *rules) repaired(r wire.Rule, now time.Time) (by origin, repair, contended bool) {
	by, repair = t.by[r]
	if !repair {
		return by, false, false
	}
	delete(t.by, r)
	return by, true, by.port != 0 && t.brakes.Of(r).Repaired(now)
}

func (t *rules) retry(now time.Time, all bool, wake func(time.Time)) {
	for _, f := range t.failed {
		switch {
		case all || !now.Before(f.next):
			f.next = time.Time{}
			t.dirty = true
		default:
			wake(f.next)
		}
	}
	for _, b := range t.brakes {
		switch {
		case b.Next.IsZero():
		case now.Before(b.Next):
			wake(b.Next)
		default:
			t.dirty = true
		}
	}
	switch {
	case t.dirtyAt.IsZero():
	case now.Before(t.dirtyAt):
		wake(t.dirtyAt)
	default:
		t.dirty, t.dirtyAt = true, time.Time{}
	}
	t.brakes.Trim(now)
}

func sortRules(rs []wire.Rule) {
	slices.SortFunc(rs, func(a, b wire.Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.String(), b.String()))
	})
}
