package bgp

import (
	"encoding/binary"
	"io"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// readLoop frames the stream and hands complete messages to the owner, as many
// at a time as one read brought. Two buffers exist: while the owner works on one
// the other is being filled; if the owner keeps both, nobody reads, the TCP
// window closes and the peer slows down.
func (c *conn) readLoop() {
	r := reader{src: c.nc, limit: func() int { return int(c.limit.Load()) }, settled: c.settled, size: smallBuffer}
	for {
		var buf []byte
		select {
		case buf = <-c.free:
		case <-c.quit:
			c.drain()
			return
		}
		ch := r.next(buf)
		select {
		case c.rx <- ch:
		case <-c.quit:
			c.drain()
			return
		}
		if ch.err != nil {
			return
		}
	}
}

// settled waits until the owner has worked through everything that it was given:
// it has returned the other buffer. It returns false if the connection is to end.
func (c *conn) settled() bool {
	select {
	case other := <-c.free:
		c.free <- other
		return true
	case <-c.quit:
		return false
	}
}

// drain discards input after the final NOTIFICATION, until the peer closes or the
// writer's deadline comes.
func (c *conn) drain() {
	if !c.rude() {
		io.Copy(io.Discard, io.LimitReader(c.nc, drainLimit))
	}
}

// drainLimit is more than what two socket buffers hold.
const drainLimit = 16 << 20

// reader cuts a stream into messages. It keeps what it has read of the next one
// in carry, so that a buffer that is handed over is the owner's alone.
type reader struct {
	src   io.Reader
	limit func() int // longest message accepted now
	// settled waits until limit has taken account of all messages returned so far.
	settled func() bool
	carry   []byte
	size    int // of the next buffer
	quiet   int // small reads in a row
}

// errFraming ends reading after a header with an impossible length: what follows
// cannot be found. The owner sees the header and says what is wrong with it.
var errFraming = io.ErrUnexpectedEOF

// next returns at least one complete message, or an error, or both.
//
// A length beyond the limit may become right by the messages before it: those that
// establish a session with extended messages (RFC 8654). So these are returned
// first, and the verdict waits until they have been understood.
func (r *reader) next(buf []byte) chunk {
	if cap(buf) != r.size {
		buf = make([]byte, r.size)
	}
	buf = buf[:cap(buf)]
	have := copy(buf, r.carry)
	r.carry = r.carry[:0]
	for {
		whole, bad := complete(buf[:have], r.limit())
		if bad && whole == 0 && r.settled() {
			whole, bad = complete(buf[:have], r.limit())
		}
		switch {
		case whole > 0:
			r.carry = append(r.carry, buf[whole:have]...)
			return chunk{buf: buf, n: whole}
		case bad:
			return chunk{buf: buf, n: wire.HeaderLen, err: errFraming}
		}
		if have == len(buf) { // one message, longer than the buffer
			r.size = largeBuffer
			buf = append(make([]byte, 0, largeBuffer), buf...)[:largeBuffer]
		}
		n, err := r.src.Read(buf[have:])
		have += n
		r.adapt(n, have == len(buf))
		if err != nil {
			return r.last(buf, have, err)
		}
	}
}

// last returns the complete messages that came with an error.
func (r *reader) last(buf []byte, have int, err error) chunk {
	whole, _ := complete(buf[:have], r.limit())
	return chunk{buf: buf, n: whole, err: err}
}

// adapt chooses the size of the next buffer: large once a read has filled one,
// small again after a while of small reads.
func (r *reader) adapt(n int, full bool) {
	switch {
	case full:
		r.size, r.quiet = largeBuffer, 0
	case n > smallBuffer:
		r.quiet = 0
	case r.size == largeBuffer:
		if r.quiet++; r.quiet >= quietReads && len(r.carry) < smallBuffer {
			r.size, r.quiet = smallBuffer, 0
		}
	}
}

// complete returns the length of the complete messages at the start of b. bad says
// that the length in the header behind them is impossible.
func complete(b []byte, limit int) (n int, bad bool) {
	for len(b)-n >= wire.HeaderLen {
		size := int(binary.BigEndian.Uint16(b[n+16:]))
		if size < wire.HeaderLen || size > limit {
			return n, true
		}
		if len(b)-n < size {
			break
		}
		n += size
	}
	return n, false
}
