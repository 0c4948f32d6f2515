package daemon

import "time"

// initialSync says whether peers have sent all of their routes since the start. The
// speaker's lock is held while it is noted; any may ask.
type initialSync struct{ some, all chan struct{} }

func newInitialSync() initialSync { return initialSync{make(chan struct{}), make(chan struct{})} }

// note takes in how many of the peers that are configured have sent everything.
func (t initialSync) note(settled, peers int) {
	if settled > 0 {
		shut(t.some)
	}
	if settled == peers {
		shut(t.all)
	}
}

// first reports whether any peer has.
func (t initialSync) first() bool { return closed(t.some) }

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func shut(c chan struct{}) {
	if !closed(c) {
		close(c)
	}
}

// convergence is what is waited for before a domain counts as converged: that all peers have
// sent everything, or the end of patience. The zero value waits for nothing.
type convergence struct {
	some, all <-chan struct{}
	time      <-chan time.Time
}

// convergence waits for the peers as long as the deferral after the start lasts. Where
// routes of an earlier run may go over the links of others, and no peer is there to say
// whether they are right, it waits until they would be given up, or until those that come
// after the first had time to.
func (s *speaker) convergence() convergence {
	if s.wide && !s.initialSync.first() {
		return convergence{s.initialSync.some, s.initialSync.all, time.After(s.patience)}
	}
	return convergence{nil, s.initialSync.all, time.After(time.Until(s.deferral))}
}

// establishTime is how long peers have to follow the first that is back.
const establishTime = 5 * time.Second
