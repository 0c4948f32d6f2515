package world

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// end is one end of a TCP connection, in the kernel of its machine. The network under it may
// lose, delay and block; what is written arrives in order and once, or not at all.
type end struct {
	w             *World
	port          *port
	local, remote netip.AddrPort
	peer          *end
	process       *process // whose socket it is
	handler       handler
	initiator     bool
	established   bool

	pending  []segment // written, and not under way
	arrives  time.Duration
	retry    *event
	backoff  time.Duration
	blind    int  // segments that have arrived and could not be acknowledged
	full     bool // the writer waits for room
	opened   bool // the first message was sent
	lively   bool // more was read than an OPEN and a KEEPALIVE
	heard    int  // segments read
	unread   []segment
	size     int  // octets of unread
	closed   bool // nothing is sent any more, and what comes is answered by a reset
	gone     bool // the kernel has forgotten it
	stalled  time.Duration
	id       uint64        // of its probes
	answered time.Duration // when the other end was heard last, see probe
	deadline *event        // of half-closed connections
}

// segment is data, or an end of the stream.
type segment struct {
	data    []byte
	end     error // io.EOF or a reset; nil: data
	routine bool  // a KEEPALIVE of a session that is up
}

// keepaliveSize is the size of a KEEPALIVE (RFC 4271, Section 4.4).
const keepaliveSize = 19

// handler is what a process does with its connections.
type handler interface {
	dialed(*end, error)
	input(*end, []byte)
	ended(*end, error)
	written(*end)
}

type endKey struct{ local, remote netip.AddrPort }

const (
	firstRetry   = 200 * time.Millisecond // the least retransmission timeout of Linux
	longestRetry = 2 * time.Minute        // and its greatest
	sendBuffer   = 256 << 10
	receiveRoom  = 128 << 10
	// synTimeout is when Linux gives up to connect, with net.ipv4.tcp_syn_retries 6.
	synTimeout = 127 * time.Second
)

var (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
	errTimeout = syscall.ETIMEDOUT
	errNoRoute = errors.New("no route to host")
)

// bgpPort is where speakers listen.
const bgpPort = 179

// dial begins to open a connection. The outcome comes as a call of h.dialed, unless the end is
// aborted before.
func (w *World) dial(p *process, from *port, remote netip.Addr, h handler) *end {
	p.ports++
	e := &end{
		w: w, port: from, process: p, handler: h, initiator: true,
		local: netip.AddrPortFrom(from.local(remote), 32768+p.ports%28000), remote: netip.AddrPortFrom(remote, bgpPort),
	}
	e.port.machine.ends[e.key()] = e
	e.syn(time.Second, w.now+synTimeout)
	return e
}

func (e *end) key() endKey { return endKey{e.local, e.remote} }

// syn sends the first packet of a connection, and again until something comes back.
func (e *end) syn(again, until time.Duration) {
	if e.gone || e.established {
		return
	}
	w := e.w
	if w.now >= until {
		e.forget()
		e.process.do(e, func() { e.handler.dialed(e, errTimeout) })
		return
	}
	e.retry = w.after(again, func() { e.syn(2*again, until) })
	to := e.port.fabric.ports[e.remote.Addr()]
	w.packet(e.port, to, func() { w.arrived(e, to) })
}

// listener returns the speaker that accepts connections to an address of a machine, nil if none does.
func (m *machine) listener(at netip.Addr) *transport {
	for _, t := range m.listeners {
		if slices.ContainsFunc(t.speaker.ListenAddrs(), func(a netip.AddrPort) bool { return a.Addr() == at }) {
			return t
		}
	}
	return nil
}

