package bfd

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// core is all sessions of a Server at work: whose packet is it, who is due, who sends. It has
// no thread, socket or clock of its own: its shell passes the time and the packets. What calls
// it is the shell's one thread.
type core struct {
	shell shell         // what carries out what the sessions want
	now   time.Duration // of this turn

	timers  timers                               // when each session is due
	demux   bfdcore.Demux[*netnsSockets, *entry] // finds the session of a packet
	readers []*marks                             // of those that read state changes
	failing *marks                               // sessions whose packets the kernel refuses

	seed      uint32          // what turn is made of
	turn      uint32          // a random number, the same for all packets of a turn
	along     [txBatch]*entry // scratch
	discarded uint64          // packets for no session, or malformed
}

// shell is what a core runs in: the thread of an [owner], or the caller of a [DrivenServer].
type shell interface {
	// do calls f with the only right to the core, and returns when it is done. ErrClosed: the
	// sessions have ended, and f may not have been called.
	do(f func(*core)) error
	// pending reads what has arrived since the turn began. It reports whether packets wait
	// that it could not read, so that no session is to be declared dead.
	pending() bool
	// send sends the packet that e.AppendPacket makes.
	send(e *entry)
	// attached and detached are called when a session has got sockets, and before it loses
	// them.
	attached(*attachment)
	detached(e *entry)
	// watch has the shell read a socket, drop forgets one that is about to be closed.
	watch(fd int) error
	drop(fd int)
}

// newCore returns a core without sessions, and without a shell.
func newCore(seed uint32, failing *marks) *core {
	return &core{demux: bfdcore.NewDemux[*netnsSockets, *entry](), seed: seed, turn: 1, failing: failing}
}

// begin begins a turn.
func (c *core) begin(now time.Duration) {
	c.now = now
	c.turn = xorshift(c.seed ^ uint32(now/time.Microsecond) | 1)
}

// next returns when the first session wants attention. Packets that have come in have moved
// that later, which is noted here.
func (c *core) next() time.Duration {
	for len(c.timers) > 0 {
		first := c.timers[0]
		at := first.e.due()
		if at <= first.at {
			return first.at
		}
		c.timers.set(first.e, at)
	}
	return never
}

// expire serves every session that wants attention.
func (c *core) expire() {
	sent := false
	for c.next() <= c.now {
		sent = c.serve(c.timers[0].e) || sent
	}
	if sent {
		c.sendAlong()
	}
}

// serve does what is due for one session. It reports whether a packet was sent.
func (c *core) serve(e *entry) (sent bool) {
	if e.until != 0 && c.now >= e.until {
		c.forget(e)
		return false
	}
	// Perhaps something has arrived since this turn began.
	if c.now >= e.detectAt() && c.shell.pending() {
		c.timers.set(e, c.now+time.Millisecond)
		return false
	}
	f := e.Advance(c.now)
	c.effects(e, f)
	c.timers.set(e, e.due())
	return f&EffectSend != 0
}

// sendAlong sends packets that are not due yet but may go: sessions that share a wake-up
// once keep sharing it, as the packets of a turn have the same jitter. They go in the order
// of their slots: that of the heap depends on what has come in.
func (c *core) sendAlong() {
	n := 0
	for i := range c.timers {
		if e := c.timers[i].e; e.maySend(c.now) {
			c.along[n] = e
			if n++; n == len(c.along) {
				break
			}
		}
	}
	slices.SortFunc(c.along[:n], bySlot)
	for _, e := range c.along[:n] {
		c.send(e)
		c.timers.set(e, e.due())
	}
}

func bySlot(a, b *entry) int { return a.slot - b.slot }

// receive gives a packet that came in at the time at to e, the session that it is for; nil:
// none.
func (c *core) receive(e *entry, p *Packet, a *bfdcore.Arrival[*netnsSockets], at time.Duration) {
	if e == nil || e.tx == nil || e.echo || !e.binding.Takes(a) {
		c.discarded++
		return
	}
	before := e.lastRx
	effects := e.Receive(c.now, p)
	if effects&EffectRefused == 0 {
		e.lastRx = max(before, at)
	}
	if effects != 0 {
		c.effects(e, effects)
	}
	c.requeue(e)
}

