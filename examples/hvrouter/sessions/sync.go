package sessions

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
