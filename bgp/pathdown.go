package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/enum"
)

// PathFailure is why a path to a peer is held for dead, or not.
type PathFailure uint8

// Reasons for [Speaker.PathDown].
const (
	// BFDDown: the BFD session went Down because its detection time expired or
	// the other side signalled Down, and at least one side's BFD shares the fate
	// of its control plane (its C bit is clear).
	BFDDown PathFailure = iota
	// BFDDownIndependent: the same, where no control plane can have taken its BFD
	// along: the C bit is set on both sides, or on the other side while ours is
	// known to be alive. It was the forwarding path that failed (RFC 5882, Section
	// 4.3.1).
	BFDDownIndependent
	// BFDRemoteAdminDown: the other side took its BFD session down on purpose.
	// Nothing follows from it (RFC 5882, Section 4.2).
	BFDRemoteAdminDown
	// CarrierLost: the interface towards the peer is down.
	CarrierLost
)

// String returns a short name.
func (f PathFailure) String() string {
	return enum.String("PathFailure", []string{"BFD down", "BFD down (independent)", "BFD remote admin down", "carrier lost"}, f)
}

// ending says that the end of a session is on purpose, so that the rules of
// graceful restart for a lost connection do not apply.
type ending struct {
	// keepLast keeps paths as stale for whose prefix there is no other.
	keepLast bool
	// elsewhere is where next hops lie that the failure says nothing about.
	elsewhere []netip.Prefix
}

func (e *ending) retain(n *fsm.Negotiated) bool {
	return (e.keepLast || len(e.elsewhere) > 0) && n.GracefulRestart
}

// drop drops the paths of a family that the failure concerns.
func (e *ending) drop(in *rib.In, f wire.Family) {
	if e.keepLast {
		in.DropRedundant(f, e.elsewhere...)
	} else {
		in.DropNear(f, e.elsewhere...)
	}
}

// PathDown tells that the path to a peer has failed although its TCP connection
// may not know yet. The session ends with Cease/BFD Down (RFC 9384), inside a
// Hard Reset where the peer would otherwise keep our routes (RFC 8538), and the
// peer's paths go at once wherever another path remains. What becomes of a
// prefix's last path depends on why:
//
//   - BFDDown: if graceful restart was negotiated, it is kept as stale, since it
//     may have been the control plane alone that failed (RFC 5882, Section 4.3.2);
//   - BFDDownIndependent, CarrierLost: it goes, too;
//   - BFDRemoteAdminDown: nothing happens at all.
//
// With [PeerConfig].Elsewhere, paths over other links are kept as stale in any case if
// graceful restart was negotiated, and there is no Hard Reset.
//
// It applies to stale paths of a peer that is restarting, too. PathDown does not
// keep the peer from connecting again.
func (s *Speaker) PathDown(key PeerKey, why PathFailure) error {
	if why == BFDRemoteAdminDown {
		return nil
	}
	p, err := s.find(key)
	if err != nil {
		return err
	}
	if err := p.do(func(now time.Time) { p.pathDown(now, why) }); err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// PathUp takes PathDown back: a restarting speaker waits for the peer again, and
// an attempt to connect that was due later is made at once.
func (s *Speaker) PathUp(key PeerKey) error {
	p, err := s.find(key)
	if err != nil {
		return err
	}
	err = p.do(func(now time.Time) {
		p.setDead(false)
		before := p.m.State()
		p.m.RetryNow(now)
		p.carryOut(now, before, nil)
	})
	if err != nil {
		return fmt.Errorf("bgp: peer %v: %w", key, err)
	}
	return nil
}

// LinkDown is PathDown with CarrierLost for every peer behind an interface:
// those bound to it, and those with a link-local address on it. It returns their
// number.
func (s *Speaker) LinkDown(name string) int {
	s.mu.Lock()
	var behind []*peer
	for _, p := range s.peers {
		if p.config().Interface == name || p.key.Addr.Zone() == name {
			behind = append(behind, p)
		}
	}
	s.mu.Unlock()
	for _, p := range behind {
		_ = p.do(func(now time.Time) { p.pathDown(now, CarrierLost) })
	}
	return len(behind)
}

func (p *peer) setDead(dead bool) {
	p.dead = dead
	p.setStatus(func(st *PeerStatus) { st.PathDown = dead })
	up := p.sess != nil
	p.s.noteDeferral(func(d *fsm.Deferral[PeerKey]) {
		if dead || !up {
			d.Down(p.key, dead)
		}
	})
}

// pathDown ends the session and drops paths.
func (p *peer) pathDown(now time.Time, why PathFailure) {
	p.setDead(true)
	end := &ending{keepLast: why == BFDDown, elsewhere: p.config().Elsewhere}
	if p.sess == nil {
		p.pathDownStale(end)
		return
	}
	p.ending = end
	ev := fsm.Event{Kind: fsm.EventAutomaticStop, Silent: why == CarrierLost}
	reason := errLinkDown
	if why != CarrierLost {
		ev.Notification = p.cease(&p.sess.neg, wire.SubBFDDown, nil, len(end.elsewhere) > 0)
		reason = errBFDDown
	}
	if ev.Silent {
		p.record(now, &PeerError{Err: reason}, p.m.State())
	}
	p.patient = patience(p.s.ctx, p.sess.neg.HoldTime)
	p.stepErr(now, ev, reason)
	p.ending, p.patient = nil, patient{}
}

// pathDownStale applies a failure to the paths of a peer that is away.
func (p *peer) pathDownStale(end *ending) {
	if p.in == nil {
		return
	}
	if !end.keepLast && len(end.elsewhere) == 0 {
		p.help.DropStale()
		p.applyHelp()
		return
	}
	for _, f := range p.help.Stale().Slice() {
		end.drop(p.in, f)
	}
}

// dropAlternatives drops, at the end of a session on purpose, the paths that
// others can replace or that the failure concerns, before the rest becomes stale.
func (p *peer) dropAlternatives(sess *session, retain bool) {
	if !retain {
		return
	}
	for _, f := range sess.neg.Families.Slice() {
		p.ending.drop(sess.in, f)
	}
}
