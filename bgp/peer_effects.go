package bgp

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
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
			p.dial(e.Conn)
		case fsm.EffectNoAnswer:
			p.record(now, &PeerError{Err: errNoAnswer}, before)
		case fsm.EffectSendOpen:
			p.sendOpen(e)
		case fsm.EffectSendKeepalive:
			p.keepalive(e.Conn)
		case fsm.EffectSendNotification:
			p.notify(now, e, before, err)
		case fsm.EffectClose:
			p.close(e.Conn)
		case fsm.EffectUp:
			p.sessionUp(now, e.Conn)
		case fsm.EffectDown:
			p.sessionDown(now, e, err)
		}
	}
	p.noteState(now)
	p.reason = nil
}

// noteState tells of the machine's state if it has changed.
func (p *peer) noteState(now time.Time) {
	state := p.m.State()
	changed := false
	p.setStatus(func(st *PeerStatus) {
		st.Attempts = p.m.Failures()
		if changed = state != st.State; changed {
			st.State, st.Since = state, now
		}
	})
	if changed {
		p.event(EventState, nil)
	}
}

// dial starts an attempt to connect.
func (p *peer) dial(id fsm.ConnID) {
	ctx, cancel := context.WithTimeout(p.s.ctx, dialTimeout)
	p.dialing, p.cancel = id, cancel
	cfg, last := p.config(), p.last
	p.s.wg.Go(func() {
		if last != nil { // the peer is to hear the end of one before the beginning of the next
			select {
			case <-last:
			case <-ctx.Done():
			}
		}
		nc, err := dialPeer(ctx, &p.s.cfg, cfg)
		select {
		case p.dialed <- dialed{id, nc, err}:
		case <-p.gone:
			closeIfOpen(nc)
		}
	})
}

func closeIfOpen(nc net.Conn) {
	if nc != nil {
		nc.Close()
	}
}

// connected takes the result of an attempt. An attempt that was given up is
// reported, too: its connection is closed.
func (p *peer) connected(now time.Time, d dialed) {
	if d.id == p.dialing {
		p.cancel()
		p.dialing, p.cancel = 0, nil
	} else {
		closeIfOpen(d.nc)
		return
	}
	if d.err != nil {
		p.record(now, &PeerError{Err: d.err}, p.m.State())
		p.step(now, fsm.Event{Kind: fsm.EventConnFails, Conn: d.id})
		return
	}
	p.fresh = fresh{d.id, d.nc, nil}
	p.step(now, fsm.Event{Kind: fsm.EventConnAcked, Conn: d.id})
}

// accept takes the peer's connection.
func (p *peer) accept(now time.Time, in incoming) {
	if err := tune(in.nc, p.config()); err != nil {
		in.nc.Close()
		in.release()
		p.record(now, &PeerError{Err: err}, p.m.State())
		return
	}
	p.fresh = fresh{p.m.NextConn(), in.nc, in.release}
	id := p.fresh.id
	p.step(now, fsm.Event{Kind: fsm.EventConnConfirmed, Conn: id})
	p.slot(id) // the machine may have nothing to send on it yet
}

// fresh is a connection that has no slot yet: the machine may first have to send
// another one away.
type fresh struct {
	id      fsm.ConnID
	nc      net.Conn
	release func()
}

// slot finds the slot of a connection; a fresh one gets a slot and its pumps.
func (p *peer) slot(id fsm.ConnID) *slot {
	for i := range p.slots {
		if c := p.slots[i].c; c != nil && c.id == id {
			return &p.slots[i]
		}
	}
	if f := p.fresh; f.nc != nil && f.id == id {
		p.fresh = fresh{}
		for i := range p.slots {
			if p.slots[i].c == nil {
				p.slots[i] = slot{c: newConn(id, f.nc, &p.s.wg, f.release), release: f.release}
				return &p.slots[i]
			}
		}
		f.nc.Close()
		if f.release != nil {
			f.release()
		}
	}
	return nil
}

// close ends a connection, or an attempt at one.
func (p *peer) close(id fsm.ConnID) {
	if id == p.dialing && p.cancel != nil {
		p.cancel()
		p.dialing, p.cancel = 0, nil
		return
	}
	if s := p.slot(id); s != nil {
		s.c.patient = p.patient
		s.c.close(s.final)
		p.last = s.c.silent
		*s = slot{}
	}
}

// sendOpen sends our OPEN.
func (p *peer) sendOpen(e fsm.Effect) {
	if s := p.slot(e.Conn); s != nil {
		p.makeOpen(s, e.NoCapabilities)
		p.setStatus(func(st *PeerStatus) {
			st.Plain = nil
			if e.NoCapabilities {
				st.Plain = p.refused
			}
		})
		p.control(s, wire.TypeOpen, s.open.Append(nil))
	}
}

// makeOpen makes our OPEN for a connection, unless it is made.
func (p *peer) makeOpen(s *slot, plain bool) {
	if s.open.AS != 0 {
		return
	}
	c := openConfig(&p.s.cfg, p.config())
	c.Restarting, c.NoCapabilities = p.s.Restarting(), plain
	c.ForwardingPreserved = p.s.cfg.preserved(p.up, c.Families)
	s.open = c.Open()
}

// keepalive sends a KEEPALIVE, unless one waits already for a writer that is
// stuck.
func (p *peer) keepalive(id fsm.ConnID) {
	if s := p.slot(id); s != nil && !s.beating {
		s.beating = true
		p.control(s, wire.TypeKeepalive, wire.AppendKeepalive(nil))
	}
}

// control queues a message other than UPDATE.
func (p *peer) control(s *slot, t wire.MessageType, b []byte) {
	s.ctl = append(s.ctl, b...)
	p.setStatus(func(st *PeerStatus) { st.Sent.count(t, len(b)) })
}

// notify prepares the final NOTIFICATION of a connection.
func (p *peer) notify(now time.Time, e fsm.Effect, before State, err error) {
	s := p.slot(e.Conn)
	if s == nil {
		return
	}
	s.final = e.Notification.Append(nil)
	n := e.Notification
	p.setStatus(func(st *PeerStatus) { st.Sent.count(wire.TypeNotification, len(s.final)) })
	if err == nil {
		err = endReason(e.Cause)
	}
	p.recordEnd(now, s.c, &PeerError{Sent: &n, Err: err}, before)
}

// record keeps and publishes why there is no connection.
func (p *peer) record(now time.Time, e *PeerError, state State) {
	e.Peer, e.Time, e.State = p.key, now, state
	p.reason = e
	p.setStatus(func(st *PeerStatus) { st.LastError = e })
	p.tell(Event{Kind: EventError, State: state, Err: e})
}

// recordEnd is record for the end of a connection. One that gives way to another is no
// error.
func (p *peer) recordEnd(now time.Time, c *conn, e *PeerError, state State) {
	e.Peer, e.Time, e.State = p.key, now, state
	p.setStatus(func(st *PeerStatus) {
		if e.Sent != nil {
			st.LastSent = e
		}
		if e.Received != nil {
			st.LastReceived = e
		}
		if errors.Is(e.Err, errMaxPrefixes) {
			st.LastLimit = e
		}
	})
	session := p.sess != nil && p.sess.conn == c
	if two := p.slots[0].c != nil && p.slots[1].c != nil; session || !two || !e.givesWay() {
		p.record(now, e, state)
	}
}

func (p *peer) setStatus(f func(*PeerStatus)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.st)
}
