package fib

import (
	"cmp"
	"slices"
	"time"
)

// rules are desired, banned and existing policy rules.
type rules struct {
	want, ban, gone map[Rule]bool // gone: DeleteRule was called
	kernel          []kernelRule
	failed          map[Rule]*failure
	dirty           bool
	foreign         bool // the difference is somebody else's doing
}

func (t *rules) init() {
	t.want, t.ban, t.gone = map[Rule]bool{}, map[Rule]bool{}, map[Rule]bool{}
	t.failed = map[Rule]*failure{}
}

func (t *rules) set(r Rule) {
	delete(t.gone, r)
	delete(t.ban, r)
	if !t.want[r] {
		t.want[r], t.dirty = true, true
	}
}

func (t *rules) forbid(r Rule) {
	delete(t.want, r)
	delete(t.failed, r)
	if !t.ban[r] {
		t.ban[r], t.dirty = true, true
	}
}

func (t *rules) remove(r Rule) {
	if t.want[r] || !t.ban[r] {
		t.gone[r] = true
	}
	delete(t.want, r)
	delete(t.ban, r)
	delete(t.failed, r)
	t.dirty = true
}

// saw and lost take notifications in. Rules are a multiset.
func (t *rules) saw(k kernelRule) {
	t.kernel = append(t.kernel, k)
	t.dirty, t.foreign = true, true
}

func (t *rules) lost(k kernelRule) {
	if i := slices.Index(t.kernel, k); i >= 0 {
		t.kernel = slices.Delete(t.kernel, i, i+1)
	}
	t.dirty, t.foreign = true, true
}

func (t *rules) plan(own uint8, swept bool) rulePlan {
	failed := map[Rule]bool{}
	for r, f := range t.failed {
		failed[r] = !f.next.IsZero()
	}
	return planRules(t.want, t.ban, t.gone, failed, t.kernel, own, swept)
}

// commitAdd and commitRemove take the kernel's answer in.
func (t *rules) commitAdd(r Rule, own uint8, a reply, now time.Time, wake func(time.Time)) *Error {
	if a.err == nil {
		delete(t.failed, r)
		t.kernel = append(t.kernel, kernelRule{Rule: r, proto: own})
		return nil
	}
	f := t.failed[r]
	if f == nil {
		f = &failure{}
		t.failed[r] = f
	}
	var err *Error // to report: a new one only
	if f.err == nil || f.err.Err != a.err {
		f.err = &Error{Op: "add", Key: r, Err: a.err, Text: a.text}
		err = f.err
	}
	f.step = backoff(f.step)
	f.next = now.Add(f.step)
	wake(f.next)
	return err
}

func (t *rules) commitRemove(k kernelRule, a reply) *Error {
	delete(t.gone, k.Rule)
	if a.err != nil && !absent(a.err) {
		return &Error{Op: "delete", Key: k.Rule, Err: a.err, Text: a.text}
	}
	if i := slices.Index(t.kernel, k); i >= 0 {
		t.kernel = slices.Delete(t.kernel, i, i+1)
	}
	return nil
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
}

func sortRules(rs []Rule) {
	slices.SortFunc(rs, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.String(), b.String()))
	})
}
