// Package brake slows down repairs that another program undoes again and again.
package brake

import "time"

// Brake is that of one object. The zero value is ready for use.
//
// The first ones of a row come at once: a mistake that is made by hand, or by a script,
// is repaired within milliseconds, a few times over. From then on each waits twice as
// long as the one before. Whatever others do, an object is written at most 14 times in
// a second, and soon once in 30 s.
type Brake struct {
	count int           // repairs in a row
	last  time.Time     // of the last repair
	Next  time.Time     // no other repair before
	step  time.Duration // between the last one and the next
}

const (
	freeRepairs = 10                     // repairs in a row without a delay
	firstRepair = 100 * time.Millisecond // the first delay; it doubles
	lastRepair  = 30 * time.Second       // the longest delay
	quietTime   = 10 * time.Second       // a row has ended after so long without a repair
)

// Ready reports whether a repair may be written now.
func (b *Brake) Ready(now time.Time) bool { return b == nil || !now.Before(b.Next) }

// Quiet reports whether the row has ended.
func (b *Brake) Quiet(now time.Time) bool { return !now.Before(b.QuietAt()) }

// QuietAt is when the row has ended, unless there is another repair.
func (b *Brake) QuietAt() time.Time { return b.last.Add(max(quietTime, 2*b.step) + 1) }

// Repaired notes that a repair has been written. It reports whether this was the one
// after which repairs are delayed.
func (b *Brake) Repaired(now time.Time) (contended bool) {
	if b.Quiet(now) {
		*b = Brake{}
	}
	b.last = now
	if b.count++; b.count <= freeRepairs {
		return false
	}
	b.step = min(max(firstRepair, 2*b.step), lastRepair)
	b.Next = now.Add(b.step)
	return b.count == freeRepairs+1
}

// Refused notes that the kernel has refused a repair: the next one is delayed.
func (b *Brake) Refused(now time.Time) {
	b.last, b.count = now, max(b.count, freeRepairs)
	b.Repaired(now)
}

// Table has the brakes of a table's keys, of those only that have been repaired.
type Table[K comparable] map[K]*Brake

// Of returns the brake of k, making one.
func (t Table[K]) Of(k K) *Brake {
	b := t[k]
	if b == nil {
		b = &Brake{}
		t[k] = b
	}
	return b
}

// Trim forgets rows that have ended.
func (t Table[K]) Trim(now time.Time) {
	for k, b := range t {
		if b.Quiet(now) {
			delete(t, k)
		}
	}
}
