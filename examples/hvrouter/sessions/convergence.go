package sessions

import (
	"time"
)

// convergence is what a domain waits for before it counts as converged. The zero value waits for
// nothing.
type convergence struct {
	some <-chan struct{}  // one peer has sent all of its routes: the others follow soon, or not at all
	all  <-chan struct{}  // all peers have
	time <-chan time.Time // the end of the wait
}

// newConvergence waits for the peers as long as the deferral after the start lasts. Where
// routes of an earlier run may go over the links of others, and no peer is there to say
// whether they are right, it waits until they would be given up, or until those that come
// after the first had time to.
func newConvergence(s *speaker) convergence {
	if s.wide && !s.initialSync.first() {
		return convergence{s.initialSync.some, s.initialSync.all, time.After(s.patience)}
	}
	return convergence{nil, s.initialSync.all, time.After(time.Until(s.deferral))}
}

// establishTime is how long peers have to follow the first one that is back.
const establishTime = 5 * time.Second
