package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"time"
	"unsafe"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// UpdatePeer gives a configured peer another configuration. The session stays if
// only soft fields of [PeerConfig] change: what concerns export takes effect at
// once, what concerns import through a route refresh. Otherwise, and for import if the
// peer knows no route refresh, it is reset with Cease/Other Configuration Change, over
// which graceful restart keeps the paths.
func (s *Speaker) UpdatePeer(c PeerConfig) error {
	c, err := c.withDefaults(false)
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Addr, err)
	}
	p, running, err := s.updatable(&c)
	if err == nil && running {
		err = p.do(func(now time.Time) { p.reconfigure(now, c) })
	}
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", c.Key(), err)
	}
	return nil
}

// updatable returns the peer that is to be given c, and whether the speaker runs. If not,
// the peer has c already.
func (s *Speaker) updatable(c *PeerConfig) (p *peer, running bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	p = s.peers[c.Key()]
	if p == nil || p.dyn != nil {
		return nil, false, ErrNoPeer
	}
	if err := s.keyConflict(c, p); err != nil {
		return nil, false, err
	}
	if s.ctx == nil {
		p.adopt(*c)
	}
	return p, s.ctx != nil, nil
}

// reconfigure changes the configuration of a running peer. The listeners know its key
// before a session ends because of it.
func (p *peer) reconfigure(now time.Time, c PeerConfig) {
	old := *p.config()
	p.adopt(c)
	if p.dyn == nil && (c.MD5Key != old.MD5Key || c.TTLSecurity != old.TTLSecurity) {
		p.s.mu.Lock()
		p.s.resecure()
		p.s.mu.Unlock()
	}
	limits := !maps.Equal(old.PrefixLimits, c.PrefixLimits)
	switch {
	case p.keptOut(now) && (limits || old.MaxPrefixesHold != c.MaxPrefixesHold):
		p.letIn(now)
	case p.sess == nil:
		if !p.s.softEqual(old, c) || old.Passive != c.Passive {
			p.restart(now)
		}
	case !p.s.softEqual(old, c) || !p.soften(&old, &c):
		p.restart(now)
	case limits:
		p.changeLimits(now, &old, &c)
	}
}

// restart ends what there is because of a new configuration, and begins again with it. A
// peer that was stopped stays so.
func (p *peer) restart(now time.Time) {
	if p.m.Stopped() {
		return
	}
	p.step(now, fsm.Event{Kind: fsm.EventManualStop, Notification: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubConfigChanged}})
	p.rep.reset()
	p.step(now, fsm.Event{Kind: fsm.EventManualStart})
}

// soften applies changes to a session. It reports false if that cannot be done within it.
func (p *peer) soften(old, c *PeerConfig) bool {
	sess := p.sess
	if p.in.Configure(p.ribConfig(c, &sess.neg)) != nil {
		return false
	}
	if !same(c.Import, old.Import) || c.AllowOwnAS != old.AllowOwnAS {
		// Routes that the old policy refused are not kept: the peer has to send all again.
		if !sess.neg.RouteRefresh {
			return false
		}
		p.askRefresh(sess, sess.neg.Families.Slice()...)
	}
	if !same(c.Export, old.Export) || c.NextHopSelf != old.NextHopSelf || c.AddPathLimit != old.AddPathLimit ||
		c.NextHop4 != old.NextHop4 || c.NextHop6 != old.NextHop6 || c.LinkLocal != old.LinkLocal {
		if sess.out.Reconfigure(p.outConfig(c, sess)) != nil {
			return false
		}
		sess.pending = true
	}
	return true
}

// same reports whether two policies are one value: the same code with the same captured
// variables. Such a change is none, and the peer is not asked for its routes again.
func same(a, b rib.Policy) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

var noAddr netip.Addr

// softEqual reports whether a and b differ in soft fields only. Of graceful restart, an
// OPEN that is as good as the one that was sent will do.
func (s *Speaker) softEqual(a, b PeerConfig) bool {
	ga, gb := s.cfg.gracefulRestart(&a), s.cfg.gracefulRestart(&b)
	if ga.Enabled != gb.Enabled || ga.LongLivedTime != gb.LongLivedTime {
		return false
	}
	for _, c := range []*PeerConfig{&a, &b} {
		c.Passive, c.Description = false, ""
		c.ConnectRetry, c.IdleHold, c.SendHold = 0, 0, 0
		c.NextHopSelf, c.Import, c.Export = false, nil, nil
		c.AddPathLimit, c.NextHop4, c.NextHop6, c.LinkLocal = 0, noAddr, noAddr, noAddr
		c.PrefixLimits, c.MaxPrefixes, c.MaxPrefixesHold, c.AllowOwnAS, c.Elsewhere = nil, 0, 0, 0, nil
		c.RestartTime, c.GracefulRestart = 0, nil
	}
	return reflect.DeepEqual(a, b)
}
