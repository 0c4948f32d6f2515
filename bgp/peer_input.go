package bgp

import (
	"errors"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// take gives the word to the other connection first, if there is one: what it has to
// say (a NOTIFICATION, before the peer called again) was sent before the OPEN that may
// replace it.
func (p *peer) take(now time.Time, i int, ch chunk) {
	c, older := p.slots[i].c, p.slots[1-i].c
	for range 2 { // as many as the reader has buffers
		if older == nil || p.slots[1-i].c != older {
			break
		}
		select {
		case first := <-p.slots[1-i].rx():
			p.input(now, 1-i, first)
			continue
		default:
		}
		break
	}
	for k := range p.slots {
		if p.slots[k].c == c {
			p.input(now, k, ch)
			return
		}
	}
}

// input takes what the reader of slot i has read.
func (p *peer) input(now time.Time, i int, ch chunk) {
	c := p.slots[i].c
	p.grace = time.Time{}
	defer p.publishReceived()
	for b := ch.buf[:ch.n]; len(b) > 0 && p.slots[i].c == c; {
		h, err := wire.ParseHeader(b, int(c.limit.Load()))
		if err != nil {
			p.refuse(now, &p.slots[i], fsm.EventHeaderError, err)
			return
		}
		if h.Len > len(b) {
			break // the reader gave up on it
		}
		p.message(now, &p.slots[i], h, b[wire.HeaderLen:h.Len])
		b = b[h.Len:]
	}
	if p.slots[i].c != c {
		return // ended by what it sent
	}
	c.free <- ch.buf
	if ch.err != nil {
		p.failed(now, c, ch.err)
	}
}

func (p *peer) publishReceived() { p.setStatus(func(st *PeerStatus) { st.Received = p.received }) }

// failed ends a connection that the network or the peer has ended.
func (p *peer) failed(now time.Time, c *conn, err error) {
	state := p.m.State()
	if s := p.slot(c.id); s != nil && s.c.writeErr != nil {
		err = s.c.writeErr
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
	c := openConfig(&p.s.cfg, p.config())
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
	if err := p.sess.update(now, p, body); err != nil {
		p.sessionError(now, s, err)
	}
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
	p.sess.takeRefresh(now, p, r)
}
