package fib

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// addressKey and neighborKey are the keys of the low-rate tables.
type addressKey struct {
	link   int
	prefix netip.Prefix
}

type neighborKey struct {
	link  int
	addr  netip.Addr
	proxy bool
}

// wishes is a small table of desired values and what the kernel has for them.
type wishes[K, V comparable] struct {
	want   map[K]V
	have   map[K]had[V]
	dirty  map[K]bool
	doomed map[K]bool // Delete was called
	repair map[K]bool // somebody else's doing
	failed map[K]*failure
}

// had is a value in the kernel, and whether it carries our protocol number.
type had[V comparable] struct {
	value V
	ours  bool
}

func (t *wishes[K, V]) init() {
	t.want, t.have = map[K]V{}, map[K]had[V]{}
	t.dirty, t.doomed, t.repair = map[K]bool{}, map[K]bool{}, map[K]bool{}
	t.failed = map[K]*failure{}
}

func (t *wishes[K, V]) set(k K, v V) {
	if old, ok := t.want[k]; ok && old == v && t.failed[k] == nil && !t.doomed[k] {
		return
	}
	t.want[k] = v
	delete(t.doomed, k)
	delete(t.failed, k)
	t.dirty[k] = true
}

func (t *wishes[K, V]) remove(k K) {
	delete(t.want, k)
	delete(t.failed, k)
	t.doomed[k] = true
	t.dirty[k] = true
}

// saw takes a notification or dump record in.
func (t *wishes[K, V]) saw(k K, v V, ours bool) {
	t.have[k] = had[V]{v, ours}
	if want, ok := t.want[k]; ok && want != v {
		t.dirty[k], t.repair[k] = true, true
	}
}

// lost takes a deletion in.
func (t *wishes[K, V]) lost(k K) {
	delete(t.have, k)
	if _, ok := t.want[k]; ok {
		t.dirty[k], t.repair[k] = true, true
	}
}

// decide is the difference for one key.
func (t *wishes[K, V]) decide(k K, swept bool) verb {
	want, wanted := t.want[k]
	have, there := t.have[k]
	switch {
	case wanted && !there:
		return verbAdd
	case wanted && have.value != want:
		return verbReplace
	case wanted || !there:
		return verbNone
	case t.doomed[k] || swept && have.ours:
		return verbDelete
	}
	return verbNone
}

// smallOp is a message about one of the low-rate objects.
type smallOp[K comparable] struct {
	key  K
	verb verb
}

// plan empties the dirty set into operations.
func (t *wishes[K, V]) plan(swept bool) (ops []smallOp[K]) {
	for k := range t.dirty {
		if f := t.failed[k]; f != nil && !f.next.IsZero() {
			continue
		}
		delete(t.dirty, k)
		if v := t.decide(k, swept); v != verbNone {
			ops = append(ops, smallOp[K]{k, v})
		} else {
			delete(t.doomed, k)
			delete(t.repair, k)
		}
	}
	return ops
}

// commit takes the kernel's answer in. It returns the error to report, nil if
// it is an old one or none, and whether it was a repair.
func (t *wishes[K, V]) commit(op smallOp[K], r reply, v V, key any, now time.Time, wake func(time.Time)) (err *Error, repaired bool) {
	if r.err != nil && !(op.verb == verbDelete && absent(r.err)) {
		f := t.failed[op.key]
		if f == nil {
			f = &failure{}
			t.failed[op.key] = f
		}
		if f.err == nil || !errors.Is(f.err.Err, r.err) {
			f.err = &Error{Op: op.verb.String(), Key: key, Err: r.err, Text: r.text}
			if !errors.Is(r.err, unix.ENODEV) { // the interface has just gone, as word that is on its way will say
				err = f.err
			}
		}
		f.step = backoff(f.step)
		f.next = now.Add(f.step)
		t.dirty[op.key] = true
		wake(f.next)
		return err, false
	}
	delete(t.failed, op.key)
	repaired = t.repair[op.key]
	delete(t.repair, op.key)
	if op.verb == verbDelete {
		delete(t.have, op.key)
		delete(t.doomed, op.key)
	} else {
		t.have[op.key] = had[V]{v, true}
	}
	return nil, repaired
}

func (t *wishes[K, V]) retry(now time.Time, all bool, wake func(time.Time)) {
	for _, f := range t.failed {
		switch {
		case all || !now.Before(f.next):
			f.next = time.Time{}
		default:
			wake(f.next)
		}
	}
}

// sweep looks at everything again.
func (t *wishes[K, V]) sweep() {
	for k := range t.have {
		t.dirty[k] = true
	}
}

// pending reports whether something could be written now.
func (t *wishes[K, V]) pending() bool {
	for k := range t.dirty {
		if f := t.failed[k]; f == nil || f.next.IsZero() {
			return true
		}
	}
	return false
}
