package bgp

import (
	"fmt"
	"net/netip"
	"reflect"
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

// cease is a Cease that drops all paths: a Hard Reset where the peer would
// otherwise keep ours.
func (p *peer) cease(n *Negotiated, subcode uint8, data []byte) wire.Notification {
	c := wire.Notification{Code: wire.CodeCease, Subcode: subcode, Data: data}
	if n.Notification {
		return wire.HardReset(c)
	}
	return c
}

// UpdatePeer gives a configured peer another configuration. The session stays if
// only soft fields of [PeerConfig] change: a new import policy takes effect
// through a route refresh, a new export policy through an enhanced one (RFC 7313),
// at whose end the peer drops what we no longer send. Otherwise, and for a new
// export policy towards a peer that knows no enhanced refresh, the session is
// reset with Cease/Other Configuration Change, over which graceful restart keeps
// the paths.
func (s *Speaker) UpdatePeer(c PeerConfig) error {
	c, err := c.withDefaults(false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	p, err := s.find(c.Key())
	if err != nil {
		return err
	}
	s.mu.Lock()
	running := s.ctx != nil
	if !running {
		p.cfg = c
	}
	s.mu.Unlock()
	if !running {
		return nil
	}
	err = p.do(func(now time.Time) { p.reconfigure(now, c) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resecure()
	return err
}

// reconfigure changes the configuration of a running peer.
func (p *peer) reconfigure(now time.Time, c PeerConfig) {
	old := *p.config()
	p.mu.Lock()
	p.cfg = c
	p.mu.Unlock()
	p.m.cfg = p.s.machineConfig(&c)
	p.help.cfg = p.s.gracefulRestart(&c)
	if p.sess == nil {
		if !softEqual(old, c) || old.Passive != c.Passive {
			p.restartIdle(now)
		}
		return
	}
	if !softEqual(old, c) {
		p.step(now, event{kind: evManualStop, notif: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubConfigChanged}})
		p.step(now, event{kind: evManualStart})
		return
	}
	p.soften(now, old, c)
}

// restartIdle has a peer without a session begin again with its new
// configuration.
func (p *peer) restartIdle(now time.Time) {
	if p.m.primary.stopped {
		return
	}
	p.step(now, event{kind: evManualStop, notif: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubConfigChanged}})
	p.step(now, event{kind: evManualStart})
}

// soften applies changes that need no reset.
func (p *peer) soften(now time.Time, old, c PeerConfig) {
	sess := p.sess
	if c.Import != nil || old.Import != nil || c.MaxPrefixes != old.MaxPrefixes {
		if err := p.in.Configure(p.ribConfig(&c, &sess.neg)); err != nil {
			return
		}
		p.askRefresh(sess)
	}
	if c.Export != nil || old.Export != nil || c.NextHopSelf != old.NextHopSelf {
		p.reshape(now, sess, &c)
	}
}

// reshape has the Adj-RIB-Out say what the new configuration wants. If that cannot be had
// within the session, it begins again.
func (p *peer) reshape(now time.Time, sess *session, c *PeerConfig) {
	if err := sess.out.Reconfigure(p.outConfig(c, sess)); err != nil {
		p.step(now, event{kind: evManualStop, notif: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubConfigChanged}})
		p.step(now, event{kind: evManualStart})
		return
	}
	sess.pending = true
}

// softEqual reports whether a and b differ in soft fields only.
func softEqual(a, b PeerConfig) bool {
	for _, c := range []*PeerConfig{&a, &b} {
		c.Passive, c.Description = false, ""
		c.ConnectRetry, c.IdleHold, c.SendHold = 0, 0, 0
		c.NextHopSelf, c.Import, c.Export = false, nil, nil
		c.MaxPrefixes, c.MaxPrefixesHold = 0, 0
	}
	return reflect.DeepEqual(a, b)
}

// askRefresh asks the peer to send everything again.
func (p *peer) askRefresh(sess *session) {
	s := p.slot(sess.conn.id)
	if s == nil || !sess.neg.RouteRefresh {
		return
	}
	for _, f := range sess.neg.Families.Slice() {
		p.control(s, wire.TypeRouteRefresh, wire.RouteRefresh{Family: f}.Append(nil))
	}
}

// Refresh asks the peer to send all routes again (RFC 2918).
func (s *Speaker) Refresh(key PeerKey) error {
	return s.withSession(key, func(_ time.Time, p *peer) error {
		if !p.sess.neg.RouteRefresh {
			return ErrNotSupported
		}
		p.askRefresh(p.sess)
		return nil
	})
}

// Resend sends all routes to the peer again, as if it had asked for it.
func (s *Speaker) Resend(key PeerKey) error {
	return s.withSession(key, func(_ time.Time, p *peer) error {
		for _, f := range p.sess.neg.Families.Slice() {
			p.sess.out.Refresh(f, p.sess.neg.EnhancedRefresh)
		}
		p.sess.pending = true
		return nil
	})
}

// Reset ends the session with Cease/Administrative Reset and text (RFC 9003), and
// lets it come again. Hard makes it a Hard Reset, after which neither side keeps
// paths (RFC 8538).
func (s *Speaker) Reset(key PeerKey, text string, hard bool) error {
	return s.withSession(key, func(now time.Time, p *peer) error {
		p.stop(now, wire.SubReset, text, hard)
		p.step(now, event{kind: evManualStart})
		return nil
	})
}

// withSession runs f on the owner of an Established peer.
func (s *Speaker) withSession(key PeerKey, f func(now time.Time, p *peer) error) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	if derr := p.do(func(now time.Time) {
		if p.sess == nil {
			err = ErrNotEstablished
			return
		}
		err = f(now, p)
	}); derr != nil {
		err = derr
	}
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// Shutdown ends all sessions with Cease/Administrative Shutdown and text (RFC
// 9003), as a Hard Reset where graceful restart would keep our routes. The peers
// stay stopped; let Run's context end afterwards.
func (s *Speaker) Shutdown(text string) {
	s.mu.Lock()
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	running := s.ctx != nil
	s.mu.Unlock()
	for _, p := range peers {
		if running {
			_ = p.do(func(now time.Time) { p.stop(now, wire.SubShutdown, text, true) })
		}
	}
}

// nextHops are our addresses as next hops of both families: what the peer's
// configuration says, else the session's local address for its own family. mixed
// says that the IPv6 one serves IPv4 as well (RFC 8950).
func nextHops(c *PeerConfig, local netip.Addr, mixed bool) (v4, v6 wire.NextHop) {
	v4.Addr, v6.Addr = c.NextHop4, c.NextHop6
	bare := local.WithZone("")
	switch {
	case bare.Is4():
		v4.Addr = or(v4.Addr, bare)
	case bare.IsLinkLocalUnicast():
		v6.LinkLocal = bare
		v6.Addr = or(v6.Addr, bare)
	case bare.Is6():
		v6.Addr = or(v6.Addr, bare)
	}
	if mixed && !v4.Addr.IsValid() {
		v4 = v6
	}
	return v4, v6
}