// receiveEcho gives an echo packet that came back to its session.
func (c *core) receiveEcho(e *entry, p *Packet, at time.Duration) {
	before := e.lastRx
	if f := e.receiveEcho(c.now, p); f != 0 {
		c.effects(e, f)
	}
	e.lastRx = max(before, at)
	c.requeue(e)
}

// effects carries out what a session asks for.
func (c *core) effects(e *entry, f Effects) {
	if f&EffectState != 0 {
		c.publish(e)
	}
	if f&EffectSend != 0 {
		c.send(e)
	}
}

// publish marks the sessions whose state has changed for each reader.
func (c *core) publish(e *entry) {
	e.cell.write(e.fact())
	for _, m := range c.readers {
		m.mark(e.slot)
	}
}

// requeue moves a session forward in the heap if it wants attention earlier than
// before. Later needs nothing: it is looked at when its turn comes.
func (c *core) requeue(e *entry) {
	if at := e.due(); e.place < 0 || at < c.timers[e.place].at {
		c.timers.set(e, at)
	}
}

// send sends the session's packet, if there is something to send it by.
func (c *core) send(e *entry) {
	e.rng = c.turn
	if e.tx == nil || e.echo && e.toLink.halen == 0 {
		e.afterSend(c.now)
		return
	}
	c.shell.send(e)
}

// insert begins to serve a session.
func (c *core) insert(e *entry) {
	c.demux.Add(e.discr, e)
	c.requeue(e)
	c.publish(e)
}

// attach sets what a session needs to send and to receive.
func (c *core) attach(e *entry, a *attachment, f frame) {
	c.detach(e)
	e.tx, e.quiet, e.local = a.tx, a.quiet, a.local
	e.binding = bfdcore.Binding[*netnsSockets]{Space: a.space, Link: a.from, MinTTL: int32(e.minTTL), IPv6: e.key.Peer.Is6(), Multihop: e.key.Multihop}
	e.build(a, f)
	c.shell.attached(a)
	if !e.echo {
		e.source = bfdcore.Source[*netnsSockets]{Space: a.space, Peer: e.key.Peer, Local: a.local, Link: a.from, Multihop: e.key.Multihop}
		c.demux.Route(e.source, e)
	}
}

func (c *core) detach(e *entry) {
	if e.tx == nil {
		return
	}
	c.shell.detached(e)
	c.demux.Unroute(e.source, e)
	e.tx, e.quiet, e.binding = nil, nil, bfdcore.Binding[*netnsSockets]{}
}

// forget ends a session for good.
func (c *core) forget(e *entry) {
	c.timers.remove(e)
	c.detach(e)
	c.demux.Remove(e.discr)
	e.done.Store(true)
	for _, m := range c.readers {
		m.mark(e.slot)
	}
}

// linger takes a session to AdminDown and keeps it for as long as the remote
// system needs to notice (RFC 5880, Section 6.8.16).
func (c *core) linger(e *entry) {
	was := e.interval
	c.effects(e, e.SetAdminDown(c.now, true))
	e.until = c.now + time.Duration(e.mult)*min(was, slowInterval)
	if e.tx == nil {
		e.until = c.now // its last packets cannot be sent
	}
	c.requeue(e)
}

// farewell takes every session to AdminDown.
func (c *core) farewell() {
	var list []*entry
	c.demux.All(func(e *entry) { list = append(list, e) })
	slices.SortFunc(list, bySlot)
	for _, e := range list {
		c.effects(e, e.SetAdminDown(c.now, true))
	}
}

// renumber sets another discriminator of a session: it now runs somewhere else, with
// another remote system at its end.
func (c *core) renumber(e *entry, discr uint32) {
	if e.done.Load() {
		return
	}
	c.demux.Remove(e.discr)
	e.number.Store(discr)
	c.effects(e, e.restart(c.now, discr))
	c.demux.Add(e.discr, e)
	c.requeue(e)
}
