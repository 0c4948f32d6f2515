package bgp

import (
	"context"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// drivenPeer runs a peer in the calls of a [Driver].
type drivenPeer struct {
	d        *Driver
	p        *peer
	after    *peer      // has to end before; nil: nobody
	begun    bool       // the peer has begun
	incoming []*driven  // connections that were accepted in this call
	ready    bool       // the Adj-RIB-Out has something
	last     Connection // that was closed last

	rank   int       // in the order of keys
	queued bool      // is in Driver.todo
	at     time.Time // deadline; zero: not in Driver.timers
	index  int       // in Driver.timers
}

func (d *Driver) newPeer(p *peer) runner { return &drivenPeer{d: d, p: p} }

func (x *drivenPeer) launch(after *peer) {
	x.after = after
	x.d.launched = append(x.d.launched, x)
}

func (x *drivenPeer) do(f func(now time.Time)) error {
	if err := x.p.host.running(); err != nil {
		return err
	}
	if x.p.ended || !x.begun {
		return ErrNoPeer
	}
	now := x.d.enter()
	defer x.d.leave()
	f(now)
	x.d.finish(now, x)
	return nil
}

func (x *drivenPeer) admit(s socket) bool {
	c := s.(*driven)
	c.peer = x
	x.incoming = append(x.incoming, c)
	x.d.mark(x)
	return true
}

func (x *drivenPeer) waits() bool { return len(x.incoming) > 0 }

func (x *drivenPeer) wake() {
	x.ready = true
	x.d.mark(x)
}

func (x *drivenPeer) closed(s stream) { x.last = s.(*driven).c }

func (x *drivenPeer) dial(id fsm.ConnID) context.CancelFunc {
	cfg := x.p.info.config()
	a := &Attempt{
		Peer: x.p.key, Remote: netip.AddrPortFrom(cfg.Addr, cfg.Port), Interface: cfg.Interface,
		After: x.last, peer: x, id: id,
	}
	if cfg.LocalAddr.IsValid() {
		a.Local = netip.AddrPortFrom(cfg.LocalAddr, 0)
	}
	x.d.t.Dial(a)
	return func() {
		if !a.over {
			a.over = true
			x.d.t.Cancel(a)
		}
	}
}

// turn does what a peer has to do after something has happened, as one turn of a peerLoop.
func (x *drivenPeer) turn(now time.Time) {
	p := x.p
	if p.ended || !x.begun {
		return
	}
	incoming := x.incoming
	x.incoming = nil
	for _, c := range incoming {
		p.accept(now, c)
	}
	if x.ready {
		x.ready = false
		p.dirty()
	}
	p.expire(now)
	if p.ended {
		x.d.forget(x)
		return
	}
	p.flush(now)
	x.d.timers.set(x, p.deadline())
}

// driven is the connection of a driven peer, a socket and a stream.
type driven struct {
	d       *Driver
	peer    *drivenPeer // whose connection it is
	c       Connection  // the caller's
	pending bool        // counts in Driver.pending
	limit   int         // longest message accepted
	rest    []byte      // the beginning of a message
	sending []byte      // what Send was called with; nil: the writer is free
	over    bool        // it was closed
}

func (c *driven) addrs() (local, remote netip.AddrPort) {
	return unmapped(c.c.LocalAddr()), unmapped(c.c.RemoteAddr())
}

// unmapped returns an address without the IPv4-in-IPv6 form.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func (c *driven) tune(*PeerConfig) error { return nil }

func (c *driven) start() stream {
	c.limit = wire.MaxLen
	c.d.conns[c.c] = c
	return c
}

func (c *driven) discard() { c.close(nil, 0) }

func (c *driven) send(b []byte) {
	c.sending = b
	c.c.Send(b)
}

func (c *driven) release([]byte) {}

func (c *driven) poll() (ch chunk, ok bool) { return ch, false }

func (c *driven) unread() bool { return false }

func (c *driven) setLimit(n int) { c.limit = n }

func (c *driven) established(time.Duration, int) { c.count() }

func (c *driven) lastRead(time.Time) {}

func (c *driven) close(final []byte, patience time.Duration) {
	c.over = true
	c.count()
	delete(c.d.conns, c.c)
	c.c.Close(final, patience)
}

// count takes the connection off those that are not Established yet.
func (c *driven) count() {
	if c.pending {
		c.pending = false
		c.d.pending--
	}
}

// slot returns the number of the connection's slot.
func (c *driven) slot() int {
	if s := &c.peer.p.conns.slots[1]; s.c != nil && s.c.stream == stream(c) {
		return 1
	}
	return 0
}

// input cuts octets into messages and has the peer take them.
func (c *driven) input(now time.Time, b []byte) {
	if len(c.rest) > 0 {
		c.rest = append(c.rest, b...)
		b = c.rest
	}
	for !c.over {
		ch, ok := cut(b, c.limit)
		if !ok {
			break
		}
		c.peer.p.input(now, c.slot(), ch)
		if ch.err != nil {
			b = nil
			break
		}
		b = b[ch.n:]
	}
	if c.over || len(b) == 0 && cap(c.rest) > smallBuffer {
		c.rest = nil
		return
	}
	c.rest = append(c.rest[:0], b...)
}
