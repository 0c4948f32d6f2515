package bgp

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// Sizes of buffers, in octets.
const (
	// smallBuffer holds any message of a session without extended messages.
	// Most sessions are quiet most of the time: with two buffers each, a
	// thousand of them cost 8 MB.
	smallBuffer = wire.MaxLen
	// largeBuffer is what a busy session reads at a time. It holds any message.
	largeBuffer = 64 << 10
	// quietReads is the number of small reads in a row after which a reader
	// goes back to small buffers: a session that was busy and sends nothing but
	// KEEPALIVEs has them after a hold time or so. Large ones are shared, so that
	// changing one's mind costs little.
	quietReads = 4
)

// lingerTime is how long a connection stays half-open after our NOTIFICATION, so
// that unread input does not make the kernel send a reset that overtakes it.
const lingerTime = time.Second

// netSocket is a net.Conn that is not in use yet.
type netSocket struct {
	nc      net.Conn // the connection
	env     *env     // of the speaker
	release func()   // gives back the listener's token; nil for a connection of ours
}

func (s *netSocket) addrs() (local, remote netip.AddrPort) {
	return zoned(s.nc, addrPort(s.nc.LocalAddr()), false), zoned(s.nc, addrPort(s.nc.RemoteAddr()), true)
}

func (s *netSocket) tune(c *PeerConfig) error { return tune(s.nc, &s.env.cfg, c) }

func (s *netSocket) start() stream {
	setProbes(s.nc)
	p := newPumps(s.nc, &s.env.wg, s.release)
	p.patient.ctx = s.env.ctx
	return p
}

func (s *netSocket) discard() {
	s.nc.Close()
	if s.release != nil {
		s.release()
	}
}

// pumps are the two goroutines that read and write a net.Conn. The owner of the peer talks to
// them through channels only; they hold no state of the protocol.
type pumps struct {
	nc     net.Conn      // the connection
	rx     chan chunk    // reader to owner: complete messages
	free   chan []byte   // owner to reader: a buffer that was used up
	tx     chan []byte   // owner to writer: messages to send
	txDone chan written  // writer to owner: the buffer back
	quit   chan struct{} // closed by the owner: the pumps shall end
	silent chan struct{} // closed by the writer: nothing more will be sent
	final  []byte        // the last NOTIFICATION; set before quit is closed
	patient
	limit atomic.Int32 // longest message accepted
	done  func()       // called when both have ended, and before; nil: nothing to do
}

// newPumps starts the pumps of nc. done, which may be nil, is called when both have ended and nc is
// closed, and when the connection has become a session.
func newPumps(nc net.Conn, wg *sync.WaitGroup, done func()) *pumps {
	p := &pumps{
		nc: nc, done: done,
		rx: make(chan chunk, 1), free: make(chan []byte, 2),
		tx: make(chan []byte, 1), txDone: make(chan written, 1),
		quit: make(chan struct{}), silent: make(chan struct{}),
	}
	p.limit.Store(wire.MaxLen)
	p.free <- nil
	p.free <- nil
	var both sync.WaitGroup
	both.Go(p.readLoop)
	both.Go(p.writeLoop)
	wg.Go(func() {
		both.Wait()
		p.unhook()
		nc.Close()
		if done != nil {
			done()
		}
	})
	return p
}

func (p *pumps) send(b []byte) { p.tx <- b }

func (p *pumps) release(buf []byte) { p.free <- buf }

func (p *pumps) poll() (ch chunk, ok bool) {
	select {
	case ch = <-p.rx:
		return ch, true
	default:
		return ch, false
	}
}

func (p *pumps) unread() bool { return unread(p.nc) > 0 }

func (p *pumps) setLimit(n int) { p.limit.Store(int32(n)) }

func (p *pumps) established(hold time.Duration, ttl int) {
	if p.done != nil {
		p.done()
	}
	endProbes(p.nc, hold)
	setSessionTTL(p.nc, ttl)
}

func (p *pumps) lastRead(until time.Time) { p.nc.SetReadDeadline(until) }

// rude says that the connection ends without waiting for anything.
func (p *pumps) rude() bool { return len(p.final) == 0 && p.time == 0 }

func (p *pumps) close(final []byte, patience time.Duration) {
	p.final, p.time = final, patience
	if p.rude() {
		close(p.quit)
		p.nc.Close()
		return
	}
	p.hook(p.nc)
	p.nc.SetDeadline(time.Now().Add(lingerTime))
	close(p.quit)
}

// readLoop frames the stream and hands complete messages to the owner, as many
// at a time as one read brought. Two buffers exist: while the owner works on one
// the other is being filled; if the owner keeps both, nobody reads, the TCP
// window closes and the peer slows down.
func (p *pumps) readLoop() {
	r := reader{src: p.nc, limit: func() int { return int(p.limit.Load()) }, settled: p.settled}
	for {
		var buf []byte
		select {
		case buf = <-p.free:
		case <-p.quit:
			p.drain()
			return
		}
		ch := r.next(buf)
		select {
		case p.rx <- ch:
		case <-p.quit:
			p.drain()
			return
		}
		if ch.err != nil {
			return
		}
	}
}

// settled waits until the owner has worked through everything that it was given:
// it has returned the other buffer. It returns false if the connection is to end.
func (p *pumps) settled() bool {
	select {
	case other := <-p.free:
		p.free <- other
		return true
	case <-p.quit:
		return false
	}
}

// drain discards input after the final NOTIFICATION, until the peer closes or the
// writer's deadline comes.
func (p *pumps) drain() {
	if !p.rude() {
		io.Copy(io.Discard, io.LimitReader(p.nc, drainLimit))
	}
}

// drainLimit is more than what two socket buffers hold.
const drainLimit = 16 << 20

// writeLoop sends one buffer at a time. A peer that does not read blocks this
// goroutine and nobody else.
func (p *pumps) writeLoop() {
	defer close(p.silent)
	for {
		select {
		case b := <-p.tx:
			_, err := p.nc.Write(b)
			p.txDone <- written{b, err}
			if err != nil {
				<-p.quit
				return
			}
		case <-p.quit:
			p.finish()
			return
		}
	}
}

// finish sends the final NOTIFICATION, if there is one, and closes our half of
// the connection.
func (p *pumps) finish() {
	if p.rude() {
		return
	}
	b := p.final
	select {
	case waiting := <-p.tx: // given to us, but not begun
		b = append(waiting, b...)
	default:
	}
	if len(b) > 0 {
		if _, err := p.nc.Write(b); err != nil {
			return
		}
	}
	if half, ok := p.nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		p.wait(p.nc)
		return
	}
	p.nc.Close()
}
