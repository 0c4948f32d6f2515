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

// session is an Established session of a peer. Only the peer's owner uses it.
type session struct {
	env    *env           // of the speaker
	slot   *slot          // the messages that wait for the writer
	conn   *conn          // the connection
	neg    fsm.Negotiated // what was negotiated
	opt    wire.Options   // how UPDATEs are to be parsed
	paths  *learned       // what the peer announces
	events *peerEvents    // of the peer
	in     *rib.In        // the peer's Adj-RIB-In
	out    *rib.Out       // the peer's Adj-RIB-Out

	pending bool                     // the Adj-RIB-Out may have something to send
	fillAt  time.Time                // not before then
	eor     [len(families)]time.Time // when the peer's End-of-RIB came
	refresh [len(families)]time.Time // when a refresh of the peer's must be over
	since   time.Time                // when it became Established
	blocked [len(families)]time.Time // when to ask for routes that a limit has blocked, if they fit
	members time.Time                // when the peer has had time to say which route targets it wants; zero: it has

	unsendable [len(families)]bool // there are routes of the family that cannot be sent
}

// coalesce is the pause after an UPDATE that did not fill the buffer: what comes
// in meanwhile is packed together. The first change after silence goes at once.
const coalesce = 2 * time.Millisecond

// sendBuffers are what Fill writes into. They are in use only while a write is
// going on, so all sessions share them.
var sendBuffers = sync.Pool{New: func() any { return new([sendBuffer]byte) }}

const (
	// sendBuffer holds the longest message, with some control messages before it.
	sendBuffer = 65536 + 4096
	// maxControl is what sendBuffer holds beside the longest message.
	maxControl = sendBuffer - 65535
	// fullSend is where a send counts as full: more is waiting most likely.
	fullSend = 32 << 10
)

// open makes the Adj-RIBs of a session. The function notify is called when there is
// something to send.
func (s *session) open(cfg *PeerConfig, notify func()) (err error) {
	if err := s.paths.open(s.env.table, s.inConfig(cfg)); err != nil {
		return err
	}
	s.in = s.paths.in
	if s.neg.Families.Has(wire.RTConstrain) && !cfg.IgnoreMemberships {
		s.members = s.since.Add(membershipWait)
	}
	s.out, err = s.in.NewOut(s.outConfig(cfg, notify))
	return err
}

func (s *session) inConfig(cfg *PeerConfig) rib.PeerConfig {
	return rib.PeerConfig{
		Addr: s.events.key.Addr, AS: s.neg.RemoteAS, RouterID: s.neg.RemoteID, Client: cfg.RouteReflectorClient,
		AllowOwnAS: cfg.AllowOwnAS, EBGP: cfg.EBGP, Import: s.imports(cfg), Limits: cfg.PrefixLimits, KeepRefused: cfg.KeepRefused,
	}
}

// missing returns which policies the session lacks.
func (s *session) missing(cfg *PeerConfig) MissingPolicy {
	return s.env.cfg.missingPolicy(cfg, s.neg.RemoteAS)
}

func (s *session) imports(cfg *PeerConfig) rib.Policy {
	if s.missing(cfg).Import {
		return noPolicy
	}
	return cfg.Import
}

func (s *session) exports(cfg *PeerConfig) rib.Policy {
	if cfg.Export == nil && s.neg.RemoteAS != s.env.cfg.AS {
		return rejectAll
	}
	return cfg.Export
}

func (s *session) outConfig(cfg *PeerConfig, notify func()) rib.OutConfig {
	n := &s.neg
	c := rib.OutConfig{
		Families: n.Families, AddPath: n.AddPathSend, AddPathLimit: cfg.AddPathLimit,
		AS4: n.AS4, ExtendedMessages: n.ExtendedMessage, ExtendedNextHop: n.IPv6NextHop,
		LongLived: len(n.Remote.LongLived) > 0, PeerRestarting: n.Remote.GracefulRestart != nil && n.Remote.GracefulRestart.Restarting,
		NextHopSelf: cfg.NextHopSelf, DefaultMembership: cfg.DefaultMembership, IgnoreMemberships: cfg.IgnoreMemberships, Export: s.exports(cfg), Default: cfg.Default,
		Notify: notify,
	}
	c.NextHop4, c.NextHop6 = nextHops(cfg, s.conn.local.Addr(), n.IPv6NextHop)
	return c
}

