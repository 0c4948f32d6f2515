package bgp

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// askRefresh asks the peer to send everything of some families again, if it knows how.
func (p *peer) askRefresh(sess *session, fams ...wire.Family) {
	s := p.slot(sess.conn.id)
	if s == nil || !sess.neg.RouteRefresh {
		return
	}
	for _, f := range fams {
		p.control(s, wire.TypeRouteRefresh, wire.RouteRefresh{Family: f}.Append(nil))
	}
}

// Refresh asks the peer to send all routes again (RFC 2918).
func (s *Speaker) Refresh(key PeerKey) error {
	return s.withSession(key, func(_ time.Time, p *peer) error {
		if !p.sess.neg.RouteRefresh {
			return ErrNotSupported
		}
		p.askRefresh(p.sess, p.sess.neg.Families.Slice()...)
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
// paths (RFC 8538). A peer that stays out because of a prefix limit is let in at once.
func (s *Speaker) Reset(key PeerKey, text string, hard bool) error {
	return s.withPeer(key, func(now time.Time, p *peer) error {
		switch {
		case p.keptOut(now):
			p.letIn(now)
			return nil
		case p.sess == nil:
			return ErrNotEstablished
		}
		p.stop(now, wire.SubReset, text, hard)
		p.rep.reset()
		p.step(now, fsm.Event{Kind: fsm.EventManualStart})
		return nil
	})
}

// withSession runs f on the owner of an Established peer.
func (s *Speaker) withSession(key PeerKey, f func(now time.Time, p *peer) error) error {
	return s.withPeer(key, func(now time.Time, p *peer) error {
		if p.sess == nil {
			return ErrNotEstablished
		}
		return f(now, p)
	})
}

// withPeer runs f on the owner of a peer.
func (s *Speaker) withPeer(key PeerKey, f func(now time.Time, p *peer) error) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	if derr := p.do(func(now time.Time) { err = f(now, p) }); derr != nil {
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
