package bgp

import (
	"context"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
)

// peerLoop runs a peer in a goroutine, its owner: others send it functions through inbox.
type peerLoop struct {
	p        *peer                    // whose owner it is
	inbox    chan func(now time.Time) // functions for the owner, which calls them with its time
	incoming chan socket              // connections that a listener has accepted
	dialed   chan dialed              // results of attempts to connect
	ready    chan struct{}            // the Adj-RIB-Out has something
	gone     chan struct{}            // closed when loop has ended
	timer    *time.Timer              // fires at the earliest deadline
	last     <-chan struct{}          // closed when the connection before has sent everything
}

func newPeerLoop(p *peer) runner {
	return &peerLoop{
		p: p, inbox: make(chan func(time.Time)), incoming: make(chan socket, 4), dialed: make(chan dialed),
		ready: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

func (l *peerLoop) launch(after *peer) {
	ctx := l.p.env.ctx
	l.p.env.wg.Go(func() { l.loop(ctx, after) })
}

func (l *peerLoop) do(f func(now time.Time)) error {
	if err := l.p.host.running(); err != nil {
		return err
	}
	done := make(chan struct{})
	select {
	case l.inbox <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-l.gone:
		if err := l.p.host.running(); err != nil {
			return err
		}
		return ErrNoPeer
	}
}

func (l *peerLoop) admit(s socket) bool {
	select {
	case l.incoming <- s:
		return true
	default: // more connections than it can look at
		return false
	}
}

func (l *peerLoop) waits() bool { return len(l.incoming) > 0 }

func (l *peerLoop) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *peerLoop) closed(s stream) { l.last = s.(*pumps).silent }

func (l *peerLoop) dial(id fsm.ConnID) context.CancelFunc {
	env := l.p.env
	ctx, cancel := context.WithTimeout(env.ctx, dialTimeout)
	cfg, last := l.p.info.config(), l.last
	env.wg.Go(func() {
		if last != nil { // the peer is to read the end of one before the beginning of the next
			select {
			case <-last:
			case <-ctx.Done():
			}
		}
		d := dialed{id: id}
		nc, err := dialPeer(ctx, &env.cfg, cfg)
		if d.err = err; err == nil {
			d.sock = &netSocket{nc: nc, env: env}
		}
		select {
		case l.dialed <- d:
		case <-l.gone:
			d.close()
		}
	})
	return cancel
}

// loop is the owner of the peer.
func (l *peerLoop) loop(ctx context.Context, after *peer) {
	p := l.p
	defer close(l.gone)
	if after != nil {
		select {
		case <-after.run.(*peerLoop).gone:
		case <-ctx.Done():
			l.abandon()
			return
		}
	}
	l.timer = time.NewTimer(0)
	defer l.timer.Stop()
	p.begin(time.Now())
	for !p.ended {
		p.flush(time.Now())
		l.arm()
		select {
		case <-ctx.Done():
			l.abandon()
			return
		case f := <-l.inbox:
			f(time.Now())
		case s := <-l.incoming:
			p.accept(time.Now(), s)
		case d := <-l.dialed:
			p.connected(time.Now(), d)
		case ch := <-l.rx(0):
			p.take(time.Now(), 0, ch)
		case ch := <-l.rx(1):
			p.take(time.Now(), 1, ch)
		case w := <-l.txDone(0):
			p.sent(time.Now(), 0, w)
		case w := <-l.txDone(1):
			p.sent(time.Now(), 1, w)
		case <-l.ready:
			p.dirty()
		case <-l.timer.C:
			p.tick(time.Now())
		}
		p.expire(time.Now())
	}
}

// arm sets the one timer to the earliest of all deadlines.
func (l *peerLoop) arm() {
	at := l.p.deadline()
	if at.IsZero() {
		l.timer.Stop()
		return
	}
	l.timer.Reset(time.Until(at))
}

func (l *peerLoop) rx(i int) <-chan chunk {
	if c := l.p.conns.slots[i].c; c != nil {
		return c.stream.(*pumps).rx
	}
	return nil
}

func (l *peerLoop) txDone(i int) <-chan written {
	if c := l.p.conns.slots[i].c; c != nil {
		return c.stream.(*pumps).txDone
	}
	return nil
}

// abandon closes everything as a crash would.
func (l *peerLoop) abandon() {
	l.p.abandon(time.Now())
	for {
		select {
		case s := <-l.incoming:
			s.discard()
		default:
			return
		}
	}
}
