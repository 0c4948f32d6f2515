package bgp

import (
	"context"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// peer is a configured or dynamic peer. Its owner alone uses what is below the line: the
// goroutine of a peerLoop, or the caller of a [Driver]. Nothing here knows which of them. The
// methods are in three files: what the owner does in each turn here, what it feeds the state
// machine and what it carries out for it in peer_session.go, and what others have it do in
// peer_commands.go.
type peer struct {
	env  *env          // of the speaker
	host peerHost      // what a peer asks of the speaker
	key  PeerKey       // never changes
	dyn  *dynamicRange // nil: configured
	info peerInfo      // what others read
	run  runner        // has the owner do things

	// ---- the owner's

	m       *fsm.Machine // decides
	conns   connections  // carry out what m decides
	paths   learned      // what the peer announces, and the helper of its graceful restart
	events  peerEvents   // publishes
	sess    *session     // nil unless Established
	limited limitBackoff // how often a prefix limit ended its sessions

	ended    bool            // the peer is no more
	grace    time.Time       // until when the hold timer waits for unread input
	hadUp    bool            // there was a session since the speaker started: F bits
	pathDown bool            // the last report was PathDown rather than PathUp
	ending   *ending         // set while a session is being ended on purpose
	patience time.Duration   // with the connection that is being closed, see stream
	wait     fsm.BFDWait     // in the status; zero: none
	refused  *PeerError      // by which the peer refused our capabilities
	update   wire.Update     // the one that is being read
	received MessageCounters // copied to the status after each chunk
	state    State           // in the status
	failures int             // in the status
	// waitSince is when the first connection since the last session waited for BFD; zero: none has.
	waitSince time.Time
}

// peerHost is what a peer needs of its speaker.
type peerHost interface {
	// running returns an error unless Run is running.
	running() error
	// resecure sets the listeners' options anew: a key has changed.
	resecure()
	// forget takes the peer off the list, after last, which may object. Both happen under
	// the list's lock, so that no successor is there before.
	forget(p *peer, last func() bool)
}

// runner is the owner of a peer, to others and to the peer.
type runner interface {
	// launch begins the peer, once the peer after has ended, if that is not nil.
	launch(after *peer)
	// do has f executed by the owner and waits for it.
	do(f func(now time.Time)) error
	// admit takes a connection that the peer has opened. It reports false if there is no
	// room for one. It does not block.
	admit(s socket) bool
	// waits reports whether a connection waits that admit has taken.
	waits() bool
	// wake reports that the Adj-RIB-Out has something to send. It does not block.
	wake()
	// dial begins an attempt to connect, whose result goes to peer.connected, and returns
	// what gives it up. It does not begin before the connection that was reported to closed
	// last has sent everything: the peer is to read the end of one before the beginning of
	// the next.
	dial(id fsm.ConnID) (cancel context.CancelFunc)
	// closed reports that the peer has closed a connection.
	closed(s stream)
}

func newPeer(e *env, host peerHost, c PeerConfig, r *dynamicRange) *peer {
	p := &peer{
		env: e, host: host, key: c.Key(), dyn: r,
		m: fsm.New(machineConfig(&e.cfg, &c)),
	}
	p.run = e.newRunner(p)
	p.info.cfg = c
	p.info.st = PeerStatus{Key: p.key, Since: e.now(), Dynamic: r != nil}
	p.conns = connections{run: p.run, info: &p.info}
	p.events = peerEvents{
		key: p.key, now: e.now, hub: &e.hub, info: &p.info, m: p.m, help: &p.paths.help,
		rep: &reporter{dynamic: r != nil},
	}
	p.paths = learned{info: &p.info, events: &p.events}
	p.paths.help.Configure(helperConfig(&e.cfg, &c))
	return p
}

// begin starts the peer.
func (p *peer) begin(now time.Time) {
	p.events.event(EventAdded, nil)
	p.step(now, fsm.Event{Kind: fsm.EventManualStart})
}

// dirty says that the Adj-RIB-Out has something to send.
func (p *peer) dirty() {
	if p.sess != nil {
		p.sess.pending = true
	}
}

// flush passes to each free writer what there is to send.
func (p *peer) flush(now time.Time) {
	for i := range p.conns.slots {
		s := &p.conns.slots[i]
		if s.c == nil || !s.c.writable() {
			continue
		}
		if p.sess != nil && p.sess.conn == s.c && p.sess.fill(now) {
			continue
		}
		s.send()
	}
}

// deadline returns when tick has something to do; zero: never.
func (p *peer) deadline() time.Time {
	at := earliest(p.m.Deadline(), p.paths.help.Deadline(), p.events.rep.deadline())
	if p.sess != nil {
		at = earliest(at, p.sess.deadline())
	}
	return at
}

// tick does what is due. Input that waits is taken first: an owner that was too busy to read
// must not blame the peer.
func (p *peer) tick(now time.Time) {
	for i := range p.conns.slots {
		if p.m.HoldDue(now) {
			p.poll(now, i)
		}
	}
	if p.m.HoldDue(now) && p.inputComing(now) {
		p.m.PostponeHold(now.Add(inputPoll))
	}
	before := p.m.State()
	p.m.Advance(now)
	p.carryOut(now, before, nil)
	p.paths.advance(now)
	if p.sess != nil {
		p.sess.advance(now)
	}
	p.events.advance(now)
}

// Bounds on the wait for input that the kernel has already received.
const (
	inputPoll  = 10 * time.Millisecond
	inputGrace = time.Second
)

// poll takes a chunk that is there.
func (p *peer) poll(now time.Time, i int) {
	if ch, ok := p.conns.slots[i].poll(); ok {
		p.input(now, i, ch)
	}
}

// inputComing reports whether octets have arrived that the reader has not got to yet. A
// peer that sends half a message does not profit for ever.
func (p *peer) inputComing(now time.Time) bool {
	if !p.conns.unread() {
		return false
	}
	if p.grace.IsZero() {
		p.grace = now.Add(inputGrace)
	}
	return now.Before(p.grace)
}

// abandon closes everything as a crash would. The paths stay in the table: who
// watches it keeps forwarding.
func (p *peer) abandon(now time.Time) {
	p.m.Step(now, fsm.Event{Kind: fsm.EventManualStop, Silent: true})
	p.m.Effects()
	if p.sess != nil {
		p.sess.out.Close()
	}
	p.conns.abandon()
}

// expire ends a dynamic peer that has nothing left to remember: no connection, no
// stale paths, no time out after too many prefixes, no flaps of BFD in strict mode.
func (p *peer) expire(now time.Time) {
	if p.dyn == nil || p.ended || !p.conns.none() {
		return
	}
	if p.paths.help.Phase() != RestartNone || now.Before(p.m.RefusedUntil()) || p.m.Flapped() {
		return
	}
	p.host.forget(p, func() bool {
		if p.run.waits() {
			return false
		}
		p.paths.close()
		p.end()
		return true
	})
}

// end ends the peer. No successor is there before EventRemoved is published.
func (p *peer) end() {
	p.ended = true
	p.events.event(EventRemoved, nil)
}

// md5Key returns the key that a listener must have for the peer.
func (p *peer) md5Key() md5Key {
	c := p.info.config()
	if p.dyn != nil {
		return md5Key{p.dyn.prefix, c.MD5Key}
	}
	return md5Key{hostPrefix(c.Addr), c.MD5Key}
}