// arrived takes the first packet of a connection at its destination.
func (w *World) arrived(from *end, to *port) {
	m := to.machine
	if have := m.ends[endKey{from.remote, from.local}]; have != nil && have.peer == from {
		w.packet(to, from.port, func() { from.connected(have) })
		return
	}
	l := m.listener(from.remote.Addr())
	if l == nil || l.process.state == dead {
		w.packet(to, from.port, func() { from.refused(errRefused) })
		return
	}
	p := l.process
	e := &end{w: w, port: to, process: p, local: from.remote, remote: from.local, peer: from, established: true}
	m.ends[e.key()] = e
	e.watch()
	p.do(e, func() {
		if e.gone {
			return
		}
		if h := l.accept(e); h != nil {
			e.handler = h
			e.read()
		} else {
			e.abort()
		}
	})
	w.packet(to, from.port, func() { from.connected(e) })
}

// connected takes the answer to the first packet.
func (e *end) connected(peer *end) {
	if e.gone || e.established {
		return
	}
	e.w.cancel(e.retry)
	e.peer, e.established, e.retry = peer, true, nil
	e.watch()
	e.process.do(e, func() { e.handler.dialed(e, nil) })
	e.w.after(time.Nanosecond, peer.pump)
}

func (e *end) refused(err error) {
	if e.gone || e.established {
		return
	}
	e.forget()
	e.process.do(e, func() { e.handler.dialed(e, err) })
}

// String returns the addresses of the end.
func (e *end) String() string { return fmt.Sprintf("TCP %v %v", e.local.Addr(), e.remote.Addr()) }

// forget removes the end from its kernel.
func (e *end) forget() {
	e.gone, e.closed, e.pending, e.unread, e.size = true, true, nil, nil, 0
	e.w.cancel(e.retry)
	e.w.cancel(e.deadline)
	if e.port.machine.ends[e.key()] == e {
		delete(e.port.machine.ends, e.key())
	}
}

// send writes data. The handler hears of it by written, as soon as the kernel has room for more.
func (e *end) send(b []byte) {
	if e.closed {
		return
	}
	e.pending = append(e.pending, e.segments(b)...)
	e.pump()
	e.room()
}

// room tells the writer when there is room.
func (e *end) room() {
	n := 0
	for _, s := range e.pending {
		n += len(s.data)
	}
	if e.full = n > sendBuffer; !e.full {
		e.process.put(e, func() {
			if !e.closed {
				e.handler.written(e)
			}
		}, true)
	}
}

// finish closes the end after what was written; whatever comes is not read any more.
func (e *end) finish() {
	if e.closed {
		return
	}
	e.closed = true
	e.pending = append(e.pending, segment{end: io.EOF})
	e.deadline = e.w.after(time.Minute, e.forget)
	e.pump()
}

// abort ends the connection at once, by a reset.
func (e *end) abort() {
	if e.gone {
		return
	}
	peer := e.peer
	if peer != nil && e.established {
		e.w.packet(e.port, peer.port, func() { peer.takeReset() })
	}
	e.forget()
}

// exit is what the kernel does with the end of a process that has ended: a reset if something
// was not read, the end of the stream otherwise.
func (e *end) exit() {
	switch {
	case !e.established || len(e.unread) > 0:
		e.abort()
	case !e.closed:
		e.finish()
	}
}

func (e *end) takeReset() { e.fail(errReset) }

// fail is the end of a connection that the process has not asked for.
func (e *end) fail(err error) {
	if e.gone {
		return
	}
	closed := e.closed
	e.forget()
	if !closed {
		e.process.do(e, func() {
			if e.handler != nil {
				e.handler.ended(e, err)
			}
		})
	}
}

// probeInterval and probeTime are how often TCP asks whether the other end is there, and how long it waits
// for an answer: those of bgp's sockets.
const (
	probeInterval = 5 * time.Second
	probeTime     = 20 * time.Second
)

// watch begins to ask whether the other end is there. It goes on until the session is up.
func (e *end) watch() {
	e.id, e.answered = name("probe "+e.local.String()+" "+e.remote.String()), e.w.now
	e.askLater()
}

// askLater has probe called. How often that is, nobody else must notice.
func (e *end) askLater() { e.w.atOf(e.id, e.w.now+probeInterval, e.probe) }

