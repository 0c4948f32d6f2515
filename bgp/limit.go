package bgp

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// checkLimits checks the prefix limits, and makes PrefixLimits what is in force.
func (c *PeerConfig) checkLimits() error {
	limits := maps.Clone(c.PrefixLimits)
	if limits == nil {
		limits = map[wire.Family]rib.PrefixLimit{}
	}
	for f, l := range limits {
		if err := l.Check(); err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
	}
	if c.MaxPrefixes < 0 {
		return fmt.Errorf("MaxPrefixes %d is negative", c.MaxPrefixes)
	}
	for _, f := range c.Families {
		if _, ok := limits[f]; !ok && c.MaxPrefixes > 0 {
			limits[f] = rib.PrefixLimit{Maximum: c.MaxPrefixes}
		}
	}
	c.PrefixLimits = limits
	return nil
}

// limitBackoff is how long a peer stays out that announces too much again and again.
type limitBackoff struct {
	ends int // sessions that ended so, one after the other
}

// maxLimitHold is the longest that a peer stays out, unless MaxPrefixesHold is longer. A
// session that lasts as long ends the row.
const maxLimitHold = time.Hour

// next returns how long the peer stays out this time, after a session that lasted a while.
func (b *limitBackoff) next(hold, lasted time.Duration) time.Duration {
	most := max(hold, maxLimitHold)
	if lasted >= most {
		b.ends = 0
	}
	wait := hold
	for range b.ends {
		wait = min(2*wait, most)
	}
	b.ends = min(b.ends+1, 32)
	return wait
}

// limitReached takes what the Adj-RIB-In reports of a prefix limit. It ends the session, for a
// while, if the limit says so.
func (p *peer) limitReached(now time.Time, sess *session, e *rib.LimitError) {
	p.tell(Event{Kind: EventPrefixLimit, Time: now, State: p.m.State(), Family: e.Family, Err: e})
	i := familyIndex(e.Family)
	if e.Action == rib.LimitBlock && e.State == rib.LimitExceeded && !e.Prefix.IsValid() {
		sess.roomAt[i] = now.Add(roomPoll)
	}
	if !e.Ends() {
		return
	}
	f := e.Family
	data := []byte{byte(f.AFI >> 8), byte(f.AFI), f.SAFI, byte(e.Limit >> 24), byte(e.Limit >> 16), byte(e.Limit >> 8), byte(e.Limit)}
	hold := p.limited.next(p.config().MaxPrefixesHold, now.Sub(sess.since))
	p.ending = &ending{}
	p.stepErr(now, fsm.Event{
		Kind: fsm.EventAutomaticStop, Conn: sess.conn.id, IdleHold: hold,
		Notification: p.cease(&sess.neg, wire.SubMaxPrefixes, data, false),
	}, fmt.Errorf("%w, out for %v: %w", errMaxPrefixes, hold, e))
	p.setStatus(func(st *PeerStatus) { st.RefusedUntil = now.Add(hold) })
}

// keptOut reports whether the peer stays out because of a prefix limit.
func (p *peer) keptOut(now time.Time) bool { return p.sess == nil && now.Before(p.m.RefusedUntil()) }

// letIn ends that.
func (p *peer) letIn(now time.Time) {
	p.limited = limitBackoff{}
	p.setStatus(func(st *PeerStatus) { st.RefusedUntil = time.Time{} })
	p.restart(now)
}

// roomPoll is how often is looked whether there is room again for what was blocked.
const roomPoll = time.Minute

// lookForRoom asks the peer for the routes of a family again, of which some were blocked, once
// there is room for them.
func (p *peer) lookForRoom(now time.Time, sess *session) {
	for i, f := range families {
		if !due(now, sess.roomAt[i]) {
			continue
		}
		sess.roomAt[i] = time.Time{}
		if sess.in.Counters(f).Limit == rib.LimitExceeded {
			sess.roomAt[i] = now.Add(roomPoll)
		} else {
			p.askRefresh(sess, f)
		}
	}
}

// changeLimits has a session follow other limits. What was blocked, or not counted without a limit,
// is asked for.
func (p *peer) changeLimits(now time.Time, old, c *PeerConfig) {
	sess := p.sess
	for _, f := range sess.neg.Families.Slice() {
		was, is := old.PrefixLimits[f], c.PrefixLimits[f]
		if was != is && (was == rib.PrefixLimit{} || was.Action == rib.LimitBlock) {
			p.askRefresh(sess, f)
		}
	}
	var e *rib.LimitError
	if errors.As(sess.in.CheckLimits(), &e) {
		p.limitReached(now, sess, e)
	}
}
