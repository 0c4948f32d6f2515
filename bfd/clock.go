package bfd

import "time"

// clock reads the time.
type clock interface {
	// now is the time by CLOCK_MONOTONIC.
	now() time.Duration
	// both is now together with the wall clock in nanoseconds since 1970.
	both() (mono time.Duration, wall int64)
	// wall turns a time of now into the time of day.
	wall(at time.Duration) time.Time
	// time is for what is waited for: what it returns is compared with nothing else, and
	// whoever sets the wall clock does not move it.
	time() time.Time
}

// systemClock reads CLOCK_MONOTONIC as a Duration, which means the same in every
// process of the machine, by way of the runtime's fast path.
type systemClock struct {
	base time.Time     // when zero was read
	zero time.Duration // CLOCK_MONOTONIC at base
}

// newClock returns the clock of a moment at which CLOCK_MONOTONIC is mono.
func newClock(mono time.Duration) systemClock { return systemClock{base: time.Now(), zero: mono} }

func (c systemClock) now() time.Duration { return c.zero + time.Since(c.base) }

func (c systemClock) both() (mono time.Duration, wall int64) {
	t := time.Now()
	return c.zero + t.Sub(c.base), t.UnixNano()
}

func (c systemClock) wall(at time.Duration) time.Time {
	now := time.Now()
	return now.Add(at - (c.zero + now.Sub(c.base))).Round(0)
}

func (c systemClock) time() time.Time { return time.Now() }
