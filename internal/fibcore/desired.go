package fibcore

import (
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/brake"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

// desired is a small table of desired values and what the kernel has for them.
type desired[K, V comparable] struct {
	want    map[K]V
	have    map[K]had[V]
	dirty   map[K]bool
	deleted map[K]bool   // Delete was called
	by      map[K]origin // another program has changed it
	failed  map[K]*failure
	brakes  brake.Table[K]
	touched map[K]bool              // whose have was told, since an audit began; nil: no audit
	remake  func(have, want V) bool // reports whether only deletion and addition make one of the other; may be nil
	compare func(a, b K) int        // the order in which they are written
	// anonymous reports whether the kernel notifies the changes that others make of k as if they were its own; may be nil.
	anonymous func(K) bool
}

// had is a value in the kernel, and whether it carries our protocol number.
type had[V comparable] struct {
	value V
	ours  bool
}

func (t *desired[K, V]) init() {
	t.want, t.have = map[K]V{}, map[K]had[V]{}
	t.dirty, t.deleted, t.by = map[K]bool{}, map[K]bool{}, map[K]origin{}
	t.failed, t.brakes = map[K]*failure{}, brake.Table[K]{}
}

func (t *desired[K, V]) set(k K, v V) {
	if old, ok := t.want[k]; ok && old == v && t.failed[k] == nil && !t.deleted[k] {
		return
	}
	t.want[k] = v
	delete(t.deleted, k)
	delete(t.failed, k)
	t.dirty[k] = true
}

func (t *desired[K, V]) remove(k K) {
	delete(t.want, k)
	delete(t.failed, k)
	t.deleted[k] = true
	t.dirty[k] = true
}

// saw takes a notification or dump record in.
func (t *desired[K, V]) saw(k K, v V, ours bool, by origin) {
	t.touch(k)
	t.have[k] = had[V]{v, ours}
	if want, ok := t.want[k]; ok && want != v || !ok && ours {
		t.dirty[k], t.by[k] = true, by
	}
}

// lost takes a deletion in.
func (t *desired[K, V]) lost(k K, by origin) {
	t.touch(k)
	_, had := t.have[k]
	delete(t.have, k)
	if _, ok := t.want[k]; ok {
		t.dirty[k] = true
		if had {
			t.by[k] = by
		}
	}
}

// touch notes that what the kernel has for k was told, or written: an audit whose dump began before
// does not know it better.
func (t *desired[K, V]) touch(k K) {
	if t.touched != nil {
		t.touched[k] = true
	}
}

// compareAll compares everything that is desired.
func (t *desired[K, V]) compareAll() {
	for k := range t.want {
		t.dirty[k] = true
	}
}

// decide is the difference for one key.
func (t *desired[K, V]) decide(k K, swept bool) verb {
	want, wanted := t.want[k]
	have, there := t.have[k]
	switch {
	case wanted && !there:
		return verbAdd
	case wanted && have.value != want && t.remake != nil && t.remake(have.value, want):
		return verbDelete
	case wanted && have.value != want:
		return verbReplace
	case wanted || !there:
		return verbNone
	case t.deleted[k] || swept && have.ours:
		return verbDelete
	}
	return verbNone
}

// smallOp is a message about one of the low-rate objects.
type smallOp[K comparable] struct {
	key  K
	verb verb
}

// plan empties the dirty set into operations, but for what has to wait.
func (t *desired[K, V]) plan(swept bool, now time.Time) (ops []smallOp[K]) {
	if len(t.dirty) == 0 {
		return nil
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.dirty), t.compare) {
		if t.waits(k, now) {
			continue
		}
		delete(t.dirty, k)
		if v := t.decide(k, swept); v != verbNone {
			ops = append(ops, smallOp[K]{k, v})
		} else {
			delete(t.deleted, k)
			delete(t.by, k)
			delete(t.failed, k)
		}
	}
	return ops
}

// waits reports whether k may not be written yet.
func (t *desired[K, V]) waits(k K, now time.Time) bool {
	f := t.failed[k]
	return f != nil && !f.next.IsZero() || !t.brakes[k].Ready(now)
}

// commit takes the kernel's answer in. It returns the error to report, nil if
// it is an old one or none.
func (t *desired[K, V]) commit(op smallOp[K], r reply, v V, key any, now time.Time, wake func(time.Time)) (err *Error) {
	t.touch(op.key)
	if r.err != nil && !(op.verb == verbDelete && absent(r.err)) {
		f := t.failed[op.key]
		if f == nil {
			f = &failure{}
			t.failed[op.key] = f
		}
		if !errors.Is(r.err, rtnl.ErrLost) && (f.err == nil || !errors.Is(f.err.Err, r.err)) {
			f.err = &Error{Op: op.verb.String(), Key: key, Err: r.err, Text: r.text}
			if !errors.Is(r.err, unix.ENODEV) { // the interface has just gone, as word that is on its way will say
				err = f.err
			}
		}
		f.step = backoff(f.step)
		f.next = now.Add(f.step)
		t.dirty[op.key] = true
		wake(f.next)
		return err
	}
	delete(t.failed, op.key)
	if op.verb == verbDelete {
		delete(t.have, op.key)
		delete(t.deleted, op.key)
		if _, ok := t.want[op.key]; ok {
			t.dirty[op.key] = true
		}
	} else {
		t.have[op.key] = had[V]{v, true}
	}
	return nil
}

// repaired notes that what was written for k was another program's doing, if it was. It
// returns who that was, and whether repairs are delayed from now on.
func (t *desired[K, V]) repaired(k K, now time.Time) (by origin, repair, contended bool) {
	by, repair = t.by[k]
	if !repair {
		return by, false, false
	}
	delete(t.by, k)
	others := by.port != 0 || t.anonymous != nil && t.anonymous(k)
	return by, true, others && t.brakes.Of(k).Repaired(now)
}

func (t *desired[K, V]) retry(now time.Time, all bool, wake func(time.Time)) {
	for _, f := range t.failed {
		switch {
		case all || !now.Before(f.next):
			f.next = time.Time{}
		default:
			wake(f.next)
		}
	}
	for _, b := range t.brakes {
		if now.Before(b.Next) {
			wake(b.Next)
		}
	}
	t.brakes.Trim(now)
}

// sweep looks at everything again.
func (t *desired[K, V]) sweep() {
	for k := range t.have {
		t.dirty[k] = true
	}
}

// pending reports whether something could be written now.
func (t *desired[K, V]) pending(now time.Time) bool {
	for k := range t.dirty {
		if !t.waits(k, now) {
			return true
		}
	}
	return false
}
