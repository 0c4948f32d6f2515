package fib

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
)

// Routes iterates over the desired routes and, before Sweep, the stale ones, in
// no order. The lock is not held while the loop body runs; changes meanwhile
// may or may not be seen.
func (f *FIB) Routes() iter.Seq[RouteStatus] {
	return func(yield func(RouteStatus) bool) {
		var page []fibcore.RouteStatus
		for next, more := uint32(0), true; more; more = next != 0 {
			f.lock()
			page, next = f.core.Page(next, page[:0], time.Now())
			f.unlock()
			for i := range page {
				if !yield(statusOf(&page[i])) {
					return
				}
			}
		}
	}
}

// Diff lists how the kernel, as far as it is known from notifications, differs
// from the desired state, sorted by text. It is empty when all is well. Sysctls
// are compared when they are written, and are listed when that failed.
func (f *FIB) Diff() []Difference {
	f.lock()
	defer f.unlock()
	var d []Difference
	for _, one := range f.core.Diff() {
		d = append(d, differenceOf(&one))
	}
	slices.SortFunc(d, func(a, b Difference) int { return cmp.Compare(a.String(), b.String()) })
	return d
}

// Stats returns counters. It looks at every route: not for the fast path.
func (f *FIB) Stats() Stats {
	f.lock()
	defer f.unlock()
	return Stats(f.core.Stats(time.Now()))
}
