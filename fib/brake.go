package fib

import "time"

// brake slows down repairs of one object that somebody else undoes again and again.
// The first ones of a row come at once: a mistake that is made by hand, or by a script,
// is repaired within milliseconds, a few times over. From then on each waits twice as
// long as the one before. Whatever others do, an object is written at most
// freeRepairs+4 times in its first second of contention, and soon once in lastRepair.
type brake struct {
	count      int           // repairs in a row
	last, next time.Time     // of repairs: the last one; no other before
	step       time.Duration // between the last one and the next
}

const (
	freeRepairs = 10                     // repairs in a row without a delay
	firstRepair = 100 * time.Millisecond // the first delay; it doubles
	lastRepair  = 30 * time.Second       // the longest delay
	calmRepair  = 10 * time.Second       // a row has ended after so long without a repair
)

// ready reports whether a repair may be written now.
func (b *brake) ready(now time.Time) bool { return b == nil || !now.Before(b.next) }

// calm reports whether the row has ended.
func (b *brake) calm(now time.Time) bool { return now.Sub(b.last) > max(calmRepair, 2*b.step) }

// repaired notes that a repair has been written. It reports whether this was the one
// after which repairs are delayed.
func (b *brake) repaired(now time.Time) (contended bool) {
	if b.calm(now) {
		*b = brake{}
	}
	b.last = now
	if b.count++; b.count <= freeRepairs {
		return false
	}
	b.step = min(max(firstRepair, 2*b.step), lastRepair)
	b.next = now.Add(b.step)
	return b.count == freeRepairs+1
}

// refused notes that the kernel has refused a repair: the next one is delayed.
func (b *brake) refused(now time.Time) {
	b.last, b.count = now, max(b.count, freeRepairs)
	b.repaired(now)
}

// brakes are those of a table's keys; there is one only where repairs have been made.
type brakes[K comparable] map[K]*brake

// of returns the brake of k, making one.
func (t brakes[K]) of(k K) *brake {
	b := t[k]
	if b == nil {
		b = &brake{}
		t[k] = b
	}
	return b
}

// trim forgets rows that have ended.
func (t brakes[K]) trim(now time.Time) {
	for k, b := range t {
		if b.calm(now) {
			delete(t, k)
		}
	}
}

// doubt says that part of the kernel's state is to be read again. Reading follows at
// once after a quiet time, but takes a tenth of the time at most, so that others who
// cause doubt all the time cannot keep the owner from its work.
type doubt struct {
	raised bool
	tries  int       // readings in a row that were interrupted
	next   time.Time // no reading before
}

const (
	// leastPause is for how long nothing is read again, however quick reading is.
	leastPause = 2 * time.Millisecond
	// enoughTries is how many interrupted readings in a row are believed in what they
	// all lack: somebody may change the kernel's tables for ever.
	enoughTries = 5
)

func (d *doubt) raise() { d.raised = true }

// due reports whether it is time to read again.
func (d *doubt) due(now time.Time) bool { return d.raised && !now.Before(d.next) }

// holds reports whether nothing may be written on what is known now.
func (d *doubt) holds() bool { return d.raised && d.tries < enoughTries }

// begin notes that reading begins: what is doubted from now on is doubted again.
func (d *doubt) begin() { d.raised = false }

// done notes that the reading that began at start has ended. Without clean, the kernel
// has changed meanwhile, or could not be read to the end.
func (d *doubt) done(start, now time.Time, clean bool) {
	d.next = now.Add(max(leastPause, 9*now.Sub(start)))
	if clean {
		d.tries = 0
		return
	}
	d.tries++
	d.raise()
}
