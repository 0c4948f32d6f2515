package bgp

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// session is an Established session of a peer.
type session struct {
	conn *conn
	neg  fsm.Negotiated
	opt  wire.Options
	in   *rib.In
	out  *rib.Out

	pending bool         // the Adj-RIB-Out may have something to send
	fillAt  time.Time    // not before then
	eor     [2]time.Time // when the peer's End-of-RIB came
	refresh [2]time.Time // when a refresh of the peer's must be over
	since   time.Time    // when it became Established
	roomAt  [2]time.Time // when to look for room for routes that a limit blocked

	unsendable [2]bool // there are routes of the family that cannot be sent
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
	first := s.eor[familyIndex(f)].IsZero()
	s.eor[familyIndex(f)] = now
	p.setStatus(func(st *PeerStatus) { st.endOfRIB = s.eor })
	p.help.EndOfRIB(f)
	p.applyHelp()
	p.s.noteDeferral(func(d *fsm.Deferral[PeerKey]) { d.EndOfRIB(p.key, f) })
	if first {
		p.tell(Event{Kind: EventEndOfRIB, State: Established, Family: f})
	}
}

// noteUnsendable tells when everything was sent whether that was all.
func (s *session) noteUnsendable(p *peer) {
	c := s.out.Counters()
	for i, f := range families {
		nextHop, room := c.NoNextHop[i], c.TooLong[i]
		if some := nextHop+room > 0; some != s.unsendable[i] {
			s.unsendable[i] = some
			p.tell(Event{Kind: EventUnsendable, State: Established, Family: f, Err: unsendable(nextHop, room)})
		}
	}
}

func unsendable(nextHop, room int) (err error) {
	if nextHop > 0 {
		err = fmt.Errorf("%d routes cannot be sent: they have no next hop, and the session has none of this family for them", nextHop)
	}
	if room > 0 {
		err = errors.Join(err, fmt.Errorf("%d routes cannot be sent: their attributes are longer than a message", room))
	}
	return err
}

// families are those that there are, by familyIndex.
var families = [...]wire.Family{wire.IPv4Unicast, wire.IPv6Unicast}

func familyIndex(f wire.Family) int {
	if f == wire.IPv6Unicast {
		return 1
	}
	return 0
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
	at := earliest(s.refresh[0], s.refresh[1], s.roomAt[0], s.roomAt[1])
	if s.pending && s.conn.writable() {
		at = earliest(at, s.fillAt)
	}
	return at
}

// advance ends refreshes that the peer does not end.
func (s *session) advance(now time.Time) {
	for i, f := range families {
		if at := s.refresh[i]; !at.IsZero() && !now.Before(at) {
			s.refresh[i] = time.Time{}
			s.in.EndRefresh(f)
		}
	}
}