// probe asks, unless something is sent again anyway. That takes no time.
func (e *end) probe() {
	w := e.w
	if e.gone || e.closed || e.lively {
		return
	}
	to := e.peer
	passes := func(a, b *port, what uint64) bool {
		return passes(a, b) && float64(w.chance(e.id, what)>>11)/(1<<53) >= a.impaired.loss
	}
	if len(e.pending) == 0 && w.now >= e.stalled && passes(e.port, to.port, 0) && passes(to.port, e.port, 1) {
		if to.gone {
			e.takeReset()
			return
		}
		e.answered = w.now
	}
	if w.now-e.answered >= probeTime {
		e.fail(errTimeout)
		return
	}
	e.askLater()
}

// pump sends what is pending, as far as the network takes it.
func (e *end) pump() {
	w := e.w
	for len(e.pending) > 0 && e.retry == nil && !e.gone && e.peer != nil && e.peer.established {
		s := e.pending[0]
		to := e.peer
		if w.now < e.stalled || !passes(e.port, to.port) || w.lost(e.port) || to.size > receiveRoom && s.end == nil || e.unacknowledged() {
			e.backoff = min(max(2*e.backoff, firstRetry), longestRetry)
			e.retry = w.after(e.backoff, func() { e.retry = nil; e.pump() })
			w.Counts.Retransmissions++
			return
		}
		if e.backoff = 0; !passes(to.port, e.port) {
			e.blind++
		} else {
			e.blind, e.answered = 0, w.now
		}
		e.pending = e.pending[1:]
		e.arrives = max(e.arrives+time.Nanosecond, w.now+w.delay(e.port))
		s.routine = s.end == nil && len(s.data) == keepaliveSize && e.lively
		w.carry(e.port, to.port, &transit{at: e.arrives, routine: s.routine, name: s.String(), sender: e, data: s.data, do: func() { to.take(s) }})
	}
	if e.full && len(e.pending) == 0 {
		e.room()
	}
	if e.closed && len(e.pending) == 0 && !e.gone && e.peer != nil && e.peer.closed {
		e.forget()
	}
}

// window is how many segments Linux sends without an acknowledgement at the start (RFC 6928,
// Section 2).
const window = 10

// unacknowledged reports whether TCP waits for the other end to acknowledge something: what has
// arrived there counts, but nothing more is sent.
func (e *end) unacknowledged() bool {
	return e.blind >= window && !passes(e.peer.port, e.port)
}

// take takes a segment that has arrived.
func (e *end) take(s segment) {
	w := e.w
	if e.gone || e.closed && s.end == nil {
		if e.port.machine.alive && e.peer != nil {
			w.packet(e.port, e.peer.port, func() { e.peer.takeReset() })
		}
		return
	}
	if e.closed {
		if len(e.pending) == 0 {
			e.forget()
		}
		return
	}
	e.answered = w.now
	e.unread = append(e.unread, s)
	e.size += len(s.data)
	if e.handler != nil {
		e.process.put(e, e.read, s.routine)
	}
}

// read hands what has arrived to the process.
func (e *end) read() {
	for len(e.unread) > 0 && !e.closed {
		s := e.unread[0]
		e.unread = e.unread[1:]
		e.size -= len(s.data)
		e.heard++
		e.lively = e.heard > 2
		if s.end != nil {
			e.handler.ended(e, s.end)
			return
		}
		e.handler.input(e, s.data)
	}
}

// crash forgets every connection of a machine, as its death does. Nobody is told.
func (m *machine) crash() {
	for _, e := range m.sorted() {
		e.forget()
	}
}

// sorted returns the connections in an order that does not depend on the map's.
func (m *machine) sorted() []*end {
	list := make([]*end, 0, len(m.ends))
	for _, e := range m.ends {
		list = append(list, e)
	}
	sortEnds(list)
	return list
}
