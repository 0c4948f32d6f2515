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
	r := reader{src: c.nc, limit: func() int { return int(c.limit.Load()) }, size: smallBuffer}
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

// drain discards input after the final NOTIFICATION, until the peer closes or the
// writer's deadline comes.
func (c *conn) drain() {
	if len(c.final) > 0 {
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
	carry []byte
	size  int // of the next buffer
	quiet int // small reads in a row
}

// errFraming ends reading after a header with an impossible length: what follows
// cannot be found. The owner sees the header and says what is wrong with it.
var errFraming = io.ErrUnexpectedEOF

// next returns at least one complete message, or an error, or both.
func (r *reader) next(buf []byte) chunk {
	if cap(buf) != r.size {
		buf = make([]byte, r.size)
	}
	buf = buf[:cap(buf)]
	have := copy(buf, r.carry)
	r.carry = r.carry[:0]
	for {
		if have == len(buf) { // one message, longer than the buffer
			r.size = largeBuffer
			buf = append(make([]byte, 0, largeBuffer), buf...)[:largeBuffer]
		}
		n, err := r.src.Read(buf[have:])
		have += n
		r.adapt(n, have == len(buf))
		whole, bad := complete(buf[:have], r.limit())
		if bad {
			return chunk{buf: buf, n: whole, err: errFraming}
		}
		if whole > 0 || err != nil {
			r.carry = append(r.carry, buf[whole:have]...)
			return chunk{buf: buf, n: whole, err: err}
		}
	}
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

// complete returns the length of the complete messages at the start of b. If the
// next header's length is impossible, bad is true and the header is counted in.
func complete(b []byte, limit int) (n int, bad bool) {
	for len(b)-n >= wire.HeaderLen {
		size := int(binary.BigEndian.Uint16(b[n+16:]))
		if size < wire.HeaderLen || size > limit {
			return n + wire.HeaderLen, true
		}
		if len(b)-n < size {
			break
		}
		n += size
	}
	return n, false
}
