package bgp

import (
	"errors"
	"fmt"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// step feeds the machine and carries out what comes of it.
func (p *peer) step(now time.Time, ev fsm.Event) { p.stepErr(now, ev, nil) }

// stepErr is step for an event that has a reason.
func (p *peer) stepErr(now time.Time, ev fsm.Event, err error) {
	before := p.m.State()
	p.m.Step(now, ev)
	p.carryOut(now, before, err)
}

// carryOut does what the machine wants done, in its order. err is the reason of
// the event, for the log.
func (p *peer) carryOut(now time.Time, before State, err error) {
	for _, e := range p.m.Effects() {
		switch e.Kind {
		case fsm.EffectDial:
			p.conns.dial(e.Conn)
		case fsm.EffectNoAnswer:
			p.events.record(now, &PeerError{Err: errNoAnswer}, before)
		case fsm.EffectSendOpen:
			p.sendOpen(e)
		case fsm.EffectSendKeepalive:
			if s := p.conns.slot(e.Conn); s != nil {
				s.queueKeepalive()
			}
		case fsm.EffectSendNotification:
			p.notify(now, e, before, err)
		case fsm.EffectClose:
			p.conns.close(e.Conn, p.patience)
		case fsm.EffectUp:
			p.sessionUp(now, e.Conn)
		case fsm.EffectDown:
			p.sessionDown(now, e)
		}
	}
	p.noteState(now)
	p.events.reason = nil
}

// noteState publishes the machine's state if it has changed.
func (p *peer) noteState(now time.Time) {
	p.noteWait()
	state, failures := p.m.State(), p.m.Failures()
	changed := state != p.state
	if !changed && failures == p.failures {
		return
	}
	p.state, p.failures = state, failures
	p.info.set(func(st *PeerStatus) {
		st.Attempts = failures
		if changed {
			st.State, st.Since = state, now
		}
	})
	if changed {
		p.events.event(EventState, nil)
	}
}

// noteWait publishes that the session waits for BFD, or no longer.
func (p *peer) noteWait() {
	w, waits := p.m.WaitsForBFD()
	if w == p.wait {
		return
	}
	begins := w.Conn != p.wait.Conn
	p.wait = w
	if p.waitSince.IsZero() {
		p.waitSince = w.Since
	}
	var shown *BFDWait
	if waits {
		shown = &BFDWait{Since: p.waitSince, Until: w.Until, HeldDown: w.HeldDown}
	}
	s := p.conns.slot(w.Conn)
	p.info.set(func(st *PeerStatus) {
		st.BFDWait = shown
		if s != nil {
			st.AS, st.RouterID, st.Local, st.Remote = s.neg.RemoteAS, s.neg.RemoteID, s.c.local, s.c.remote
		} else if p.sess == nil {
			st.Local, st.Remote = noAddrPort, noAddrPort
		}
	})
	if begins {
		p.events.publish(Event{Kind: EventBFDWait, State: p.m.State(), BFDWait: shown})
	}
}

// connected takes the result of an attempt to connect.
func (p *peer) connected(now time.Time, d dialed) {
	if !p.conns.finished(d) {
		return
	}
	if d.err != nil {
		p.events.record(now, &PeerError{Err: d.err}, p.m.State())
		p.step(now, fsm.Event{Kind: fsm.EventConnFails, Conn: d.id})
		return
	}
	p.step(now, fsm.Event{Kind: fsm.EventConnAcked, Conn: d.id})
}

// accept takes the peer's connection.
func (p *peer) accept(now time.Time, s socket) {
	if err := s.tune(p.info.config()); err != nil {
		s.discard()
		p.events.record(now, &PeerError{Err: err}, p.m.State())
		return
	}
	id := p.m.NextConn()
	p.conns.pending = pending{id, s}
	p.step(now, fsm.Event{Kind: fsm.EventConnConfirmed, Conn: id})
	p.conns.slot(id) // the machine may have nothing to send on it yet
}

// sendOpen sends our OPEN.
func (p *peer) sendOpen(e fsm.Effect) {
	s := p.conns.slot(e.Conn)
	if s == nil {
		return
	}
	p.makeOpen(s, e.NoCapabilities)
	p.info.set(func(st *PeerStatus) {
		st.Plain = nil
		if e.NoCapabilities {
			st.Plain = p.refused
		}
	})
	s.queue(wire.TypeOpen, s.open.Append(nil))
}

// makeOpen makes our OPEN for a connection, unless it is made.
func (p *peer) makeOpen(s *slot, noCapabilities bool) {
	if s.open.AS != 0 {
		return
	}
	c := openConfig(&p.env.cfg, p.info.config())
	c.Restarting, c.NoCapabilities = p.env.restart.active(), noCapabilities
	c.ForwardingPreserved = p.env.cfg.preserved(p.hadUp, c.Families)
	s.open = c.Open()
}

// notify prepares the final NOTIFICATION of a connection.
func (p *peer) notify(now time.Time, e fsm.Effect, before State, err error) {
	s := p.conns.slot(e.Conn)
	if s == nil {
		return
	}
	n := e.Notification
	s.final = n.Append(nil)
	s.count(wire.TypeNotification, len(s.final))
	if err == nil {
		err = endReason(e.Cause)
	}
	if e.Cause == fsm.EventBFDHoldExpires || e.Cause == fsm.EventHoldExpires && p.wait.Conn == e.Conn {
		err = errNoBFD
	}
	p.recordEnd(now, s.c, &PeerError{Sent: &n, Err: err}, before)
}

// recordEnd records the end of a connection. One that gives way to another is no error.
func (p *peer) recordEnd(now time.Time, c *conn, e *PeerError, state State) {
	e.Peer, e.Time, e.State = p.key, now, state
	session := p.sess != nil && p.sess.conn == c
	counts := session || !p.conns.two() || !e.givesWay()
	p.info.set(func(st *PeerStatus) {
		if e.Sent != nil {
			st.LastSent = e
		}
		if e.Received != nil {
			st.LastReceived = e
		}
		if errors.Is(e.Err, errMaxPrefixes) {
			st.LastLimit = e
		}
		if counts && (session || e.notified() || !st.LastError.notified()) {
			st.LastError = e
		}
	})
	if counts {
		p.events.failed(e)
	}
}

// sessionUp makes the session of a connection that has just become Established.
func (p *peer) sessionUp(now time.Time, id fsm.ConnID) {
	s := p.conns.slot(id)
	if s == nil {
		return
	}
	if s.neg.ExtendedMessage {
		s.c.setLimit(wire.MaxExtendedLen)
	}
	sess := &session{
		env: p.env, slot: s, conn: s.c, neg: s.neg, opt: s.neg.UpdateOptions(p.env.cfg.AS),
		paths: &p.paths, events: &p.events, pending: true, since: now,
	}
	if err := sess.open(p.info.config(), p.run.wake); err != nil {
		p.stepErr(now, fsm.Event{Kind: fsm.EventAutomaticStop, Notification: cease(&s.neg, wire.SubResources, nil, false)}, err)
		return
	}
	s.c.stream.established(s.neg.HoldTime, p.env.cfg.sessionTTL(p.info.config(), s.neg.RemoteAS))
	p.sess, p.hadUp, p.waitSince = sess, true, time.Time{}
	p.info.set(func(st *PeerStatus) {
		st.AS, st.RouterID = s.neg.RemoteAS, s.neg.RemoteID
		st.Local, st.Remote = s.c.local, s.c.remote
		n := s.neg
		st.Negotiated, st.endOfRIB = &n, [len(families)]time.Time{}
		st.Established++
		p.info.out = sess.out
	})
	p.noteState(now)
	p.events.event(EventUp, nil)
	if plain := p.info.plain(); plain != nil {
		p.events.event(EventPlain, plain)
	}
	sess.noteMissing(p.info.config())
	p.paths.up(now, &s.neg)
	n := s.neg
	if p.info.config().IgnoreMemberships {
		n.Families = n.Families.Without(wire.RTConstrain)
	}
	p.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.Up(p.key, &n) })
}

