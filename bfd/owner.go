package bfd

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// owner holds all sessions, on one thread. No other thread touches its fields while it
// runs.
type owner struct {
	clock
	poller  poller        // waits for the sockets and the timers
	now     time.Duration // of this turn
	wall    int64         // time of day at now, nanoseconds since 1970
	drained time.Duration // when every socket was last read empty

	timers  timers                               // when each session is due
	demux   bfdcore.Demux[*netnsSockets, *entry] // finds the session of a packet
	sockets map[int]*rxSocket                    // by descriptor
	senders []*txSocket                          // sockets with a batch
	ring    *ring                                // what a recvmmsg fills
	ready   [16]int                              // descriptors that have something to read

	commands chan func(*owner) // functions for the owner
	asked    bool              // there are commands
	readers  []*marks          // of those that read state changes
	failing  *marks            // sessions whose packets the kernel refuses
	ended    chan struct{}     // closed when the owner has stopped
	stop     bool              // it is to stop
	broken   error             // why it stopped
	pause    chan bool         // another process is to have everything; false: go on

	seed      uint32          // what turn is made of
	turn      uint32          // a random number, the same for all packets of a turn
	along     [txBatch]*entry // scratch
	received  int             // packets in this turn
	heard     bool            // every socket was looked at since the turn began
	backlog   int             // turns in a row in which a socket could not be emptied
	discarded uint64          // packets for no session, or malformed
}

const (
	// nap is the longest sleep during which packets are left to gather: they are read
	// together with the timers that end it.
	nap = 2 * time.Millisecond
	// crowd is how many packets in one turn promise more: they are left to gather for a
	// nap.
	crowd = 4
	// patience is how often in a row no session is declared dead because a socket could not
	// be emptied: a flood must not keep dead sessions alive.
	patience = 8
)

// newOwner returns an owner without a poller.
func newOwner(c clock, seed uint32) *owner {
	o := &owner{
		clock: c, demux: bfdcore.NewDemux[*netnsSockets, *entry](), sockets: map[int]*rxSocket{}, seed: seed, turn: 1,
		ring: newRing(), commands: make(chan func(*owner), 16), failing: newMarks(), ended: make(chan struct{}),
	}
	o.tick()
	return o
}

func (o *owner) tick() { o.now, o.wall = o.both() }

// loop is the life of the thread: read everything, then let timers run out, then
// send, then sleep until the next one. The order matters: a packet that waits
// must count before its session is declared dead.
func (o *owner) loop() {
	for !o.stop {
		if o.pause != nil {
			o.stop = <-o.pause
			o.pause = nil
			continue
		}
		n := o.sleep()
		o.tick()
		o.turn = xorshift(o.seed ^ uint32(o.now/time.Microsecond) | 1)
		o.received, o.heard = 0, false
		o.read(n)
		if o.asked {
			o.command()
		}
		if o.pause == nil {
			o.expire()
		}
		o.flush()
	}
	close(o.ended)
}

// sleep waits for the next timer, and for packets unless it is near. It returns how many
// descriptors are ready.
func (o *owner) sleep() int {
	d := time.Hour
	if len(o.timers) > 0 {
		d = o.timers[0].at - o.clock.now()
	}
	switch {
	case d <= 0, o.asked:
		d = 0
	case d <= nap, o.received > crowd:
		o.poller.rest(min(d, nap))
		d = 0
	}
	return o.poll(d)
}

// poll looks which sockets have something, after d at the latest. Without a kernel that
// answers the loop ends.
func (o *owner) poll(d time.Duration) int {
	n, err := o.poller.poll(o.ready[:], d)
	if err != nil {
		o.broken, o.stop = err, true
	}
	return n
}

// read empties every socket that has something.
func (o *owner) read(n int) {
	empty := true
	for {
		for _, fd := range o.ready[:n] {
			if s := o.sockets[fd]; s != nil {
				empty = o.drain(s) && empty
			} else {
				o.asked = true
			}
		}
		if n < len(o.ready) || !empty {
			break
		}
		n = o.poll(0)
	}
	if empty {
		o.drained, o.backlog = o.now, 0
	} else {
		o.backlog++
	}
}

// command runs what other goroutines ask for.
func (o *owner) command() {
	o.asked = false
	for {
		select {
		case f := <-o.commands:
			f(o)
			if o.pause != nil { // the rest is for later, if the sessions are ours then
				o.asked = true
				return
			}
		default:
			return
		}
	}
}

// expire serves every session that wants attention.
func (o *owner) expire() {
	o.now = o.clock.now()
	sent := false
	for len(o.timers) > 0 && o.timers[0].at <= o.now {
		sent = o.serve(o.timers[0].e) || sent
	}
	if sent {
		o.sendAlong()
	}
}

// serve does what is due for one session. It reports whether a packet was sent.
func (o *owner) serve(e *entry) (sent bool) {
	if e.until != 0 && o.now >= e.until {
		o.forget(e)
		return false
	}
	if o.now >= e.detectAt() {
		if !o.heard { // perhaps something has arrived since this turn began
			o.heard = true
			o.read(o.poll(0))
		}
		if o.backlog > 0 && o.backlog < patience {
			o.timers.set(e, o.now+time.Millisecond)
			return false
		}
	}
	f := e.Advance(o.now)
	o.effects(e, f)
	o.timers.set(e, e.due())
	return f&EffectSend != 0
}

