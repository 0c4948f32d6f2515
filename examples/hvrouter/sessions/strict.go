package sessions

import (
	"errors"
	"sync"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// pathState is what BFD has said last of the path to a peer.
type pathState uint8

const (
	pathFailed pathState = iota + 1
	pathUp
	pathAdminDown // a side has taken its BFD down on purpose
)

// pathStates are what BFD has said last of each path. A session that is new to its speaker, because
// it was disabled or configured anew, and waits for BFD, asks for it. The zero value is ready.
type pathStates struct {
	mu   sync.Mutex // held while a speaker is told: an answer is never older than what was said before
	last map[bgp.PeerKey]pathState
}

// sayBFD notes what BFD says of a path, and says it to BGP. One goroutine calls it.
func (s *speaker) sayBFD(k bgp.PeerKey, state pathState, say func() error) {
	s.paths.mu.Lock()
	defer s.paths.mu.Unlock()
	if s.paths.last == nil {
		s.paths.last = map[bgp.PeerKey]pathState{}
	}
	s.paths.last[k] = state
	s.sayPath(k, say)
}

// answerBFD tells a session that waits for BFD what BFD has said before.
func (s *speaker) answerBFD(k bgp.PeerKey) {
	s.paths.mu.Lock()
	defer s.paths.mu.Unlock()
	var err error
	switch s.paths.last[k] {
	case pathUp:
		err = s.bgp.PathUp(k)
	case pathAdminDown:
		err = s.bgp.PathDown(k, bgp.PathFailureBFDRemoteAdminDown)
	}
	if !errors.Is(err, bgp.ErrNoPeer) {
		s.report(k, err)
	}
}

// keep forgets the paths that are of no session any more, or of one without BFD.
func (p *pathStates) keep(sessions []config.Reflector) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last
	p.last = map[bgp.PeerKey]pathState{}
	for _, r := range sessions {
		if k := peering.SessionKey(r); last[k] != 0 && r.BFD != "off" {
			p.last[k] = last[k]
		}
	}
}
