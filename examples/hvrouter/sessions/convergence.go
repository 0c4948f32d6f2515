package sessions

import (
	"time"
)

// convergence is what a domain waits for before it counts as converged. The zero value waits for
// nothing.
type convergence struct {
	waits bool
	first bool      // none of the peers has sent all of its routes: once one has, the others follow soon, or not at all
	until time.Time // the end of the wait
}

// newConvergence waits for the peers as long as the deferral after the start lasts. Where
// routes of an earlier run may go over the links of others, and no peer is there to say
// whether they are right, it waits until they would be given up, or until those that come
// after the first had time to.
func newConvergence(s *speaker, now time.Time) convergence {
	if s.wide && !s.initialSync.first() {
		return convergence{waits: true, first: true, until: now.Add(s.patience)}
	}
	return convergence{waits: true, until: s.deferral}
}

// over ends the wait and reports whether it has ended just now; some and all report that one
// peer, and that every peer, has sent all of its routes.
func (c *convergence) over(some, all bool, now time.Time) bool {
	if !c.waits {
		return false
	}
	if c.first && some {
		c.first, c.until = false, now.Add(establishTime)
	}
	if !all && now.Before(c.until) {
		return false
	}
	*c = convergence{}
	return true
}

// deadline returns the end of the wait, the zero time if there is none.
func (c *convergence) deadline() time.Time { return c.until }

// establishTime is how long peers have to follow the first one that is back.
const establishTime = 5 * time.Second
