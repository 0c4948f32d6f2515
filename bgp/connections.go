package bgp

import (
	"time"

	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// connections are the TCP connections of a peer: that of its session, a second one while a
// collision is undecided, and one that is being opened. Only the peer's owner uses it.
type connections struct {
	run  runner    // of the peer: what dials
	info *peerInfo // of the peer: its counters

	slots   [2]slot    // the connections that the machine knows
	pending pending    // one that waits for a slot
	dialing fsm.ConnID // the attempt to connect that is under way; 0: none
	cancel  func()     // gives up dialing
}

// slot is a connection with the messages that wait for its writer.
type slot struct {
	c         *conn          // nil: the slot is empty
	info      *peerInfo      // of the peer: what is sent is counted there
	ctl       []byte         // OPEN, KEEPALIVE, ROUTE-REFRESH: at most a few
	spare     []byte         // an empty buffer for the next ctl; nil: none
	final     []byte         // the NOTIFICATION that goes with its end
	open      wire.Open      // the OPEN that we have sent
	neg       fsm.Negotiated // what the two OPENs have in common
	keepalive bool           // a KEEPALIVE is in ctl
}

// pending is a connection that has no slot yet: the machine may first have to close another
// one.
type pending struct {
	id   fsm.ConnID // the machine's number for the connection
	sock socket     // nil: nothing is pending
}

// dialed is the result of an attempt to connect.
type dialed struct {
	id   fsm.ConnID // the machine's number for the attempt
	sock socket     // nil if err is set
	err  error      // why there is no connection
}

// close closes the connection, if there is one.
func (d *dialed) close() {
	if d.sock != nil {
		d.sock.discard()
	}
}

// none reports whether there is no connection, and none that waits for a slot.
func (k *connections) none() bool {
	return k.slots[0].c == nil && k.slots[1].c == nil && k.pending.sock == nil
}

// two reports whether there are two connections.
func (k *connections) two() bool { return k.slots[0].c != nil && k.slots[1].c != nil }

// dial begins an attempt to connect.
func (k *connections) dial(id fsm.ConnID) { k.dialing, k.cancel = id, k.run.dial(id) }

// finished takes in the result of an attempt to connect, and reports whether it counts. One
// that was given up does not; its connection is closed.
func (k *connections) finished(d dialed) bool {
	if d.id != k.dialing {
		d.close()
		return false
	}
	k.stopDialing()
	if d.err == nil {
		k.pending = pending{d.id, d.sock}
	}
	return true
}

func (k *connections) stopDialing() {
	if k.cancel != nil {
		k.cancel()
	}
	k.dialing, k.cancel = 0, nil
}

// slot returns the slot of a connection. A pending one gets a slot, and its pumps.
func (k *connections) slot(id fsm.ConnID) *slot {
	for i := range k.slots {
		if c := k.slots[i].c; c != nil && c.id == id {
			return &k.slots[i]
		}
	}
	if p := k.pending; p.sock != nil && p.id == id {
		k.pending = pending{}
		for i := range k.slots {
			if k.slots[i].c == nil {
				k.slots[i] = slot{c: newConn(id, p.sock), info: k.info}
				return &k.slots[i]
			}
		}
		p.sock.discard()
	}
	return nil
}

// close closes a connection, or gives up an attempt at one. See stream for patience.
func (k *connections) close(id fsm.ConnID, patience time.Duration) {
	if id == k.dialing && k.cancel != nil {
		k.stopDialing()
		return
	}
	if s := k.slot(id); s != nil {
		s.c.close(s.final, patience)
		k.run.closed(s.c.stream)
		*s = slot{}
	}
}

// abandon closes everything as a crash would.
func (k *connections) abandon() {
	k.stopDialing()
	for i := range k.slots {
		if c := k.slots[i].c; c != nil {
			c.close(k.slots[i].final, 0)
		}
	}
}

// unread reports whether octets have arrived that a reader has not got to yet.
func (k *connections) unread() bool {
	for i := range k.slots {
		if c := k.slots[i].c; c != nil && c.stream.unread() {
			return true
		}
	}
	return false
}

// poll returns input that waits, if some does.
func (s *slot) poll() (ch chunk, ok bool) {
	if s.c == nil {
		return ch, false
	}
	return s.c.stream.poll()
}

// queue queues a message other than UPDATE.
func (s *slot) queue(t wire.MessageType, b []byte) {
	s.ctl = append(s.ctl, b...)
	s.count(t, len(b))
}

// queueKeepalive queues a KEEPALIVE, unless one waits already for a writer that is busy.
func (s *slot) queueKeepalive() {
	if !s.keepalive {
		s.keepalive = true
		s.queue(wire.TypeKeepalive, wire.AppendKeepalive(nil))
	}
}

func (s *slot) count(t wire.MessageType, octets int) {
	s.info.set(func(st *PeerStatus) { st.Sent.count(t, octets) })
}

// send hands the messages that wait to the writer, which must be free.
func (s *slot) send() {
	if len(s.ctl) > 0 {
		s.c.send(s.ctl)
		s.ctl, s.spare, s.keepalive = s.spare, nil, false
	}
}

// recycle takes back a buffer that the writer has sent.
func (s *slot) recycle(b []byte) {
	if cap(b) == sendBuffer {
		recycleSend(b)
	} else if cap(b) <= maxSpare {
		s.spare = b[:0]
	}
}

// maxSpare is how large a buffer of control messages may be that a connection retains: a few
// KEEPALIVEs are all that a quiet one sends.
const maxSpare = 64
