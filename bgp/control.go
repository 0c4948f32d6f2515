package bgp

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AddPeer adds a peer and starts to connect to it, or to wait for it, as soon as
// the speaker runs. A dynamic peer at the same address gives way to it, on whichever of
// our addresses its session is.
func (s *Speaker) AddPeer(c PeerConfig) error {
	c, err := c.withDefaults(false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	old, err := s.addPeer(c)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Key(), err)
	}
	if old != nil {
		_ = old.do(func(now time.Time) { old.remove(now, wire.SubConfigChanged) })
	}
	return nil
}

// addPeer adds a peer. It takes the place of a dynamic one that it returns, and begins
// when that has ended.
func (s *Speaker) addPeer(c PeerConfig) (old *peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	key := c.Key()
	if p := s.peers[key]; p != nil && p.dyn == nil {
		return nil, ErrPeerExists
	}
	if err := s.keyConflict(&c, nil); err != nil {
		return nil, err
	}
	p := s.newPeer(c, nil)
	if d := s.peers[PeerKey{Addr: c.Addr}]; d != nil && d.dyn != nil {
		old, p.after = d, d.gone
		delete(s.peers, d.key)
	}
	s.peers[key] = p
	s.deferral.Add(key)
	if s.ctx != nil {
		s.resecure()
		s.launch(p)
	}
	return old, nil
}

// RemovePeer ends a peer with Cease/Peer De-configured and drops its paths. It
// returns when that is done. Removing a dynamic peer ends its session; it may
// come again.
func (s *Speaker) RemovePeer(key PeerKey) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	running := s.ctx != nil
	if !running {
		delete(s.peers, p.key)
	}
	s.deferral.Remove(p.key)
	s.mu.Unlock()
	if !running {
		return nil
	}
	if err := p.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) }); err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	s.noteDeferral(func(d *fsm.Deferral[PeerKey]) { d.Remove(p.key) })
	return nil
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

// forgetLocked is forget with s.mu held. A successor cannot exist before EventRemoved is
// told.
func (p *peer) forgetLocked() {
	p.ended = true
	p.event(EventRemoved, nil)
	if p.s.peers[p.key] == p {
		delete(p.s.peers, p.key)
	}
	if p.dyn != nil {
		p.dyn.peers--
		p.s.dynamic--
		p.s.rememberFailing(p)
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
	p.step(now, fsm.Event{Kind: fsm.EventManualStop, Notification: n})
	p.ending = nil
}

// cease is a Cease that drops all paths, unless the peer is to keep some: a Hard Reset
// where it would otherwise keep ours.
func (p *peer) cease(n *fsm.Negotiated, subcode uint8, data []byte, keep bool) wire.Notification {
	c := wire.Notification{Code: wire.CodeCease, Subcode: subcode, Data: data}
	if n.Notification && !keep {
		return wire.HardReset(c)
	}
	return c
}
