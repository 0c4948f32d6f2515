package sessions

import (
	"errors"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// early is what BFD says of paths before the speaker runs. BFD is quicker to start, and says once
// what it says of a path that died while no daemon was there. Of each path the last word is kept:
// a path that was down, and is up before the speaker runs, was never down for BGP. The zero value
// is ready.
type early struct {
	list   []pathNotice // in their order
	saying bool         // the first is being said: it is no longer replaced
	next   time.Time    // when they are said to BGP again; zero: there are none
}

// add keeps a notice in place of what waits of the same path.
func (e *early) add(n pathNotice) {
	said := 0
	if e.saying {
		said = 1
	}
	waiting := slices.DeleteFunc(e.list[said:], func(o pathNotice) bool { return o.key == n.key })
	e.list = append(e.list[:said+len(waiting)], n)
}

// pathNotice is what BFD says of the path to a peer.
type pathNotice struct {
	key bgp.PeerKey
	say func() error // says it to BGP
}

// earlyTime is how often a speaker that does not run yet is tried: it runs in a moment, or never.
const earlyTime = 10 * time.Millisecond

// sayPath says something to BGP of the path to a peer, now or once the speaker runs. One
// goroutine calls it.
func (s *speaker) sayPath(k bgp.PeerKey, say func() error) {
	s.mu.Lock()
	waits := len(s.early.list) > 0
	s.mu.Unlock()
	if !waits {
		err := say()
		if errors.Is(err, bgp.ErrNoPeer) && s.off(k) {
			return // BFD watches the path of a session that is disabled, too
		}
		if !errors.Is(err, bgp.ErrStopped) {
			s.report(k, err)
			return
		}
	}
	s.mu.Lock()
	s.early.add(pathNotice{k, say})
	s.early.next = s.now().Add(earlyTime)
	s.mu.Unlock()
	s.poke()
}

// sayEarly says to BGP what waits for it, if that is due and the speaker runs. The follower calls
// it: the lock is not held while a peer is waited for.
func (s *speaker) sayEarly() {
	for {
		s.mu.Lock()
		if len(s.early.list) == 0 || s.now().Before(s.early.next) {
			s.mu.Unlock()
			return
		}
		first := s.early.list[0]
		s.early.saying = true
		s.mu.Unlock()
		err := first.say()
		s.mu.Lock()
		s.early.saying = false
		if errors.Is(err, bgp.ErrStopped) {
			s.early.next = s.now().Add(earlyTime)
		} else if s.early.list = s.early.list[1:]; len(s.early.list) == 0 {
			s.early = early{}
		}
		s.mu.Unlock()
		if !errors.Is(err, bgp.ErrStopped) {
			s.report(first.key, err)
		}
	}
}