// sendAlong sends packets that are not due yet but may go: sessions that share a wake-up
// once keep sharing it, as the packets of a turn have the same jitter.
func (o *owner) sendAlong() {
	n := 0
	for i := range o.timers {
		if e := o.timers[i].e; e.maySend(o.now) {
			o.along[n] = e
			if n++; n == len(o.along) {
				break
			}
		}
	}
	for _, e := range o.along[:n] {
		o.send(e)
		o.timers.set(e, e.due())
	}
}

// effects carries out what a session asks for.
func (o *owner) effects(e *entry, f Effects) {
	if f&EffectState != 0 {
		o.publish(e)
	}
	if f&EffectSend != 0 {
		o.send(e)
	}
}

// publish marks the sessions whose state has changed for each reader.
func (o *owner) publish(e *entry) {
	e.cell.write(e.fact())
	for _, m := range o.readers {
		m.mark(e.slot)
	}
}

// requeue moves a session forward in the heap if it wants attention earlier than
// before. Later needs nothing: it is looked at when its turn comes.
func (o *owner) requeue(e *entry) {
	if at := e.due(); e.place < 0 || at < o.timers[e.place].at {
		o.timers.set(e, at)
	}
}

// send builds the session's packet and puts it into the batch.
func (o *owner) send(e *entry) {
	if e.queued {
		o.flushSender(e.tx)
	}
	e.rng = o.turn
	if e.tx == nil || e.echo && e.toLink.halen == 0 {
		e.afterSend(o.now) // there is nothing to send it by
		return
	}
	b := e.AppendPacket(e.frame.body(), o.now)
	e.iov.SetLen(len(e.frame.finish(b)))
	t := e.tx
	t.batch, t.who = append(t.batch, mmsghdr{hdr: e.msg}), append(t.who, e)
	e.queued = true
	if len(t.batch) == txBatch {
		o.flushSender(t)
	}
}

func (o *owner) flush() {
	for _, t := range o.senders {
		if len(t.batch) > 0 {
			o.flushSender(t)
		}
	}
}

// flushSender hands the batch to the kernel. A packet that the kernel refuses is lost like
// any other, and the next one goes out; but perhaps the session's interface is gone, or
// back under another index.
func (o *owner) flushSender(t *txSocket) {
	for i := 0; i < len(t.batch); {
		n, errno := o.poller.send(t.fd, t.batch[i:])
		switch {
		case n > 0:
			i += n
		case errno == unix.EINTR:
		default:
			o.failing.mark(t.who[i].slot)
			i++
		}
	}
	for _, e := range t.who {
		e.queued = false
	}
	t.batch, t.who = t.batch[:0], t.who[:0]
}

// insert begins to serve a session.
func (o *owner) insert(e *entry) {
	o.demux.Add(e.discr, e)
	o.requeue(e)
	o.publish(e)
}

// attach sets what a session needs to send and to receive.
func (o *owner) attach(e *entry, a *attachment, f frame) {
	o.detach(e)
	e.tx, e.local = a.tx, a.local
	e.binding = bfdcore.Binding[*netnsSockets]{Space: a.space, Link: a.from, MinTTL: int32(e.minTTL), IPv6: e.key.Peer.Is6(), Multihop: e.key.Multihop}
	e.build(a, f)
	o.sockets[a.rx.fd] = a.rx
	if !slices.Contains(o.senders, a.tx) {
		o.senders = append(o.senders, a.tx)
	}
	if !e.echo {
		e.source = bfdcore.Source[*netnsSockets]{Space: a.space, Peer: e.key.Peer, Local: a.local, Link: a.from, Multihop: e.key.Multihop}
		o.demux.Route(e.source, e)
	}
}

func (o *owner) detach(e *entry) {
	if e.tx == nil {
		return
	}
	if e.queued {
		o.flushSender(e.tx)
	}
	o.demux.Unroute(e.source, e)
	e.tx, e.binding = nil, bfdcore.Binding[*netnsSockets]{}
}

// drop forgets a socket that is about to be closed.
func (o *owner) drop(fd int) {
	delete(o.sockets, fd)
	o.senders = slices.DeleteFunc(o.senders, func(t *txSocket) bool { return t.fd == fd })
}

// forget ends a session for good.
func (o *owner) forget(e *entry) {
	o.timers.remove(e)
	o.detach(e)
	o.demux.Remove(e.discr)
	e.done.Store(true)
	for _, m := range o.readers {
		m.mark(e.slot)
	}
}

// linger takes a session to AdminDown and keeps it for as long as the remote
// system needs to notice (RFC 5880, Section 6.8.16).
func (o *owner) linger(e *entry) {
	was := e.interval
	o.effects(e, e.SetAdminDown(o.now, true))
	e.until = o.now + time.Duration(e.mult)*min(was, slowInterval)
	if e.tx == nil {
		e.until = o.now // its last packets cannot be sent
	}
	o.requeue(e)
}

// farewell takes every session to AdminDown and ends the loop.
func (o *owner) farewell() {
	o.demux.All(func(e *entry) { o.effects(e, e.SetAdminDown(o.now, true)) })
	o.stop = true
}

// renumber sets another discriminator of a session: it now runs somewhere else, with
// another remote system at its end.
func (o *owner) renumber(e *entry, discr uint32) {
	if e.done.Load() {
		return
	}
	o.demux.Remove(e.discr)
	e.number.Store(discr)
	o.effects(e, e.restart(o.now, discr))
	o.demux.Add(e.discr, e)
	o.requeue(e)
}
