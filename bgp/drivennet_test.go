package bgp

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// drivenNet is a network of driven speakers under virtual time. It cuts streams at random, and
// writes down every octet that is sent.
type drivenNet struct {
	now   time.Time
	rand  *rand.Rand
	queue []netEvent // what is to happen, in order
	seq   int
	hosts []*drivenHost // in the order of their addresses
	conns []*wireEnd    // both ends of those that are open
	cuts  [][2]netip.Addr
	trace []string
	wrong []string // promises of Connection that a speaker broke
}

// netEvent is something that is to happen.
type netEvent struct {
	at  time.Time
	seq int
	do  func()
}

// drivenHost is a host of a drivenNet, on which a speaker runs at times. It is its Transport.
type drivenHost struct {
	n       *drivenNet
	addr    netip.Addr
	s       *Speaker // nil: none runs
	stopped bool     // it does not run for a while
	waits   []func() // what has arrived meanwhile
	life    int      // counts speakers
	dials   []*wireAttempt
}

type wireAttempt struct {
	a    *Attempt
	over bool
}

// wireEnd is one end of a connection.
type wireEnd struct {
	n             *drivenNet
	host          *drivenHost
	life          int // of the speaker that it belongs to
	local, remote netip.AddrPort
	other         *wireEnd
	wire          []byte    // sent and not yet delivered
	unreported    bool      // Sent is due when wire is short
	fin           bool      // the end of the stream follows wire
	closed        bool      // our program is done with it
	stall         time.Time // nothing is delivered before
	moving        bool      // a delivery is in the queue
}

// wireWindow is how much an end may have on its way.
const wireWindow = 64 << 10

func newDrivenNet(seed uint64, now time.Time) *drivenNet {
	return &drivenNet{now: now, rand: rand.New(rand.NewPCG(seed, 0))}
}

func (n *drivenNet) note(format string, args ...any) {
	n.trace = append(n.trace, fmt.Sprintf("%v ", n.now.Format("15:04:05.000000"))+fmt.Sprintf(format, args...))
}

// after has something happen later.
func (n *drivenNet) after(d time.Duration, do func()) {
	n.seq++
	e := netEvent{n.now.Add(d), n.seq, do}
	i, _ := slices.BinarySearchFunc(n.queue, e, func(a, b netEvent) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
	})
	n.queue = slices.Insert(n.queue, i, e)
}

// latency is how long a packet takes.
func (n *drivenNet) latency() time.Duration {
	return 100*time.Microsecond + time.Duration(n.rand.IntN(900))*time.Microsecond
}

func (n *drivenNet) host(addr netip.Addr) *drivenHost {
	i, ok := slices.BinarySearchFunc(n.hosts, addr, func(h *drivenHost, a netip.Addr) int { return h.addr.Compare(a) })
	if !ok {
		n.hosts = slices.Insert(n.hosts, i, &drivenHost{n: n, addr: addr})
	}
	return n.hosts[i]
}

// next returns when something happens next; zero: never.
func (n *drivenNet) next() (at time.Time) {
	if len(n.queue) > 0 {
		at = n.queue[0].at
	}
	for _, h := range n.hosts {
		if h.s != nil && !h.stopped {
			at = earliest(at, h.s.Driver().Deadline())
		}
	}
	return at
}

// step does what is due: what arrives goes before what expires.
func (n *drivenNet) step() {
	for len(n.queue) > 0 && !n.now.Before(n.queue[0].at) {
		e := n.queue[0]
		n.queue = n.queue[1:]
		e.do()
	}
	for _, h := range n.hosts {
		if h.s != nil && !h.stopped && due(n.now, h.s.Driver().Deadline()) {
			h.s.Driver().Advance(n.now)
		}
	}
}

// run has the speaker of a host do something, as soon as it runs.
func (h *drivenHost) run(life int, f func(d *Driver)) {
	g := func() {
		if h.s != nil && h.life == life {
			f(h.s.Driver())
		}
	}
	if h.stopped {
		h.waits = append(h.waits, g)
	} else {
		g()
	}
}

// resume lets a stopped speaker go on: what has arrived comes first.
func (h *drivenHost) resume() {
	h.stopped = false
	waits := h.waits
	h.waits = nil
	for _, f := range waits {
		f()
	}
}

// kill ends the speaker as a crash does.
func (h *drivenHost) kill() {
	if h.s != nil {
		h.s.Driver().Stop()
		h.s, h.stopped, h.waits = nil, false, nil
	}
}

func (h *drivenHost) Now() time.Time { return h.n.now }

