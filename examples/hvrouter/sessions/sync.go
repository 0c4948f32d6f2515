package sessions

import "time"

// initialSync says whether peers have sent all of their routes since the start. note is called
// with the speaker's lock held; the channels may be read by any goroutine.
type initialSync struct {
	some chan struct{} // closed once one peer has
	all  chan struct{} // closed once all peers have
}

func newInitialSync() initialSync { return initialSync{make(chan struct{}), make(chan struct{})} }

// note takes how many of the peers that are configured have sent all of their routes.
func (i initialSync) note(settled, peers int) {
	if settled > 0 {
		closeOnce(i.some)
	}
	if settled == peers {
		closeOnce(i.all)
	}
}

// first reports whether any peer has.
func (i initialSync) first() bool { return closed(i.some) }

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func closeOnce(c chan struct{}) {
	if !closed(c) {
		close(c)
	}
}

// convergence is what a domain waits for before it counts as converged. The zero value waits for
// nothing.
type convergence struct {
	some <-chan struct{}  // one peer has sent all of its routes: the others follow soon, or not at all
	all  <-chan struct{}  // all peers have
	time <-chan time.Time // the end of the wait
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

// establishTime is how long peers have to follow the first one that is back.
const establishTime = 5 * time.Second
