package bgp

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// session is an Established session of a peer.
type session struct {
	conn *conn
	neg  Negotiated
	opt  wire.Options
	in   *rib.In
	out  *rib.Out

	pending bool         // the Adj-RIB-Out may have something to send
	fillAt  time.Time    // not before then
	eor     [2]time.Time // when the peer's End-of-RIB came
	refresh [2]time.Time // when a refresh of the peer's must be over
}

// coalesce is the pause after an UPDATE that did not fill the buffer: what comes
// in meanwhile is packed together. The first change after silence goes at once.
const coalesce = 2 * time.Millisecond

// sendBuffers are what Fill writes into. They are in use only while a write is
// going on, so all sessions share them.
var sendBuffers = sync.Pool{New: func() any { return new([sendBuffer]byte) }}

// sendBuffer has room for the longest message, with some control messages before
// it.
const sendBuffer = 65536 + 4096

// sessionUp makes the session of a connection that has just become Established.
func (p *peer) sessionUp(now time.Time, id connID) {
	s := p.slot(id)
	if s == nil {
		return
	}
	if s.release != nil {
		s.release()
	}
	sess := &session{conn: s.c, neg: s.neg, opt: wireOptions(&s.neg, p.s.cfg.AS), pending: true}
	if s.neg.ExtendedMessage {
		s.c.limit.Store(wire.MaxExtendedLen)
	}
	if err := p.openRIB(sess); err != nil {
		p.stepErr(now, event{kind: evAutomaticStop, notif: p.cease(&s.neg, wire.SubResources, nil)}, err)
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
	p.help.up(now, &s.neg)
	p.applyHelp()
	p.s.noteStartup(func(st *startup) { st.up(p.key, &s.neg) })
	p.event(EventUp, nil)
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

func (p *peer) ribConfig(cfg *PeerConfig, n *Negotiated) rib.PeerConfig {
	return rib.PeerConfig{
		Addr: p.key.Addr, AS: n.RemoteAS, RouterID: n.RemoteID, Client: cfg.RouteReflectorClient,
		Import: cfg.Import, MaxPrefixes: cfg.MaxPrefixes,
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
func (p *peer) sessionDown(now time.Time, e effect, err error) {
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
	if reason := endReason(e.cause); err == nil && reason != nil {
		p.record(now, &PeerError{Err: reason, Sent: sentAtEnd(e)}, Established)
	}
	retain := retains(&sess.neg, e.cause, e.notif)
	if p.ending != nil {
		retain = p.ending.retain(&sess.neg)
		p.dropAlternatives(sess, retain)
		p.ending = nil
	}
	p.help.lost(now, &sess.neg, retain)
	p.applyHelp()
	p.s.noteStartup(func(st *startup) { st.down(p.key, p.dead) })
	p.event(EventDown, nil)
}

// sentAtEnd is the NOTIFICATION that we sent for a reason of our own.
func sentAtEnd(e effect) *wire.Notification {
	if e.notif.Code == 0 || e.cause == evNotif || e.cause == evNotifVersion {
		return nil
	}
	n := e.notif
	return &n
}

// endReason is why a session ended, for causes that bring no error of their own.
func endReason(k eventKind) error {
	switch k {
	case evHoldExpires:
		return errHoldExpired
	case evSendHoldExpires:
		return errSendHold
	case evCollisionDump:
		return errReplaced
	}
	return nil
}

// applyHelp does to the paths what graceful restart wants.
func (p *peer) applyHelp() {
	phase := p.help.phase
	for _, st := range p.help.steps() {
		if p.in == nil {
			continue
		}
		switch st.action {
		case helpDrop:
			p.in.Drop(st.family)
		case helpMark:
			p.in.MarkStale(st.family)
		case helpMarkLL:
			p.in.MarkLongLived(st.family)
		case helpSweep:
			p.in.Sweep(st.family)
		}
	}
	p.mu.Lock()
	changed := p.st.Restart != phase
	p.st.Restart = phase
	p.mu.Unlock()
	if changed {
		p.event(EventRestart, nil)
	}
}

// update takes in the body of an UPDATE. An error ends the session.
func (s *session) update(now time.Time, p *peer, body []byte) error {
	u := &p.update
	err := u.Parse(body, s.opt)
	if err != nil {
		var e *wire.Error
		if !errors.As(err, &e) || e.Disposition == wire.SessionReset {
			return err
		}
		p.event(EventUpdateError, err)
		if e.Disposition == wire.TreatAsWithdraw {
			s.in.TreatAsWithdraw(u)
			return nil
		}
	}
	if f, ok := u.EndOfRIB(); ok {
		s.endOfRIB(now, p, f)
		return nil
	}
	return s.in.Update(u)
}

// endOfRIB takes the peer's End-of-RIB.
func (s *session) endOfRIB(now time.Time, p *peer, f wire.Family) {
	if !s.neg.Families.Has(f) {
		return
	}
	s.eor[familyIndex(f)] = now
	p.setStatus(func(st *PeerStatus) { st.endOfRIB = s.eor })
	p.help.endOfRIB(f)
	p.applyHelp()
	p.s.noteStartup(func(st *startup) { st.endOfRIB(p.key, f) })
	p.s.hub.publish(Event{Kind: EventEndOfRIB, Time: now, Peer: p.key, State: Established, Family: f})
}

// sessionError ends the session for a malformed UPDATE or for too many prefixes.
func (p *peer) sessionError(now time.Time, s *slot, err error) {
	var limit *rib.LimitError
	if !errors.As(err, &limit) {
		p.refuse(now, s, evUpdateErr, err)
		return
	}
	f := limit.Family
	data := []byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI, byte(limit.Limit >> 24), byte(limit.Limit >> 16), byte(limit.Limit >> 8), byte(limit.Limit)}
	p.ending = &ending{}
	p.stepErr(now, event{
		kind: evAutomaticStop, conn: s.c.id, hold: p.config().MaxPrefixesHold,
		notif: p.cease(&s.neg, wire.SubMaxPrefixes, data),
	}, fmt.Errorf("%w: %w", errMaxPrefixes, err))
}

// takeRefresh answers a ROUTE-REFRESH (RFC 2918, RFC 7313).
func (s *session) takeRefresh(now time.Time, p *peer, r wire.RouteRefresh) {
	if !s.neg.Families.Has(r.Family) {
		return
	}
	i := familyIndex(r.Family)
	switch {
	case r.Subtype == wire.RefreshRequest:
		s.out.Refresh(r.Family, s.neg.EnhancedRefresh)
		s.pending = true
	case !s.neg.EnhancedRefresh:
	case r.Subtype == wire.RefreshBegin:
		s.in.BeginRefresh(r.Family)
		s.refresh[i] = now.Add(p.s.cfg.GracefulRestart.StaleTime)
	case r.Subtype == wire.RefreshEnd:
		s.in.EndRefresh(r.Family)
		s.refresh[i] = time.Time{}
	}
}

// next is the session's own next deadline.
func (s *session) next() time.Time {
	at := earliest(s.refresh[0], s.refresh[1])
	if s.pending && !s.conn.busy {
		at = earliest(at, s.fillAt)
	}
	return at
}

// advance ends refreshes that the peer does not end.
func (s *session) advance(now time.Time) {
	for i, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		if at := s.refresh[i]; !at.IsZero() && !now.Before(at) {
			s.refresh[i] = time.Time{}
			s.in.EndRefresh(f)
		}
	}
}

// link is the machine's link of the session.
func (s *session) link(m *machine) *link { return m.find(s.conn.id) }