// close closes the Adj-RIB-Out.
func (s *session) close() {
	total := s.out.Counters()
	s.events.info.set(func(st *PeerStatus) {
		s.events.info.out = nil
		st.Sent.Update += total.Updates
		st.Sent.Octets += total.Octets
		st.Negotiated, st.Local, st.Remote = nil, noAddrPort, noAddrPort
		st.MissingPolicy = MissingPolicy{}
	})
	s.out.Close()
}

// update takes in the body of an UPDATE, which is parsed into u. An error ends the session.
func (s *session) update(now time.Time, u *wire.Update, body []byte) error {
	err := u.Parse(body, s.opt)
	if err != nil {
		var e *wire.Error
		if !errors.As(err, &e) || e.Disposition == wire.SessionReset {
			return err
		}
		s.events.event(EventUpdateError, err)
		if e.Disposition == wire.TreatAsWithdraw {
			s.in.TreatAsWithdraw(u)
			return nil
		}
	}
	if f, ok := u.EndOfRIB(); ok {
		s.endOfRIB(now, f)
		return nil
	}
	return s.in.Update(u)
}

// endOfRIB takes the peer's End-of-RIB.
func (s *session) endOfRIB(now time.Time, f wire.Family) {
	if !s.neg.Families.Has(f) {
		return
	}
	first := s.eor[familyIndex(f)].IsZero()
	s.eor[familyIndex(f)] = now
	s.events.info.set(func(st *PeerStatus) { st.endOfRIB = s.eor })
	s.paths.endOfRIB(f)
	if f == wire.RTConstrain {
		s.membersKnown()
	}
	s.env.restart.note(func(d *fsm.Deferral[PeerKey]) { d.EndOfRIB(s.events.key, f) })
	if first {
		s.events.publish(Event{Kind: EventEndOfRIB, State: Established, Family: f})
	}
}

// membershipWait is how long a peer's End-of-RIB of route target constraint is waited for, while it is sent no EVPN
// routes. RFC 4684, Section 6: "As a hint that initial RT membership exchange is complete, implementations
// SHOULD generate an End-of-RIB marker [...] regardless of whether graceful-restart is enabled on the BGP session."
// So it is the time of those that do not, long enough for any number of memberships.
const membershipWait = 60 * time.Second

// membersKnown lets the routes go that the peer wants.
func (s *session) membersKnown() {
	s.members = time.Time{}
	s.out.ConstraintKnown()
	s.pending = true
}

// fill hands UPDATEs to the writer, after the control messages that wait. It reports whether it
// sent anything.
func (s *session) fill(now time.Time) bool {
	if !s.pending || now.Before(s.fillAt) || len(s.slot.ctl) > maxControl {
		return false
	}
	buf := sendBuffers.Get().(*[sendBuffer]byte)
	k := copy(buf[:], s.slot.ctl)
	n := s.out.Fill(buf[k:])
	if n == 0 {
		sendBuffers.Put(buf)
		s.pending = false
		s.noteUnsendable()
		return false
	}
	s.fillAt = time.Time{}
	if n < fullSend {
		s.fillAt = now.Add(coalesce)
	}
	s.slot.ctl, s.slot.keepalive = s.slot.ctl[:0], false
	s.conn.send(buf[:k+n])
	return true
}

// recycleSend takes back a buffer that the writer has sent.
func recycleSend(b []byte) {
	if len(b) > 0 && cap(b) == sendBuffer {
		sendBuffers.Put((*[sendBuffer]byte)(b[:sendBuffer]))
	}
}

// noteUnsendable publishes, when everything was sent, whether that was all.
func (s *session) noteUnsendable() {
	c := s.out.Counters()
	for i, f := range families {
		nextHop, long := c.NoNextHop[i], c.TooLong[i]
		if some := nextHop+long > 0; some != s.unsendable[i] {
			s.unsendable[i] = some
			s.events.publish(Event{Kind: EventUnsendable, State: Established, Family: f, Err: unsendable(nextHop, long)})
		}
	}
}

func unsendable(nextHop, long int) (err error) {
	if nextHop > 0 {
		err = fmt.Errorf("%d routes cannot be sent: they have no next hop, and the session has none of this family for them", nextHop)
	}
	if long > 0 {
		err = errors.Join(err, fmt.Errorf("%d routes cannot be sent: their attributes are longer than a message", long))
	}
	return err
}

