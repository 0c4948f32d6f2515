package bgp

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// conn is one TCP connection as the owner of the peer knows it.
type conn struct {
	id            fsm.ConnID     // the machine's number for the connection
	local, remote netip.AddrPort // the ends
	limit         int            // longest message accepted
	busy          bool           // a buffer is with the writer
	writeErr      error          // why the writer ended
	stream        stream         // moves the octets
}

// stream moves the octets of a connection: the pumps of a net.Conn, or a [Connection]. None of
// its methods blocks.
type stream interface {
	// send hands messages to the writer, which is free.
	send(b []byte)
	// release gives back a buffer of input that was used up.
	release(buf []byte)
	// poll returns input that waits, if some does.
	poll() (ch chunk, ok bool)
	// unread reports whether octets have arrived that poll does not return yet.
	unread() bool
	// setLimit sets the longest message accepted.
	setLimit(n int)
	// established says that the connection has become a session with that hold time, which goes on
	// with that TTL; 0 leaves the TTL as it is.
	established(hold time.Duration, ttl int)
	// lastRead bounds the time in which input is still read, after a failed write.
	lastRead(until time.Time)
	// close ends the connection, after final was sent, if it is not empty. The peer has
	// patience to close its half, and lingerTime if that is 0. Without final and patience the
	// end comes at once. It is called once, and nothing else after it.
	close(final []byte, patience time.Duration)
}

// socket is an open connection that is not in use yet: one of start and discard is called.
type socket interface {
	// addrs returns both ends.
	addrs() (local, remote netip.AddrPort)
	// tune sets what the configuration of a peer asks of an accepted connection.
	tune(c *PeerConfig) error
	// start makes it a stream.
	start() stream
	// discard closes it at once.
	discard()
}

// chunk is input: complete messages, then perhaps the error that ended reading.
type chunk struct {
	buf []byte // whole buffer, to be given back
	n   int    // octets of complete messages at its start (or a broken header)
	err error  // why reading ended; nil: it goes on
}

// written is the report on one buffer that was handed to a writer.
type written struct {
	buf []byte // what was to be written
	err error  // nil if all of it was
}

// newConn puts a connection to use.
func newConn(id fsm.ConnID, s socket) *conn {
	c := &conn{id: id, limit: wire.MaxLen}
	c.local, c.remote = s.addrs()
	c.stream = s.start()
	return c
}

// close ends the connection. If final is not empty it is sent first, after what
// is with the writer, provided that the peer takes it within lingerTime: whoever
// does not read our UPDATEs would not read a NOTIFICATION either. Once.
func (c *conn) close(final []byte, patience time.Duration) {
	if c.writeErr != nil {
		final, patience = nil, 0
	}
	c.stream.close(final, patience)
}

// setLimit sets the longest message accepted.
func (c *conn) setLimit(n int) {
	c.limit = n
	c.stream.setLimit(n)
}

// writable reports whether the writer takes messages. One that has failed never does
// again: the reader ends the connection, once it has read what the peer had to say.
func (c *conn) writable() bool { return !c.busy && c.writeErr == nil }

// send hands messages to the writer, which must be free.
func (c *conn) send(b []byte) {
	c.busy = true
	c.stream.send(b)
}