func (h *drivenHost) Dial(a *Attempt) {
	w := &wireAttempt{a: a}
	h.dials = append(h.dials, w)
	life := h.life
	h.n.note("%v dials %v", h.addr, a.Remote)
	var try func()
	try = func() {
		if w.over {
			return
		}
		if last, ok := a.After.(*wireEnd); ok && len(last.wire) > 0 || h.n.isCut(h.addr, a.Remote.Addr()) {
			h.n.after(50*time.Millisecond, try)
			return
		}
		near, far := h.n.connect(h, a.Remote)
		taken := false
		if t := far.host; t.s != nil && !t.stopped {
			far.life, far.moving = t.life, true // nothing arrives before the connection is there
			taken = t.s.Driver().Accept(far)
		}
		h.n.after(h.n.latency(), func() {
			if taken {
				h.n.conns = append(h.n.conns, near, far)
				h.run(life, func(d *Driver) { d.Dialed(a, near, nil) })
				far.moving = false
				far.move()
			} else {
				h.run(life, func(d *Driver) { d.Dialed(a, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)) })
			}
		})
	}
	h.n.after(h.n.latency(), try)
}

func (h *drivenHost) Cancel(a *Attempt) {
	h.n.note("%v gives up %v", h.addr, a.Remote)
	for _, w := range h.dials {
		if w.a == a {
			w.over = true
		}
	}
}

func (n *drivenNet) connect(h *drivenHost, to netip.AddrPort) (near, far *wireEnd) {
	from := netip.AddrPortFrom(h.addr, uint16(40000+n.rand.IntN(20000)))
	near = &wireEnd{n: n, host: h, life: h.life, local: from, remote: to}
	far = &wireEnd{n: n, host: n.host(to.Addr()), local: to, remote: from, other: near}
	near.other = far
	return near, far
}

func (w *wireEnd) LocalAddr() netip.AddrPort  { return w.local }
func (w *wireEnd) RemoteAddr() netip.AddrPort { return w.remote }

func (w *wireEnd) Send(b []byte) {
	if w.closed || w.unreported {
		w.n.wrong = append(w.n.wrong, fmt.Sprintf("%v: Send, closed %v, busy %v", w.local, w.closed, w.unreported))
	}
	h := fnv.New64a()
	h.Write(b)
	w.n.note("%v sends %v %d octets %x", w.local, w.remote, len(b), h.Sum64())
	w.wire = append(w.wire, b...)
	w.unreported = true
	w.move()
}

func (w *wireEnd) Close(final []byte, patience time.Duration) {
	if w.closed {
		w.n.wrong = append(w.n.wrong, fmt.Sprintf("%v: closed twice", w.local))
	}
	w.n.note("%v closes %v %x %v", w.local, w.remote, final, patience)
	w.wire = append(w.wire, final...)
	w.closed, w.fin = true, true
	w.move()
}

// move brings the next piece over, later.
func (w *wireEnd) move() {
	if w.moving || len(w.wire) == 0 && !w.fin && !w.unreported {
		return
	}
	w.moving = true
	d := w.n.latency()
	if wait := w.stall.Sub(w.n.now); wait > d {
		d = wait
	}
	w.n.after(d, func() {
		w.moving = false
		if w.n.isCut(w.local.Addr(), w.remote.Addr()) || w.n.now.Before(w.stall) {
			w.n.after(200*time.Millisecond, w.move) // TCP sends it again
			return
		}
		w.deliver()
		w.move()
	})
}

// deliver hands over one piece, or the end.
func (w *wireEnd) deliver() {
	to := w.other
	if k := min(len(w.wire), 1+w.n.rand.IntN([]int{1, 19, 100, 1448, 20000, wireWindow}[w.n.rand.IntN(6)])); k > 0 {
		piece := slices.Clone(w.wire[:k])
		w.wire = w.wire[k:]
		to.host.run(to.life, func(d *Driver) { d.Input(to, piece) })
	} else if w.fin {
		w.fin = false
		to.host.run(to.life, func(d *Driver) { d.Closed(to, io.EOF) })
		w.n.forget()
	}
	if w.unreported && len(w.wire) < wireWindow/2 {
		w.unreported = false
		w.host.run(w.life, func(d *Driver) { d.Sent(w, nil) })
	}
}

// forget drops connections that both ends are done with.
func (n *drivenNet) forget() {
	n.conns = slices.DeleteFunc(n.conns, func(w *wireEnd) bool { return w.closed && w.other.closed })
}

// between returns the ends on a of the connections between two hosts.
func (n *drivenNet) between(a, b netip.Addr) (ends []*wireEnd) {
	for _, w := range n.conns {
		if w.local.Addr() == a && w.remote.Addr() == b {
			ends = append(ends, w)
		}
	}
	return ends
}

func (n *drivenNet) reset(a, b netip.Addr) {
	for _, w := range n.between(a, b) {
		for _, e := range []*wireEnd{w, w.other} {
			e.wire, e.fin = nil, false
			e.host.run(e.life, func(d *Driver) { d.Closed(e, os.NewSyscallError("read", syscall.ECONNRESET)) })
		}
	}
	n.forget()
}

func (n *drivenNet) isCut(a, b netip.Addr) bool {
	return slices.Contains(n.cuts, [2]netip.Addr{a, b}) || slices.Contains(n.cuts, [2]netip.Addr{b, a})
}
