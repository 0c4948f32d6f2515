package daemon

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// told says whether peers have told all of their routes since the start. One goroutine
// notes it, any may ask.
type told struct{ some, all chan struct{} }

func newTold() told { return told{make(chan struct{}), make(chan struct{})} }

// note takes in that an End-of-RIB came; peers are all that are configured.
func (t told) note(peers []bgp.PeerStatus) {
	shut(t.some)
	for _, p := range peers {
		if p.State != bgp.Established {
			return
		}
		for _, f := range p.Families {
			if f.EndOfRIB.IsZero() {
				return
			}
		}
	}
	shut(t.all)
}

// first tells whether any peer has.
func (t told) first() bool { return closed(t.some) }

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

// hold is what is waited for before routes of an earlier run go for which no peer was
// there to say whether they are right: that all peers told theirs, that those which come
// after the first had time to, or the end of patience. The zero value waits for nothing.
type hold struct {
	some, all <-chan struct{}
	time      <-chan time.Time
}

func (t told) hold(patience time.Duration) hold { return hold{t.some, t.all, time.After(patience)} }

// establishTime is how long peers have to follow the first that is back.
const establishTime = 5 * time.Second
