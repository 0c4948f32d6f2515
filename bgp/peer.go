package bgp

import (
	"context"
	"net"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// peer is a configured or dynamic peer. Its owner, the goroutine of loop, alone uses what is
// below the line; others send it functions through inbox. The methods are in three files:
// the loop here, what the loop feeds the state machine and what it carries out for it in
// peer_session.go, and what others have it do in peer_commands.go.
type peer struct {
	env  *env          // of the speaker
	host peerHost      // what a peer asks of the speaker
	key  PeerKey       // never changes
	dyn  *dynamicRange // nil: configured
	info peerInfo      // what others read

	inbox    chan func(now time.Time) // functions for the owner, which calls them with its time
	incoming chan incoming            // connections that a listener has accepted
	ready    chan struct{}            // the Adj-RIB-Out has something
	gone     chan struct{}            // closed when loop has ended
	after    <-chan struct{}          // loop begins when it is closed; nil: at once

	// ---- owned by loop

	m       *fsm.Machine // decides
	conns   connections  // carry out what m decides
	paths   learned      // what the peer announces, and the helper of its graceful restart
	events  peerEvents   // publishes
	sess    *session     // nil unless Established
	limited limitBackoff // how often a prefix limit ended its sessions

	timer    *time.Timer     // fires at the earliest deadline
	ended    bool            // loop shall end
	grace    time.Time       // until when the hold timer waits for unread input
	hadUp    bool            // there was a session since the speaker started: F bits
	pathDown bool            // the last report was PathDown rather than PathUp
	ending   *ending         // set while a session is being ended on purpose
	patient  patient         // of the connection that is being closed
	refused  *PeerError      // by which the peer refused our capabilities
	update   wire.Update     // the one that is being read
	received MessageCounters // copied to the status after each chunk
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

// incoming is a connection that the peer has opened.
type incoming struct {
	nc      net.Conn // the connection
	release func()   // gives back the listener's token
}

func newPeer(e *env, host peerHost, c PeerConfig, r *dynamicRange) *peer {
	p := &peer{
		env: e, host: host, key: c.Key(), dyn: r,
		inbox: make(chan func(time.Time)), incoming: make(chan incoming, 4),
		ready: make(chan struct{}, 1), gone: make(chan struct{}),
		m: fsm.New(machineConfig(&e.cfg, &c)),
	}
	p.info.cfg = c
	p.info.st = PeerStatus{Key: p.key, Since: time.Now(), Dynamic: r != nil}
	p.conns = connections{env: e, info: &p.info, gone: p.gone, dialed: make(chan dialed)}
	p.events = peerEvents{
		key: p.key, hub: &e.hub, info: &p.info, m: p.m, help: &p.paths.help,
		rep: &reporter{dynamic: r != nil},
	}
	p.paths = learned{info: &p.info, events: &p.events}
	p.paths.help.Configure(helperConfig(&e.cfg, &c))
	return p
}

// launch starts the owner.
func (p *peer) launch() {
	ctx := p.env.ctx
	p.env.wg.Go(func() { p.loop(ctx) })
}

// do has f executed by the owner and waits for it.
func (p *peer) do(f func(now time.Time)) error {
	if err := p.host.running(); err != nil {
		return err
	}
	done := make(chan struct{})
	select {
	case p.inbox <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-p.gone:
		if err := p.host.running(); err != nil {
			return err
		}
		return ErrNoPeer
	}
}

// loop is the owner of the peer.
func (p *peer) loop(ctx context.Context) {
	defer close(p.gone)
	if p.after != nil {
		select {
		case <-p.after:
		case <-ctx.Done():
			p.abandon()
			return
		}
	}
	p.timer = time.NewTimer(0)
	defer p.timer.Stop()
	p.events.event(EventAdded, nil)
	p.step(time.Now(), fsm.Event{Kind: fsm.EventManualStart})
	slots := &p.conns.slots
	for !p.ended {
		p.flush(time.Now())
		p.arm()
		select {
		case <-ctx.Done():
			p.abandon()
			return
		case f := <-p.inbox:
			f(time.Now())
		case in := <-p.incoming:
			p.accept(time.Now(), in)
		case d := <-p.conns.dialed:
			p.connected(time.Now(), d)
		case ch := <-slots[0].rx():
			p.take(time.Now(), 0, ch)
		case ch := <-slots[1].rx():
			p.take(time.Now(), 1, ch)
		case w := <-slots[0].txDone():
			p.sent(time.Now(), 0, w)
		case w := <-slots[1].txDone():
			p.sent(time.Now(), 1, w)
		case <-p.ready:
			if p.sess != nil {
				p.sess.pending = true
			}
		case <-p.timer.C:
			p.tick(time.Now())
		}
		p.expire(time.Now())
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

// arm sets the one timer to the earliest of all deadlines.
func (p *peer) arm() {
	at := earliest(p.m.Deadline(), p.paths.help.Deadline(), p.events.rep.deadline())
	if p.sess != nil {
		at = earliest(at, p.sess.deadline())
	}
	if at.IsZero() {
		p.timer.Stop()
		return
	}
	p.timer.Reset(time.Until(at))
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
	select {
	case ch := <-p.conns.slots[i].rx():
		p.input(now, i, ch)
	default:
	}
}

// inputComing reports whether the kernel has octets that the reader has not got to yet. A
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
func (p *peer) abandon() {
	p.m.Step(time.Now(), fsm.Event{Kind: fsm.EventManualStop, Silent: true})
	p.m.Effects()
	if p.sess != nil {
		p.sess.out.Close()
	}
	p.conns.abandon()
	for {
		select {
		case in := <-p.incoming:
			in.nc.Close()
			in.release()
		default:
			return
		}
	}
}

// expire ends a dynamic peer that has nothing left to remember: no connection, no
// stale paths, no time out after too many prefixes.
func (p *peer) expire(now time.Time) {
	if p.dyn == nil || p.ended || !p.conns.none() {
		return
	}
	if p.paths.help.Phase() != RestartNone || now.Before(p.m.RefusedUntil()) {
		return
	}
	p.host.forget(p, func() bool {
		if len(p.incoming) > 0 {
			return false
		}
		p.paths.close()
		p.end()
		return true
	})
}

// end ends the loop. No successor is there before EventRemoved is published.
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
