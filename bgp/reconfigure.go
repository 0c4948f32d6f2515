package bgp

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"
	"unsafe"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// UpdatePeer gives a configured peer another configuration. The session stays if
// only soft fields of [PeerConfig] change: what concerns export takes effect at
// once, a new import policy through a route refresh. Otherwise it is reset with
// Cease/Other Configuration Change, over which graceful restart keeps the paths.
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
		if !p.s.softEqual(old, c) || old.Passive != c.Passive {
			p.restartIdle(now)
		}
		return
	}
	if !p.s.softEqual(old, c) {
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
	if !same(c.Import, old.Import) || c.MaxPrefixes != old.MaxPrefixes {
		if err := p.in.Configure(p.ribConfig(&c, &sess.neg)); err != nil {
			return
		}
		p.askRefresh(sess)
	}
	if !same(c.Export, old.Export) || c.NextHopSelf != old.NextHopSelf || c.AddPathLimit != old.AddPathLimit ||
		c.NextHop4 != old.NextHop4 || c.NextHop6 != old.NextHop6 || c.LinkLocal != old.LinkLocal {
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

// same reports whether two policies are one value: the same code with the same captured
// variables. Such a change is none, and the peer is not asked for its routes again.
func same(a, b rib.Policy) bool {
	return *(*unsafe.Pointer)(unsafe.Pointer(&a)) == *(*unsafe.Pointer)(unsafe.Pointer(&b))
}

var noAddr netip.Addr

// softEqual reports whether a and b differ in soft fields only. Of graceful restart, an
// OPEN that is as good as the one that was sent will do.
func (s *Speaker) softEqual(a, b PeerConfig) bool {
	ga, gb := s.gracefulRestart(&a), s.gracefulRestart(&b)
	if ga.Enabled != gb.Enabled || ga.LongLivedTime != gb.LongLivedTime {
		return false
	}
	for _, c := range []*PeerConfig{&a, &b} {
		c.Passive, c.Description = false, ""
		c.ConnectRetry, c.IdleHold, c.SendHold = 0, 0, 0
		c.NextHopSelf, c.Import, c.Export = false, nil, nil
		c.AddPathLimit, c.NextHop4, c.NextHop6, c.LinkLocal = 0, noAddr, noAddr, noAddr
		c.MaxPrefixes, c.MaxPrefixesHold, c.Elsewhere = 0, 0, nil
		c.RestartTime, c.GracefulRestart = 0, nil
	}
	return reflect.DeepEqual(a, b)
}
