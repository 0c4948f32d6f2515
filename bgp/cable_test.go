package bgp

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// cable is one end of a connection in memory that treats octets as TCP does: what one end
// writes piece by piece the other reads in pieces of another size, later, and a writer
// waits when the reader does not read.
type cable struct {
	in, out       *stream
	local, remote netip.AddrPort
}

// newCable returns both ends of a connection that cuts at random.
func newCable(r *rand.Rand) (a, b *cable) {
	x, y := newStream(r), newStream(r)
	return &cable{in: x, out: y}, &cable{in: y, out: x}
}

func (c *cable) Read(b []byte) (int, error)         { return c.in.read(b) }
func (c *cable) Write(b []byte) (int, error)        { return c.out.write(b) }
func (c *cable) CloseWrite() error                  { c.out.finish(); return nil }
func (c *cable) SetReadDeadline(t time.Time) error  { c.in.readBy.set(c.in, t); return nil }
func (c *cable) SetWriteDeadline(t time.Time) error { c.out.writeBy.set(c.out, t); return nil }
func (c *cable) LocalAddr() net.Addr                { return net.TCPAddrFromAddrPort(c.local) }
func (c *cable) RemoteAddr() net.Addr               { return net.TCPAddrFromAddrPort(c.remote) }

func (c *cable) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// Close ends the connection: what was written is still delivered.
func (c *cable) Close() error {
	c.out.finish()
	c.in.abort()
	return nil
}

// stream is one direction.
type stream struct {
	mu              sync.Mutex
	change          *sync.Cond
	rand            *rand.Rand
	size            int // of the piece that is typical now
	buf             []byte
	ended           bool      // the writer is done
	broken          bool      // the reader is gone
	stall           time.Time // nothing arrives before then
	readBy, writeBy deadline
}

// window is how much a stream holds before its writer must wait.
const window = 100_000

func newStream(r *rand.Rand) *stream {
	s := &stream{rand: rand.New(rand.NewPCG(r.Uint64(), 0))}
	s.change = sync.NewCond(&s.mu)
	return s
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(s *stream, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.at = t; !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), s.change.Broadcast)
	}
	s.change.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// piece is how much the next read or write may take. Sizes come in runs, since that is
// what makes a reader change its mind.
func (s *stream) piece() int {
	if s.size == 0 || s.rand.IntN(80) == 0 {
		s.size = []int{1, 19, 100, 1448, 4096, 20000, 65536}[s.rand.IntN(7)]
	}
	if s.rand.IntN(40) == 0 {
		return 1 + s.rand.IntN(65536)
	}
	return s.size
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.broken:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case time.Now().Before(s.stall):
		case len(s.buf) > 0:
			n := copy(b[:min(len(b), s.piece())], s.buf)
			s.buf = s.buf[:copy(s.buf, s.buf[n:])]
			s.change.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

// write takes piece by piece, as the kernel does, and waits for room.
func (s *stream) write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(b) {
		room := window - len(s.buf)
		switch {
		case s.ended:
			return n, net.ErrClosed
		case s.broken:
			return n, io.ErrClosedPipe
		case s.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case room > 0:
			k := min(len(b)-n, room, s.piece())
			s.buf = append(s.buf, b[n:n+k]...)
			n += k
			s.change.Broadcast()
			continue
		}
		s.change.Wait()
	}
	return n, nil
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.change.Broadcast()
}

func (s *stream) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.buf = true, nil
	s.change.Broadcast()
}

// pause keeps everything back for a time.
func (s *stream) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stall = time.Now().Add(d)
	time.AfterFunc(d, s.change.Broadcast)
}
