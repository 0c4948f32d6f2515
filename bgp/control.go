package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// AddPeer adds a peer and starts to connect to it, or to wait for it, as soon as
// the speaker runs. A dynamic peer at the same address gives way to it, on whichever of
// our addresses its session is.
func (s *Speaker) AddPeer(c PeerConfig) error {
	c, err := s.env.cfg.complete(c, false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	old, err := s.addPeer(c)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Key(), err)
	}
	if old != nil {
		_ = old.run.do(func(now time.Time) { old.remove(now, wire.SubConfigChanged) })
	}
	s.settle()
	return nil
}

// addPeer adds a peer. It replaces a dynamic one, which it returns, and begins
// when that has ended.
func (s *Speaker) addPeer(c PeerConfig) (old *peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	key := c.Key()
	if p := s.peers.byKey[key]; p != nil && p.dyn == nil {
		return nil, ErrPeerExists
	}
	if err := s.peers.keyConflict(&c, nil); err != nil {
		return nil, err
	}
	p := newPeer(&s.env, s, c, nil)
	if d := s.peers.byKey[PeerKey{Addr: c.Addr}]; d != nil && d.dyn != nil {
		old = d
		delete(s.peers.byKey, d.key)
	}
	s.peers.add(p)
	s.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.Add(key) })
	if s.env.ctx != nil {
		s.secure()
		p.run.launch(old)
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
	running := s.env.ctx != nil
	if !running {
		s.peers.remove(p)
	}
	s.mu.Unlock()
	gone := func(d *fsm.Deferral[PeerKey]) { d.Remove(p.key) }
	s.env.restart.note(gone)
	if !running {
		return nil
	}
	if err := p.run.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) }); err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	s.env.restart.note(gone)
	s.settle()
	return nil
}

// UpdatePeer gives a configured peer another configuration. The session stays if
// only soft fields of [PeerConfig] change: what concerns export takes effect at
// once, what concerns import through a route refresh. Otherwise, and for import if the
// peer knows no route refresh, it is reset with Cease/Other Configuration Change, over
// which graceful restart keeps the paths.
func (s *Speaker) UpdatePeer(c PeerConfig) error {
	c, err := s.env.cfg.complete(c, false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	p, running, err := s.updatable(&c)
	if err == nil && running {
		err = p.run.do(func(now time.Time) { p.reconfigure(now, c) })
	}
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Key(), err)
	}
	return nil
}

// Resets reports whether [Speaker.UpdatePeer] with c would end the session that the peer
// has now. It is false for a peer that has none, or that is not configured.
func (s *Speaker) Resets(c PeerConfig) (resets bool, err error) {
	c, err = s.env.cfg.complete(c, false)
	if err != nil {
		return false, fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	s.mu.Lock()
	p, running := s.peers.byKey[c.Key()], s.env.ctx != nil
	s.mu.Unlock()
	if p == nil || !running {
		return false, nil
	}
	err = p.run.do(func(time.Time) { resets = p.resets(p.info.config(), &c) })
	return resets, err
}

// updatable returns the peer that is to be given c, and whether the speaker runs. If not,
// the peer has c already.
func (s *Speaker) updatable(c *PeerConfig) (p *peer, running bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	p = s.peers.byKey[c.Key()]
	if p == nil || p.dyn != nil {
		return nil, false, ErrNoPeer
	}
	if err := s.peers.keyConflict(c, p); err != nil {
		return nil, false, err
	}
	if s.env.ctx == nil {
		p.configure(*c)
	}
	return p, s.env.ctx != nil, nil
}

// AddRange lets the peers of a range connect.
func (s *Speaker) AddRange(c RangeConfig) error {
	r, err := s.peers.newRange(c)
	if err != nil {
		return err
	}
	if err := s.addRange(r); err != nil {
		return fmt.Errorf("bgp: range %v: %w", r.prefix, err)
	}
	s.settle()
	return nil
}

func (s *Speaker) addRange(r *dynamicRange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.peers.addRange(r); err != nil {
		return err
	}
	s.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.AddOthers() })
	s.secure()
	return nil
}

// UpdateRange gives a range another template. Its peers are treated as
// [Speaker.UpdatePeer] says.
func (s *Speaker) UpdateRange(c RangeConfig) error {
	n, err := s.peers.newRange(c)
	if err != nil {
		return err
	}
	r, peers, err := s.updateRange(n)
	if err != nil {
		return fmt.Errorf("bgp: range %v: %w", n.prefix, err)
	}
	for _, p := range peers {
		_ = p.run.do(func(now time.Time) { p.reconfigure(now, s.instanceOf(r, p.key.Addr)) })
	}
	return nil
}

func (s *Speaker) updateRange(n *dynamicRange) (*dynamicRange, []*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	defer s.secure()
	return s.peers.updateRange(n)
}

// instanceOf is the configuration of one peer of the range, by the template that the range
// has now: of several updates the last counts, in whichever order peers take them in.
func (s *Speaker) instanceOf(r *dynamicRange, addr netip.Addr) PeerConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.instance(addr)
}

// RemoveRange ends the sessions with all peers of a range, as [Speaker.RemovePeer]
// does.
func (s *Speaker) RemoveRange(prefix netip.Prefix) error {
	peers, err := s.removeRange(prefix.Masked())
	if err != nil {
		return fmt.Errorf("bgp: range %v: %w", prefix, err)
	}
	for _, p := range peers {
		_ = p.run.do(func(now time.Time) { p.remove(now, wire.SubDeconfigured) })
	}
	return nil
}

func (s *Speaker) removeRange(prefix netip.Prefix) ([]*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	defer s.secure()
	return s.peers.removeRange(prefix)
}