// takeRefresh answers a ROUTE-REFRESH (RFC 2918, Section 4; RFC 7313, Section 4).
func (s *session) takeRefresh(now time.Time, r wire.RouteRefresh) {
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
		s.refresh[i] = now.Add(s.env.cfg.GracefulRestart.StaleTime)
	case r.Subtype == wire.RefreshEnd:
		s.in.EndRefresh(r.Family)
		s.refresh[i] = time.Time{}
	}
}

// askRefresh asks the peer to send everything of some families again, if it knows how.
func (s *session) askRefresh(fams ...wire.Family) {
	if !s.neg.RouteRefresh {
		return
	}
	for _, f := range fams {
		s.slot.queue(wire.TypeRouteRefresh, wire.RouteRefresh{Family: f}.Append(nil))
	}
}

// resend sends everything to the peer again.
func (s *session) resend() {
	for _, f := range s.neg.Families.Slice() {
		s.out.Refresh(f, s.neg.EnhancedRefresh)
	}
	s.pending = true
}

// deadline returns the time of the session's own next timer; zero if none runs.
func (s *session) deadline() time.Time {
	at := earliest(earliest(s.refresh[:]...), earliest(s.blocked[:]...), s.members)
	if s.pending && s.conn.writable() {
		at = earliest(at, s.fillAt)
	}
	return at
}

// advance ends refreshes that the peer does not end, and asks for routes that a limit has
// blocked.
func (s *session) advance(now time.Time) {
	if due(now, s.members) {
		s.membersKnown()
	}
	for i, f := range families {
		if due(now, s.refresh[i]) {
			s.refresh[i] = time.Time{}
			s.in.EndRefresh(f)
		}
		if due(now, s.blocked[i]) {
			s.blocked[i] = time.Time{}
			s.askBlocked(now, f)
		}
	}
}

// blockedPoll is the interval at which a session looks whether routes that a limit has blocked
// fit now.
const blockedPoll = time.Minute

// askBlocked asks the peer for the routes of a family again, of which some were blocked, once
// they fit.
func (s *session) askBlocked(now time.Time, f wire.Family) {
	if s.in.Counters(f).Limit == rib.LimitExceeded {
		s.blocked[familyIndex(f)] = now.Add(blockedPoll)
	} else {
		s.askRefresh(f)
	}
}

// reconfigure applies soft changes of the configuration. It reports false if that cannot be
// done within the session.
func (s *session) reconfigure(old, c *PeerConfig, notify func()) bool {
	if s.in.Configure(s.inConfig(c)) != nil {
		return false
	}
	if importsDiffer(old, c) {
		s.askRefresh(s.neg.Families.Slice()...)
	}
	if !same(c.Export, old.Export) || !c.Default.Equal(old.Default) || c.NextHopSelf != old.NextHopSelf || c.DefaultMembership != old.DefaultMembership || c.AddPathLimit != old.AddPathLimit ||
		c.NextHop4 != old.NextHop4 || c.NextHop6 != old.NextHop6 || c.LinkLocal != old.LinkLocal ||
		c.EBGP.ExportsDiffer(&old.EBGP) {
		if s.out.Reconfigure(s.outConfig(c, notify)) != nil {
			return false
		}
		s.pending = true
	}
	s.noteMissing(c)
	return true
}

// noteMissing shows which policies the session lacks, and publishes it if that is news.
func (s *session) noteMissing(c *PeerConfig) {
	is, was := s.missing(c), MissingPolicy{}
	s.events.info.set(func(st *PeerStatus) { was, st.MissingPolicy = st.MissingPolicy, is })
	if is != was {
		s.events.publish(Event{Kind: EventNoPolicy, State: Established, MissingPolicy: is})
	}
}

// changeLimits makes the session follow other limits, and returns what is to be done because
// of them, if anything. What was blocked, or not counted without a limit, is asked for.
func (s *session) changeLimits(old, c *PeerConfig) *rib.LimitError {
	for _, f := range s.neg.Families.Slice() {
		was, is := old.PrefixLimits[f], c.PrefixLimits[f]
		if was != is && (was == rib.PrefixLimit{} || was.Action == rib.LimitBlock) {
			s.askRefresh(f)
		}
	}
	var e *rib.LimitError
	errors.As(s.in.CheckLimits(), &e)
	return e
}