// sessionDown ends the session.
func (p *peer) sessionDown(now time.Time, e fsm.Effect) {
	sess := p.sess
	if sess == nil {
		return
	}
	p.sess = nil
	sess.close()
	if reason := endReason(e.Cause); e.Notification.Code == 0 && reason != nil {
		p.events.record(now, &PeerError{Err: reason}, Established)
	}
	p.paths.lost(now, &sess.neg, sess.neg.Retains(e.Cause, e.Notification), p.ending)
	p.ending = nil
	p.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.Down(p.key, p.pathDown) })
	if p.events.reason != nil {
		p.events.event(EventDown, p.events.reason)
	} else {
		p.events.event(EventDown, nil)
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

// sent takes a buffer back from the writer. A write error is reported by the reader, which
// first gets to read what the peer has sent, a NOTIFICATION perhaps.
func (p *peer) sent(now time.Time, i int, w written) {
	s := &p.conns.slots[i]
	c := s.c
	c.busy = false
	s.recycle(w.buf)
	if w.err != nil {
		c.writeErr = w.err
		c.stream.lastRead(now.Add(lingerTime))
		return
	}
	p.m.Sent(now, c.id)
}

// take takes what the reader of slot i has read. The other connection comes first, if there
// is one: what it has (a NOTIFICATION, before the peer connected again) was sent before the
// OPEN that may replace it.
func (p *peer) take(now time.Time, i int, ch chunk) {
	slots := &p.conns.slots
	c, older := slots[i].c, slots[1-i].c
	for range 2 { // as many as the reader has buffers
		if older == nil || slots[1-i].c != older {
			break
		}
		first, ok := slots[1-i].poll()
		if !ok {
			break
		}
		p.input(now, 1-i, first)
	}
	for k := range slots {
		if slots[k].c == c {
			p.input(now, k, ch)
			return
		}
	}
}

// input takes in what the reader of slot i has read.
func (p *peer) input(now time.Time, i int, ch chunk) {
	s := &p.conns.slots[i]
	c := s.c
	p.grace = time.Time{}
	defer p.publishReceived()
	for b := ch.buf[:ch.n]; len(b) > 0 && s.c == c; {
		h, err := wire.ParseHeader(b, c.limit)
		if err != nil {
			p.refuse(now, s, fsm.EventHeaderError, err)
			return
		}
		if h.Len > len(b) {
			break // the reader gave up on it
		}
		p.message(now, s, h, b[wire.HeaderLen:h.Len])
		b = b[h.Len:]
	}
	if s.c != c {
		return // ended by what it sent
	}
	c.stream.release(ch.buf)
	if ch.err != nil {
		p.failed(now, c, ch.err)
	}
}

func (p *peer) publishReceived() { p.info.set(func(st *PeerStatus) { st.Received = p.received }) }

// failed ends a connection that the network or the peer has ended.
func (p *peer) failed(now time.Time, c *conn, err error) {
	state := p.m.State()
	if c.writeErr != nil {
		err = c.writeErr
	}
	p.recordEnd(now, c, &PeerError{Err: err}, state)
	p.stepErr(now, fsm.Event{Kind: fsm.EventConnFails, Conn: c.id}, err)
}

// message dispatches one message.
func (p *peer) message(now time.Time, s *slot, h wire.Header, body []byte) {
	p.received.count(h.Type, h.Len)
	switch h.Type {
	case wire.TypeUpdate:
		p.gotUpdate(now, s, body)
	case wire.TypeKeepalive:
		p.step(now, fsm.Event{Kind: fsm.EventKeepalive, Conn: s.c.id})
	case wire.TypeOpen:
		p.gotOpen(now, s, body)
	case wire.TypeNotification:
		p.gotNotification(now, s, body)
	case wire.TypeRouteRefresh:
		p.gotRefresh(now, s, body)
	}
}

// refuse ends a connection for an error of the peer's.
func (p *peer) refuse(now time.Time, s *slot, kind fsm.EventKind, err error) {
	ev := fsm.Event{Kind: kind, Conn: s.c.id}
	var e *wire.Error
	if errors.As(err, &e) {
		ev.Notification = e.Notification()
	}
	p.stepErr(now, ev, err)
}

func (p *peer) gotOpen(now time.Time, s *slot, body []byte) {
	open, err := wire.ParseOpen(body)
	if err != nil {
		p.refuse(now, s, fsm.EventOpenError, err)
		return
	}
	p.makeOpen(s, p.m.NoCapabilities(now))
	c := openConfig(&p.env.cfg, p.info.config())
	neg, oerr := c.Negotiate(&s.open, &open)
	if oerr != nil {
		p.refuse(now, s, fsm.EventOpenError, oerr)
		return
	}
	s.neg = neg
	p.step(now, fsm.Event{Kind: fsm.EventOpen, Conn: s.c.id, Negotiated: &s.neg})
}

func (p *peer) gotNotification(now time.Time, s *slot, body []byte) {
	n, err := wire.ParseNotification(body)
	if err != nil {
		p.refuse(now, s, fsm.EventHeaderError, err)
		return
	}
	n.Data = append([]byte(nil), n.Data...)
	e := &PeerError{Received: &n}
	p.recordEnd(now, s.c, e, p.m.State())
	if n.Code == wire.CodeOpen && n.Subcode == wire.SubOptionalParameter {
		p.refused = e
	}
	kind := fsm.EventNotification
	if n.Code == wire.CodeOpen && n.Subcode == wire.SubVersion {
		kind = fsm.EventVersionError
	}
	p.step(now, fsm.Event{Kind: kind, Conn: s.c.id, Notification: n})
}

// gotUpdate takes an UPDATE: the hot path.
func (p *peer) gotUpdate(now time.Time, s *slot, body []byte) {
	if p.sess == nil || p.sess.conn != s.c {
		p.step(now, fsm.Event{Kind: fsm.EventUpdate, Conn: s.c.id})
		return
	}
	p.m.Received(now, s.c.id)
	if err := p.sess.update(now, &p.update, body); err != nil {
		p.sessionError(now, s, err)
	}
}

// sessionError ends the session for a malformed UPDATE, or does what a prefix limit says.
func (p *peer) sessionError(now time.Time, s *slot, err error) {
	var limit *rib.LimitError
	if errors.As(err, &limit) {
		p.limitReached(now, p.sess, limit)
		return
	}
	p.refuse(now, s, fsm.EventUpdateError, err)
}

// gotRefresh takes a ROUTE-REFRESH.
func (p *peer) gotRefresh(now time.Time, s *slot, body []byte) {
	if p.sess == nil || p.sess.conn != s.c {
		p.step(now, fsm.Event{Kind: fsm.EventUpdate, Conn: s.c.id})
		return
	}
	p.m.Received(now, s.c.id)
	r, err := wire.ParseRouteRefresh(body)
	if err != nil {
		p.refuse(now, s, fsm.EventUpdateError, err)
		return
	}
	p.sess.takeRefresh(now, r)
}

// limitReached takes what the Adj-RIB-In reports of a prefix limit. It ends the session, for a
// while, if the limit says so.
func (p *peer) limitReached(now time.Time, sess *session, e *rib.LimitError) {
	p.events.publish(Event{Kind: EventPrefixLimit, State: p.m.State(), Family: e.Family, Err: e})
	if e.Action == rib.LimitBlock && e.State == rib.LimitExceeded && !e.Prefix.IsValid() {
		sess.blocked[familyIndex(e.Family)] = now.Add(blockedPoll)
	}
	if !e.Ends() {
		return
	}
	f := e.Family
	data := []byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI, byte(e.Limit >> 24), byte(e.Limit >> 16), byte(e.Limit >> 8), byte(e.Limit)}
	hold := p.limited.next(p.info.config().MaxPrefixesHold, now.Sub(sess.since))
	p.ending = &ending{}
	p.stepErr(now, fsm.Event{
		Kind: fsm.EventAutomaticStop, Conn: sess.conn.id, IdleHold: hold,
		Notification: cease(&sess.neg, wire.SubMaxPrefixes, data, false),
	}, fmt.Errorf("%w, out for %v: %w", errMaxPrefixes, hold, e))
	p.info.set(func(st *PeerStatus) { st.RefusedUntil = now.Add(hold) })
}

// cease returns a Cease after which the peer drops all paths, unless it is to retain some: a
// Hard Reset where it would otherwise retain ours.
func cease(n *fsm.Negotiated, subcode uint8, data []byte, retain bool) wire.Notification {
	c := wire.Notification{Code: wire.CodeCease, Subcode: subcode, Data: data}
	if n.Notification && !retain {
		return wire.HardReset(c)
	}
	return c
}
