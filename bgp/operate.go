package bgp

import (
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Refresh asks the peer to send all routes again (RFC 2918, Section 4).
func (s *Speaker) Refresh(key PeerKey) error {
	return s.withSession(key, func(_ time.Time, p *peer) error {
		if !p.sess.neg.RouteRefresh {
			return ErrNotSupported
		}
		p.sess.askRefresh(p.sess.neg.Families.Slice()...)
		return nil
	})
}

// Resend sends all routes to the peer again, as if it had asked for it.
func (s *Speaker) Resend(key PeerKey) error {
	return s.withSession(key, func(_ time.Time, p *peer) error {
		p.sess.resend()
		return nil
	})
}

// Reset ends the session with Cease/Administrative Reset and text (RFC 9003, Section 2), and
// lets it come again. Hard makes it a Hard Reset, after which neither side keeps
// paths (RFC 8538, Section 3). A peer that stays out because of a prefix limit is let in at once.
func (s *Speaker) Reset(key PeerKey, text string, hard bool) error {
	return s.withPeer(key, func(now time.Time, p *peer) error { return p.reset(now, text, hard) })
}

// Stop ends the session with Cease/Administrative Shutdown and text (RFC 9003, Section 2), as a
// Hard Reset where graceful restart would keep our routes. The peer stays stopped: it neither
// connects nor is let in, until it is removed.
func (s *Speaker) Stop(key PeerKey, text string) error {
	return s.withPeer(key, func(now time.Time, p *peer) error {
		p.stop(now, wire.SubShutdown, text, true)
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
	if derr := p.run.do(func(now time.Time) { err = f(now, p) }); derr != nil {
		err = derr
	}
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// Shutdown ends all sessions with Cease/Administrative Shutdown and text (RFC
// 9003, Section 2), as a Hard Reset where graceful restart would keep our routes. The peers
// stay stopped; let Run's context end afterwards.
func (s *Speaker) Shutdown(text string) {
	s.mu.Lock()
	peers := s.peers.all()
	running := s.env.ctx != nil
	s.mu.Unlock()
	for _, p := range peers {
		if running {
			_ = p.run.do(func(now time.Time) { p.stop(now, wire.SubShutdown, text, true) })
		}
	}
}

// PathDown reports that the path to a peer has failed although its TCP connection
// may not know yet. The session ends with Cease/BFD Down (RFC 9384, Section 3), inside a
// Hard Reset where the peer would otherwise retain our routes (RFC 8538, Section 3), and the
// peer's paths go at once wherever another path remains. What becomes of a
// prefix's last path depends on why:
//
//   - PathFailureBFDDown: if graceful restart was negotiated, it is retained as stale, since it
//     may have been the control plane alone that failed (RFC 5882, Section 4.3.2). It goes as soon
//     as another peer offers a path to the prefix;
//   - PathFailureBFDDownIndependent, PathFailureCarrierLost: it goes, too. A carrier that is lost ends
//     a connection that is not Established yet as well, without a word;
//   - PathFailureBFDRemoteAdminDown: no session ends. One that waits for BFD
//     ([PeerConfig].BFDStrict) waits no more.
//
// With [PeerConfig.OffLinkPrefixes], paths over other links are retained as stale in any case if
// graceful restart was negotiated, and there is no Hard Reset.
//
// It applies to stale paths of a peer that is restarting, too. PathDown does not
// keep the peer from connecting again; with [PeerConfig].BFDStrict the next session waits for
// PathUp.
func (s *Speaker) PathDown(key PeerKey, why PathFailure) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	f := func(now time.Time) { p.failPath(now, why) }
	if why == PathFailureBFDRemoteAdminDown {
		f = p.pathAdminDown
	}
	if err := p.run.do(f); err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// PathUp reports that BFD is Up, and takes PathDown back: a restarting speaker waits for the peer
// again, an attempt to connect that was due later, or has had no answer for 250 ms, is made at once,
// and a session that waits for BFD ([PeerConfig].BFDStrict) goes on. It may be called again and again.
func (s *Speaker) PathUp(key PeerKey) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	if err := p.run.do(p.restorePath); err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// PeerReturned reports that a peer that was away has shown itself again, as by a router advertisement: an
// attempt to connect that was due later, or has had no answer for 250 ms, is made at once, and earlier
// failures do not delay the next ones. It says nothing of BFD, and changes nothing for a peer that has a session.
func (s *Speaker) PeerReturned(key PeerKey) error {
	return s.withPeer(key, func(now time.Time, p *peer) error {
		p.returned(now)
		return nil
	})
}

// LinkDown is PathDown with PathFailureCarrierLost for every peer behind an interface:
// those bound to it, and those with a link-local address on it. It returns their
// number.
func (s *Speaker) LinkDown(name string) int {
	s.mu.Lock()
	var behind []*peer
	for _, p := range s.peers.all() {
		if p.info.config().Interface == name || p.key.Addr.Zone() == name {
			behind = append(behind, p)
		}
	}
	s.mu.Unlock()
	for _, p := range behind {
		_ = p.run.do(func(now time.Time) { p.failPath(now, PathFailureCarrierLost) })
	}
	return len(behind)
}

// find returns a peer, whether the speaker runs or not, but not after that.
func (s *Speaker) find(key PeerKey) (*peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return s.peers.get(key)
}
