package bgptest

import (
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection in a [Network]. It treats octets as TCP does: what one end
// writes piece by piece the other reads in pieces of another size, later, and a writer waits
// once 100,000 octets are on their way. It is safe for concurrent use.
type Conn struct {
	in, out       *stream        // what this end reads, and what it writes
	local, remote netip.AddrPort // the addresses of this end and of the other
}

// newConns returns both ends of a connection; they cut at random if there is a source.
func newConns(r *rand.Rand, sizes []int, local, remote netip.AddrPort) (a, b *Conn) {
	x, y := newStream(r, sizes), newStream(r, sizes)
	return &Conn{in: x, out: y, local: local, remote: remote}, &Conn{in: y, out: x, local: remote, remote: local}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) { return c.out.write(b) }

// CloseWrite ends what this end sends: the other one reads io.EOF after it.
func (c *Conn) CloseWrite() error { c.out.finish(); return nil }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { c.in.readBy.set(c.in, t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { c.out.writeBy.set(c.out, t); return nil }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readBy.set(c.in, t)
	c.out.writeBy.set(c.out, t)
	return nil
}

// LocalAddr returns a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr returns a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Close ends the connection: what was written is still delivered.
func (c *Conn) Close() error {
	c.out.finish()
	c.in.abort()
	return nil
}

// over reports whether this end is closed, or was reset.
func (c *Conn) over() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.broken || c.in.torn
}

// stream is one direction.
type stream struct {
	mu              sync.Mutex // guards all fields
	change          *sync.Cond // on mu: a field has changed
	rand            *rand.Rand // sizes of pieces; nil: as large as they can be
	sizes           []int      // of pieces; nil: any
	size            int        // of the piece that is typical now
	buf             []byte     // written and not yet read: at most window octets
	ended           bool       // the writer is done
	broken          bool       // the reader is gone
	torn            bool       // it was reset
	held            bool       // nothing arrives
	stall           time.Time  // nor does it before then
	readBy, writeBy deadline   // of the reader, of the writer
}

// errReset is what both ends get from a connection that was reset.
var errReset = os.NewSyscallError("read", syscall.ECONNRESET)

// window is how much a stream holds before its writer must wait.
const window = 100_000

func newStream(r *rand.Rand, sizes []int) *stream {
	s := &stream{sizes: sizes}
	if r != nil {
		s.rand = rand.New(rand.NewPCG(r.Uint64(), 0))
	}
	s.change = sync.NewCond(&s.mu)
	return s
}

// deadline is when a blocked call of net.Conn returns os.ErrDeadlineExceeded.
type deadline struct {
	at    time.Time   // zero: never
	timer *time.Timer // wakes the blocked call at that time; nil: none was set yet
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
	if s.rand == nil {
		return window
	}
	if len(s.sizes) > 0 {
		return s.sizes[s.rand.IntN(len(s.sizes))]
	}
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
		case s.torn:
			return 0, errReset
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case s.held, time.Now().Before(s.stall):
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
		case s.torn:
			return n, errReset
		case s.broken:
			return n, syscall.EPIPE
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

// reset loses what is on its way.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.torn, s.buf = true, nil
	s.change.Broadcast()
}

// hold keeps everything back, or does not any more.
func (s *stream) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = on
	s.change.Broadcast()
}

// pause keeps everything back for a time.
func (s *stream) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stall = time.Now().Add(d)
	time.AfterFunc(d, s.change.Broadcast)
}
