package bgp

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// reader cuts a stream into messages.
//
// Between two calls of next every octet that was read and not handed over is in rest, and
// during a call it is in next's buffer: there is no third place. Octets move between the
// two by append only, which makes room where there is none, so that whatever the sizes of
// buffers are, none is left behind.
type reader struct {
	src   io.Reader  // the stream
	limit func() int // longest message accepted now
	// settled waits until limit has taken account of all messages returned so far.
	settled func() bool
	rest    []byte // the beginning of a message
	large   bool   // buffers are large
	quiet   int    // small reads in a row
}

// errFraming ends reading after a header with an impossible length: what follows
// cannot be found. The owner sees the header and says what is wrong with it.
var errFraming = io.ErrUnexpectedEOF

// next returns at least one complete message, or an error, or both. It reuses buf, which
// is one that it returned before, or nil.
//
// A length beyond the limit may become right by the messages before it: those that
// establish a session with extended messages (RFC 8654, Section 4). So these are returned
// first, and the verdict waits until they have been understood.
func (r *reader) next(buf []byte) chunk {
	buf = append(r.resize(buf), r.rest...)
	r.rest = r.rest[:0]
	for {
		ch, ok := cut(buf, r.limit())
		if ch.err != nil && r.settled() {
			ch, ok = cut(buf, r.limit())
		}
		if ok {
			if ch.err == nil {
				r.rest = append(r.rest, buf[ch.n:]...)
			}
			return ch
		}
		if len(buf) == cap(buf) { // one message, longer than the buffer
			r.large = true
			buf = append(r.resize(nil), buf...)
		}
		n, err := r.src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		r.note(n, len(buf) == cap(buf))
		if err != nil {
			whole, _ := complete(buf, r.limit())
			return chunk{buf: buf, n: whole, err: err}
		}
	}
}

// note takes in how much a read brought, and whether it filled the buffer.
func (r *reader) note(n int, full bool) {
	switch {
	case full:
		r.large, r.quiet = true, 0
	case n > smallBuffer:
		r.quiet = 0
	default:
		r.quiet++
	}
}

// resize returns an empty buffer of the size that the next read deserves: large once a
// read has filled one, small again after a few small reads, provided that there is no
// beginning of a message, which may be long.
func (r *reader) resize(buf []byte) []byte {
	if r.large && r.quiet >= quietReads && len(r.rest) == 0 {
		r.large, r.rest = false, nil
	}
	if r.large == (cap(buf) >= largeBuffer) && buf != nil {
		return buf[:0]
	}
	recycle(buf)
	if r.large {
		return readBuffers.Get().(*[largeBuffer]byte)[:0]
	}
	return make([]byte, 0, smallBuffer)
}

// readBuffers are the large buffers of readers. A session has them only while it is busy.
var readBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// recycle takes back a buffer that neither reader nor owner will touch again.
func recycle(buf []byte) {
	if cap(buf) == largeBuffer {
		readBuffers.Put((*[largeBuffer]byte)(buf[:largeBuffer]))
	}
}

// cut returns the complete messages at the start of buf; or, if there is none, a header with an
// impossible length and errFraming. It reports false if there is neither.
func cut(buf []byte, limit int) (ch chunk, ok bool) {
	switch whole, bad := complete(buf, limit); {
	case whole > 0:
		return chunk{buf: buf, n: whole}, true
	case bad:
		return chunk{buf: buf, n: wire.HeaderLen, err: errFraming}, true
	}
	return chunk{}, false
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
