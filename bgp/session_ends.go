package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// sessionUp makes the session of a connection that has just become Established.
func (p *peer) sessionUp(now time.Time, id fsm.ConnID) {
	s := p.slot(id)
	if s == nil {
		return
	}
	if s.release != nil {
		s.release()
	}
	sess := &session{conn: s.c, neg: s.neg, opt: s.neg.UpdateOptions(p.s.cfg.AS), pending: true, since: now}
	if s.neg.ExtendedMessage {
		s.c.limit.Store(wire.MaxExtendedLen)
	}
	if err := p.openRIB(sess); err != nil {
		p.stepErr(now, fsm.Event{Kind: fsm.EventAutomaticStop, Notification: p.cease(&s.neg, wire.SubResources, nil, false)}, err)
		return
	}
	setTimeout(s.c.nc, s.neg.HoldTime)
	p.sess, p.up = sess, true
	p.setStatus(func(st *PeerStatus) {
		st.AS, st.RouterID = s.neg.RemoteAS, s.neg.RemoteID
		st.Local, st.Remote = s.c.local, s.c.remote
		n := s.neg
		st.Negotiated = &n
		st.Established++
		p.out = sess.out
	})
	p.noteState(now)
	p.event(EventUp, nil)
	if plain := p.plain(); plain != nil {
		p.event(EventPlain, plain)
	}
	p.help.Up(now, &s.neg)
	p.applyHelp()
	p.s.noteDeferral(func(d *fsm.Deferral[PeerKey]) { d.Up(p.key, &s.neg) })
}

// plain is why our last OPEN had no capabilities, nil if it had.
func (p *peer) plain() *PeerError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.st.Plain
}

// openRIB prepares the Adj-RIBs.
func (p *peer) openRIB(sess *session) error {
	cfg := p.config()
	rc := p.ribConfig(cfg, &sess.neg)
	if p.in == nil {
		in, err := p.s.table.NewIn(rc)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.in = in
		p.mu.Unlock()
	} else if err := p.in.Configure(rc); err != nil {
		return err
	}
	sess.in = p.in
	var err error
	sess.out, err = p.in.NewOut(p.outConfig(cfg, sess))
	return err
}

func (p *peer) ribConfig(cfg *PeerConfig, n *fsm.Negotiated) rib.PeerConfig {
	return rib.PeerConfig{
		Addr: p.key.Addr, AS: n.RemoteAS, RouterID: n.RemoteID, Client: cfg.RouteReflectorClient,
		AllowOwnAS: cfg.AllowOwnAS, Import: cfg.Import, Limits: cfg.PrefixLimits,
	}
}

func (p *peer) outConfig(cfg *PeerConfig, sess *session) rib.OutConfig {
	n := &sess.neg
	c := rib.OutConfig{
		Families: n.Families, AddPath: n.AddPathSend, AddPathLimit: cfg.AddPathLimit,
		AS4: n.AS4, ExtendedMessages: n.ExtendedMessage, ExtendedNextHop: n.IPv6NextHop,
		LongLived:   len(n.Remote.LongLived) > 0,
		NextHopSelf: cfg.NextHopSelf, Export: cfg.Export,
		Notify: func() {
			select {
			case p.ready <- struct{}{}:
			default:
			}
		},
	}
	c.NextHop4, c.NextHop6 = nextHops(cfg, sess.conn.local.Addr(), n.IPv6NextHop)
	return c
}

// sessionDown ends the session.
func (p *peer) sessionDown(now time.Time, e fsm.Effect, err error) {
	sess := p.sess
	if sess == nil {
		return
	}
	p.sess = nil
	total := sess.out.Counters()
	p.setStatus(func(st *PeerStatus) {
		p.out = nil
		st.Sent.Update += total.Updates
		st.Sent.Octets += total.Octets
		st.Negotiated, st.Local, st.Remote = nil, noAddrPort, noAddrPort
	})
	sess.out.Close()
	if reason := endReason(e.Cause); e.Notification.Code == 0 && reason != nil {
		p.record(now, &PeerError{Err: reason}, Established)
	}
	retain := sess.neg.Retains(e.Cause, e.Notification)
	if p.ending != nil {
		retain = p.ending.retain(&sess.neg)
		p.dropAlternatives(sess, retain)
		p.ending = nil
	}
	p.help.Lost(now, &sess.neg, retain)
	p.applyHelp()
	p.s.noteDeferral(func(d *fsm.Deferral[PeerKey]) { d.Down(p.key, p.dead) })
	if p.reason != nil {
		p.event(EventDown, p.reason)
	} else {
		p.event(EventDown, nil)
	}
}

// endReason is why a session ended, for causes that bring no error of their own.
func endReason(k fsm.EventKind) error {
	switch k {
	case fsm.EventHoldExpires:
		return errHoldExpired
	case fsm.EventSendHoldExpires:
		return errSendHold
	case fsm.EventCollisionDump:
		return errReplaced
	}
	return nil
}
