package world

import (
	"fmt"
	"slices"
	"time"
)

// Durations is a list of durations, for percentiles.
type Durations struct {
	list   []time.Duration
	sorted bool
}

func (d *Durations) add(v time.Duration) { d.list, d.sorted = append(d.list, v), false }

// Count returns how many there are.
func (d *Durations) Count() int { return len(d.list) }

// At returns the p-th percentile, 0 if there are none.
func (d *Durations) At(p float64) time.Duration {
	if len(d.list) == 0 {
		return 0
	}
	if !d.sorted {
		slices.Sort(d.list)
		d.sorted = true
	}
	return d.list[min(int(p/100*float64(len(d.list))), len(d.list)-1)]
}

// String returns some percentiles.
func (d *Durations) String() string {
	return fmt.Sprintf("%d times: 50 %% %v, 90 %% %v, 99 %% %v, longest %v", d.Count(),
		d.At(50).Round(time.Microsecond), d.At(90).Round(time.Microsecond), d.At(99).Round(time.Microsecond), d.At(100).Round(time.Microsecond))
}
