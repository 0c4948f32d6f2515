package bgp

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
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

// conn is one TCP connection with its two pumps. The owner of the peer talks to
// them through channels only; the pumps hold no state of the protocol.
type conn struct {
	id            fsm.ConnID     // the machine's number for the connection
	nc            net.Conn       // the connection; the pumps read and write it
	local, remote netip.AddrPort // the ends of nc

	rx     chan chunk    // reader to owner: complete messages
	free   chan []byte   // owner to reader: a buffer that was used up
	tx     chan []byte   // owner to writer: messages to send
	txDone chan written  // writer to owner: the buffer back
	quit   chan struct{} // closed by the owner: the pumps shall end
	silent chan struct{} // closed by the writer: nothing more will be sent
	final  []byte        // the last NOTIFICATION; set before quit is closed
	patient
	limit atomic.Int32 // longest message accepted

	busy     bool  // owner's: a buffer is with the writer
	writeErr error // owner's: why the writer ended
}

// chunk is input: complete messages, then perhaps the error that ended reading.
type chunk struct {
	buf []byte // whole buffer, to be given back
	n   int    // octets of complete messages at its start (or a broken header)
	err error  // why reading ended; nil: it goes on
}

// written is the writer's report on one buffer.
type written struct {
	buf []byte // what was to be written
	err error  // nil if all of it was
}

// newConn starts the pumps of nc. done is called when both have ended and nc is
// closed.
func newConn(id fsm.ConnID, nc net.Conn, wg *sync.WaitGroup, done func()) *conn {
	c := &conn{
		id: id, nc: nc,
		local: addrPort(nc.LocalAddr()), remote: addrPort(nc.RemoteAddr()),
		rx: make(chan chunk, 1), free: make(chan []byte, 2),
		tx: make(chan []byte, 1), txDone: make(chan written, 1),
		quit: make(chan struct{}), silent: make(chan struct{}),
	}
	c.limit.Store(wire.MaxLen)
	c.free <- nil
	c.free <- nil
	var pumps sync.WaitGroup
	pumps.Go(c.readLoop)
	pumps.Go(c.writeLoop)
	wg.Go(func() {
		pumps.Wait()
		c.unhook()
		nc.Close()
		if done != nil {
			done()
		}
	})
	return c
}

// rude says that the connection ends without waiting for anything.
func (c *conn) rude() bool { return len(c.final) == 0 && c.time == 0 }

// close ends the connection. If final is not empty it is sent first, after what
// is with the writer, provided that the peer takes it within lingerTime: whoever
// does not read our UPDATEs would not read a NOTIFICATION either. Owner only,
// once.
func (c *conn) close(final []byte) {
	c.final = final
	if c.rude() || c.writeErr != nil {
		close(c.quit)
		c.nc.Close()
		return
	}
	c.hook(c.nc)
	c.nc.SetDeadline(time.Now().Add(lingerTime))
	close(c.quit)
}

// writable reports whether the writer takes messages. One that has failed never does
// again: the reader ends the connection, once it has read what the peer had to say.
// Owner only.
func (c *conn) writable() bool { return !c.busy && c.writeErr == nil }

// send hands messages to the writer, which must be free. Owner only.
func (c *conn) send(b []byte) {
	c.busy = true
	c.tx <- b
}
