package bgp

import (
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// configure replaces the configuration: called by its owner, or before it has one.
func (p *peer) configure(c PeerConfig) {
	p.info.configure(c)
	p.m.Configure(machineConfig(&p.env.cfg, &c))
	p.paths.help.Configure(helperConfig(&p.env.cfg, &c))
}

// reconfigure changes the configuration of a running peer. The listeners have its key before
// a session ends because of it.
func (p *peer) reconfigure(now time.Time, c PeerConfig) {
	old := *p.info.config()
	p.configure(c)
	if p.dyn == nil && (c.MD5Key != old.MD5Key || c.leastTTL() != old.leastTTL() || c.Listen != old.Listen) {
		p.host.resecure()
	}
	soft, resets := p.env.cfg.softEqual(old, c), p.resets(&old, &c)
	limits := !maps.Equal(old.PrefixLimits, c.PrefixLimits)
	switch {
	case p.overLimit(now) && (limits || old.MaxPrefixesHold != c.MaxPrefixesHold):
		p.readmit(now)
	case p.sess == nil:
		if !soft || old.Passive != c.Passive || strictDiffers(&old, &c) {
			p.restart(now)
		}
	case resets || !p.sess.reconfigure(&old, &c, p.run.wake):
		p.restart(now)
	case limits:
		if e := p.sess.changeLimits(&old, &c); e != nil {
			p.limitReached(now, p.sess, e)
		}
	}
}

// resets reports whether a change ends the session that there is.
func (p *peer) resets(old, c *PeerConfig) bool {
	return p.sess != nil && (!p.env.cfg.softEqual(*old, *c) || importsDiffer(old, c) && !p.sess.neg.RouteRefresh)
}

// restart ends what there is because of a new configuration, and begins again with it. A
// peer that was stopped stays so.
func (p *peer) restart(now time.Time) {
	if p.m.Stopped() {
		return
	}
	p.step(now, fsm.Event{Kind: fsm.EventManualStop, Notification: wire.Notification{Code: wire.CodeCease, Subcode: wire.SubConfigChanged}})
	p.events.rep.reset()
	p.step(now, fsm.Event{Kind: fsm.EventManualStart})
}

// overLimit reports whether the peer stays out because of a prefix limit.
func (p *peer) overLimit(now time.Time) bool { return p.sess == nil && now.Before(p.m.RefusedUntil()) }

// readmit lets a peer connect again that stays out because of a prefix limit.
func (p *peer) readmit(now time.Time) {
	p.limited = limitBackoff{}
	p.info.set(func(st *PeerStatus) { st.RefusedUntil = time.Time{} })
	p.restart(now)
}

// reset ends the session, and begins again.
func (p *peer) reset(now time.Time, text string, hard bool) error {
	switch {
	case p.overLimit(now):
		p.readmit(now)
		return nil
	case p.sess == nil:
		return ErrNotEstablished
	}
	p.stop(now, wire.SubReset, text, hard)
	p.events.rep.reset()
	p.step(now, fsm.Event{Kind: fsm.EventManualStart})
	return nil
}

// remove ends the peer for good.
func (p *peer) remove(now time.Time, subcode uint8) {
	p.stop(now, subcode, "", true)
	p.paths.close()
	p.host.forget(p, func() bool {
		p.end()
		return true
	})
}

// stop ends the sessions with a Cease; hard makes it a Hard Reset where that is
// negotiated, so that neither side retains paths.
func (p *peer) stop(now time.Time, subcode uint8, text string, hard bool) {
	n := wire.Shutdown(subcode, text)
	if hard {
		p.ending = &ending{}
		if p.sess != nil && p.sess.neg.Notification {
			n = wire.HardReset(n)
		}
	}
	p.step(now, fsm.Event{Kind: fsm.EventManualStop, Notification: n})
	p.ending = nil
}

// setPathDown notes whether the path to the peer is down.
func (p *peer) setPathDown(down bool) {
	p.pathDown = down
	p.info.set(func(st *PeerStatus) { st.PathDown = down })
	if down || p.sess == nil {
		p.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.Down(p.key, down) })
	}
}

// failPath ends the session, and drops paths: see [Speaker.PathDown].
func (p *peer) failPath(now time.Time, why PathFailure) {
	p.setPathDown(true)
	end := &ending{retainLast: why == PathFailureBFDDown, elsewhere: p.info.config().OffLinkPrefixes}
	ev, reason := fsm.Event{Kind: fsm.EventBFDDown}, errBFDDown
	if why == PathFailureCarrierLost {
		ev, reason = fsm.Event{Kind: fsm.EventAutomaticStop, Silent: true}, errLinkDown
	}
	if p.sess == nil {
		p.paths.pathDown(end)
		switch {
		case !ev.Silent: // in strict mode it ends a session that is not Established yet
			p.stepErr(now, ev, reason)
		case p.m.State() >= OpenSent:
			// The peer may have given up by the time that the carrier is back. Nothing would end our
			// side for four minutes: it has nothing to send again.
			p.events.record(now, &PeerError{Err: reason}, p.m.State())
			p.stepErr(now, ev, reason)
		}
		return
	}
	p.ending = end
	if !ev.Silent {
		ev.Notification = cease(&p.sess.neg, wire.SubBFDDown, nil, len(end.elsewhere) > 0)
	} else {
		p.events.record(now, &PeerError{Err: reason}, p.m.State())
	}
	p.patience = patience(p.sess.neg.HoldTime)
	p.stepErr(now, ev, reason)
	p.ending, p.patience = nil, 0
}

// restorePath takes failPath back: an attempt to connect that was due later is made at once.
func (p *peer) restorePath(now time.Time) {
	p.setPathDown(false)
	p.step(now, fsm.Event{Kind: fsm.EventBFDUp})
}

// returned takes in that the peer has shown itself again.
func (p *peer) returned(now time.Time) {
	before := p.m.State()
	p.m.Returned(now)
	p.carryOut(now, before, nil)
}

// pathAdminDown takes in that BFD says nothing of the path any more.
func (p *peer) pathAdminDown(now time.Time) { p.step(now, fsm.Event{Kind: fsm.EventBFDAdminDown}) }
