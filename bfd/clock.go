package bfd

import "time"

// clock reads CLOCK_MONOTONIC as a Duration, which means the same in every
// process of the machine, by way of the runtime's fast path.
type clock struct {
	base time.Time     // when zero was read
	zero time.Duration // CLOCK_MONOTONIC at base
}

// newClock returns the clock of a moment at which CLOCK_MONOTONIC is mono.
func newClock(mono time.Duration) clock { return clock{base: time.Now(), zero: mono} }

// now is the time by CLOCK_MONOTONIC.
func (c clock) now() time.Duration { return c.zero + time.Since(c.base) }

// both is now together with the wall clock in nanoseconds since 1970.
func (c clock) both() (mono time.Duration, wall int64) {
	t := time.Now()
	return c.zero + t.Sub(c.base), t.UnixNano()
}

// wall turns a time of this clock into the time of day.
func (c clock) wall(at time.Duration) time.Time {
	now := time.Now()
	return now.Add(at - (c.zero + now.Sub(c.base))).Round(0)
}
