package overlay

import (
	"maps"
	"slices"
	"time"
)

// Drain says how the host is drained. A guest that is here stays the host's, since nobody else has it: what is
// announced for it, and that the overlay wants what is flooded, stays, as the last choice. Where a MAC is that another
// VTEP has taken over is a matter of sequence numbers, drained or not. The zero value is a host that is not drained.
type Drain struct {
	On     bool
	Silent time.Time // from when on nothing is announced; zero: never
}

func (d Drain) silent(now time.Time) bool { return !d.Silent.IsZero() && !now.Before(d.Silent) }

// SetDrain begins, changes or ends a drain.
func (c *Core) SetDrain(d Drain, now time.Time, fx *Effects) {
	c.drain = d
	for _, name := range slices.Sorted(maps.Keys(c.segments)) {
		c.segments[name].setDrain(d.On, d.silent(now), fx)
	}
	c.due()
}
