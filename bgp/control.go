package bgp

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AddPeer adds a peer and starts to connect to it, or to wait for it, as soon as
// the speaker runs. A dynamic peer at the same address gives way to it.
func (s *Speaker) AddPeer(c PeerConfig) error {
	c, err := c.withDefaults(false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	if p, err := s.find(c.Key()); err == nil && p.dyn != nil {
		_ = p.do(func(now time.Time) { p.remove(now, wire.SubConfigChanged) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.Key()
	if s.stopped {
		return fmt.Errorf("bgp: peer %v: %w", key, ErrStopped)
	}
	if s.peers[key] != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, ErrPeerExists)
	}
	p := s.newPeer(c, nil)
	s.peers[key] = p
	s.startup.added(key)
	if s.ctx != nil {
		s.resecure()
		s.launch(p)
	}
	return nil
}

// RemovePeer ends a peer with Cease/Peer De-configured and drops its paths. It
// returns when that is done. Removing a dynamic peer ends its session; it may
// come again.
func (s *Speaker) RemovePeer(key PeerKey) error {
	s.mu.Lock()
	p := s.peers[key]
	if p == nil {
		s.mu.Unlock()
		return fmt.Errorf("bgp: peer %v: %w", key, ErrNoPeer)
	}
	running := s.ctx != nil
	if !running {
		delete(s.peers, key)
	}
	s.startup.removed(key)
	s.mu.Unlock()
	if !running {
		return nil
	}
	err := p.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) })
	s.noteStartup(func(st *startup) { st.removed(key) })
	return err
}

// remove ends the peer for good.
func (p *peer) remove(now time.Time, subcode uint8) {
	p.stop(now, subcode, "", true)
	if p.in != nil {
		p.in.Close()
	}
	p.forget()
}

// forget takes the peer off the speaker's list; the loop ends after that.
func (p *peer) forget() {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	p.forgetLocked()
	s.resecure()
}

func (p *peer) forgetLocked() {
	p.ended = true
	if p.s.peers[p.key] == p {
		delete(p.s.peers, p.key)
	}
	if p.dyn != nil {
		p.dyn.peers--
		p.s.dynamic--
	}
}

// stop ends the sessions with a Cease; hard makes it a Hard Reset where that is
// negotiated, so that neither side keeps paths.
func (p *peer) stop(now time.Time, subcode uint8, text string, hard bool) {
	n := wire.Shutdown(subcode, text)
	if hard {
		p.ending = &ending{}
		if p.sess != nil && p.sess.neg.Notification {
			n = wire.HardReset(n)
		}
	}
	p.step(now, event{kind: evManualStop, notif: n})
	p.ending = nil
}

// cease is a Cease that drops all paths, unless the peer is to keep some: a Hard Reset
// where it would otherwise keep ours.
func (p *peer) cease(n *Negotiated, subcode uint8, data []byte, keep bool) wire.Notification {
	c := wire.Notification{Code: wire.CodeCease, Subcode: subcode, Data: data}
	if n.Notification && !keep {
		return wire.HardReset(c)
	}
	return c
}
