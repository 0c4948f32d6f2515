package bgp

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// peer is a configured or dynamic peer. Everything below the line is owned by the
// goroutine of loop; others send it functions through inbox.
type peer struct {
	s   *Speaker
	key PeerKey
	dyn *dynamicRange // nil: configured

	inbox    chan func(now time.Time)
	incoming chan incoming
	dialed   chan dialed
	ready    chan struct{}   // the Adj-RIB-Out has something
	gone     chan struct{}   // closed when loop has ended
	after    <-chan struct{} // loop begins when it is closed; nil: at once

	mu  sync.Mutex // guards what status reads
	cfg PeerConfig
	st  PeerStatus
	in  *rib.In
	out *rib.Out

	// ---- owned by loop

	m       *fsm.Machine
	slots   [2]slot
	sess    *session // nil unless Established
	help    fsm.Helper
	dialing fsm.ConnID
	cancel  context.CancelFunc // of dialing
	fresh   fresh
	last    <-chan struct{} // closed when the connection before has sent everything
	timer   *time.Timer
	rep     *reporter
	reason  *PeerError // why the connection that is being ended has ended
	refused *PeerError // by which the peer refused our capabilities
	ended   bool       // loop shall end
	grace   time.Time  // until when the hold timer waits for unread input
	up      bool       // there was a session since the speaker started: F bits
	dead    bool       // PathDown was the last word
	ending  *ending    // why the session is being ended on purpose
	patient patient    // of the connection that is being closed
	update  wire.Update
	limited limitBackoff

	received MessageCounters // copied to st after each chunk
}

// slot is a connection with the messages that wait for its writer.
type slot struct {
	c       *conn
	ctl     []byte // OPEN, KEEPALIVE, ROUTE-REFRESH: at most a few
	final   []byte // the NOTIFICATION that goes with its end
	open    wire.Open
	neg     fsm.Negotiated
	release func() // gives back the listener's token
	beating bool   // a KEEPALIVE is in ctl
}

type incoming struct {
	nc      net.Conn
	release func()
}

type dialed struct {
	id  fsm.ConnID
	nc  net.Conn
	err error
}

func (s *Speaker) newPeer(c PeerConfig, r *dynamicRange) *peer {
	p := &peer{
		s: s, key: c.Key(), dyn: r, cfg: c,
		inbox: make(chan func(time.Time)), incoming: make(chan incoming, 4),
		dialed: make(chan dialed), ready: make(chan struct{}, 1), gone: make(chan struct{}),
		m: fsm.New(machineConfig(&s.cfg, &c)), rep: &reporter{dynamic: r != nil},
	}
	p.help.Configure(helperConfig(&s.cfg, &c))
	p.st = PeerStatus{Key: p.key, Since: time.Now(), Dynamic: r != nil}
	return p
}

// launch starts the owner. s.mu is held.
func (s *Speaker) launch(p *peer) {
	ctx := s.ctx
	s.wg.Go(func() { p.loop(ctx) })
}

// config returns the peer's configuration, which is replaced as a whole.
func (p *peer) config() *PeerConfig {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.cfg
	return &c
}

// do has f executed by the owner and waits for it.
func (p *peer) do(f func(now time.Time)) error {
	if err := p.s.running(); err != nil {
		return err
	}
	done := make(chan struct{})
	select {
	case p.inbox <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-p.gone:
		if err := p.s.running(); err != nil {
			return err
		}
		return ErrNoPeer
	}
}

// adopt gives the peer another configuration: by its owner, or before it has one.
func (p *peer) adopt(c PeerConfig) {
	p.mu.Lock()
	p.cfg = c
	p.mu.Unlock()
	p.m.Configure(machineConfig(&p.s.cfg, &c))
	p.help.Configure(helperConfig(&p.s.cfg, &c))
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
	p.event(EventAdded, nil)
	p.step(time.Now(), fsm.Event{Kind: fsm.EventManualStart})
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
		case d := <-p.dialed:
			p.connected(time.Now(), d)
		case ch := <-p.slots[0].rx():
			p.take(time.Now(), 0, ch)
		case ch := <-p.slots[1].rx():
			p.take(time.Now(), 1, ch)
		case w := <-p.slots[0].txDone():
			p.sent(time.Now(), 0, w)
		case w := <-p.slots[1].txDone():
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

func (s *slot) rx() <-chan chunk {
	if s.c == nil {
		return nil
	}
	return s.c.rx
}

func (s *slot) txDone() <-chan written {
	if s.c == nil {
		return nil
	}
	return s.c.txDone
}

// arm sets the one timer to the earliest of all deadlines.
func (p *peer) arm() {
	at := earliest(p.m.Deadline(), p.help.Deadline(), p.rep.deadline())
	if p.sess != nil {
		at = earliest(at, p.sess.next())
	}
	if at.IsZero() {
		p.timer.Stop()
		return
	}
	p.timer.Reset(time.Until(at))
}

// tick fires what is due. Input that waits is taken first: whoever was too busy
// to read must not blame the peer.
func (p *peer) tick(now time.Time) {
	for i := range p.slots {
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
	p.help.Advance(now)
	p.applyHelp()
	if p.sess != nil {
		p.sess.advance(now)
		p.lookForRoom(now, p.sess)
	}
	p.publish(p.rep.advance(now, p.key))
}

// Bounds on the wait for input that the kernel has already received.
const (
	inputPoll  = 10 * time.Millisecond
	inputGrace = time.Second
)

// poll takes a chunk that is there.
func (p *peer) poll(now time.Time, i int) {
	select {
	case ch := <-p.slots[i].rx():
		p.input(now, i, ch)
	default:
	}
}

// inputComing reports whether octets are in the kernel that the reader has not
// got to yet. A peer that sends half a message does not profit for ever.
func (p *peer) inputComing(now time.Time) bool {
	for i := range p.slots {
		if c := p.slots[i].c; c != nil && unread(c.nc) > 0 {
			if p.grace.IsZero() {
				p.grace = now.Add(inputGrace)
			}
			return now.Before(p.grace)
		}
	}
	return false
}

// abandon closes everything as a crash would. The paths stay in the table: who
// watches it keeps forwarding.
func (p *peer) abandon() {
	p.m.Step(time.Now(), fsm.Event{Kind: fsm.EventManualStop, Silent: true})
	p.m.Effects()
	if p.cancel != nil {
		p.cancel()
	}
	if p.sess != nil {
		p.sess.out.Close()
	}
	for i := range p.slots {
		if c := p.slots[i].c; c != nil {
			c.close(p.slots[i].final)
		}
	}
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

// event says that something has happened to the peer.
func (p *peer) event(kind EventKind, err error) {
	p.tell(Event{Kind: kind, State: p.m.State(), Err: err})
}

func (p *peer) tell(e Event) {
	now := time.Now()
	e.Time, e.Peer, e.Restart = now, p.key, p.help.Phase()
	p.publish(p.rep.take(now, e))
}

func (p *peer) publish(events []Event) {
	for _, e := range events {
		p.s.hub.publish(e)
	}
}
