package bfd

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// owner is the shell of a Server that has sockets: one thread, on which everything about its
// core happens. No other thread touches its fields while it runs.
type owner struct {
	core    *core         // has the sessions
	clock   clock         // reads the time
	poller  poller        // waits for the sockets and the timers
	wall    int64         // time of day when the turn began, nanoseconds since 1970
	drained time.Duration // when every socket was last read empty

	sockets map[int]*rxSocket // by descriptor
	senders []*txSocket       // sockets with a batch
	ring    *ring             // what a recvmmsg fills
	ready   [16]int           // descriptors that have something to read

	commands chan func(*core) // functions for the owner
	asked    bool             // there are commands
	ended    chan struct{}    // closed when the owner has stopped
	stop     bool             // it is to stop
	broken   error            // why it stopped
	pause    chan bool        // another process is to have everything; false: go on

	unsent atomic.Uint64 // packets that found the send buffer full, and are not reported yet
	full   chan struct{} // there are some; the attacher reports them

	received int  // packets in this turn
	heard    bool // every socket was looked at since the turn began
	backlog  int  // turns in a row in which a socket could not be emptied
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

// newOwner makes the shell of a core. It has no poller yet.
func newOwner(c *core, clock clock) *owner {
	o := &owner{
		core: c, clock: clock, sockets: map[int]*rxSocket{},
		ring: newRing(), commands: make(chan func(*core), 16), ended: make(chan struct{}), full: make(chan struct{}, 1),
	}
	c.shell = o
	o.tick()
	return o
}

func (o *owner) tick() {
	var now time.Duration
	now, o.wall = o.clock.both()
	o.core.begin(now)
}

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

// expire serves the sessions that are due by now, which is later than when the turn began.
func (o *owner) expire() {
	o.core.now = o.clock.now()
	o.core.expire()
}

// sleep waits for the next timer, and for packets unless it is near. It returns how many
// descriptors are ready.
func (o *owner) sleep() int {
	d := min(o.core.next()-o.clock.now(), time.Hour)
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
		o.drained, o.backlog = o.core.now, 0
	} else {
		o.backlog++
	}
}

// pending implements [shell].
func (o *owner) pending() bool {
	if !o.heard {
		o.heard = true
		o.read(o.poll(0))
	}
	return o.backlog > 0 && o.backlog < patience
}

// command runs what other goroutines ask for.
func (o *owner) command() {
	o.asked = false
	for {
		select {
		case f := <-o.commands:
			f(o.core)
			if o.pause != nil { // the rest is for later, if the sessions are ours then
				o.asked = true
				return
			}
		default:
			return
		}
	}
}

// do implements [shell]. The owner runs, and the caller is another goroutine.
func (o *owner) do(f func(*core)) error {
	done := make(chan struct{})
	select {
	case o.commands <- func(c *core) { f(c); close(done) }:
	case <-o.ended:
		return ErrClosed
	}
	o.poller.wake()
	select {
	case <-done:
		return nil
	case <-o.ended:
		return ErrClosed
	}
}

// send implements [shell]: it puts the session's packet into the batch.
func (o *owner) send(e *entry) {
	if e.queued != nil {
		o.flushSender(e.queued)
	}
	b := e.AppendPacket(e.frame.body(), o.core.now)
	e.iov.SetLen(len(e.frame.finish(b)))
	t := e.sender()
	t.batch, t.who = append(t.batch, mmsghdr{hdr: e.msg}), append(t.who, e)
	e.queued = t
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
// any other, is not counted as sent, and the next one goes out; but perhaps the session's interface is gone, or
// back under another index. That a send buffer is full says nothing about the session.
func (o *owner) flushSender(t *txSocket) {
	for i := 0; i < len(t.batch); {
		n, errno := o.poller.send(t.fd, t.batch[i:])
		switch {
		case n > 0:
			i += n
		case errno == unix.EINTR:
		default:
			t.who[i].sent--
			if errno == unix.EAGAIN {
				t.who[i].unsent++
				o.bufferFull()
			} else {
				o.core.failing.mark(t.who[i].slot)
			}
			i++
		}
	}
	for _, e := range t.who {
		e.queued = nil
	}
	t.batch, t.who = t.batch[:0], t.who[:0]
}

// bufferFull counts a packet that found no room.
func (o *owner) bufferFull() {
	o.unsent.Add(1)
	select {
	case o.full <- struct{}{}:
	default:
	}
}

// attached implements [shell].
func (o *owner) attached(a *attachment) {
	o.sockets[a.rx.fd] = a.rx
	for _, t := range []*txSocket{a.tx, a.quiet} {
		if t != nil && !slices.Contains(o.senders, t) {
			t.batch, t.who = slices.Grow(t.batch, txBatch), slices.Grow(t.who, txBatch)
			o.senders = append(o.senders, t)
		}
	}
}

// detached implements [shell].
func (o *owner) detached(e *entry) {
	if e.queued != nil {
		o.flushSender(e.queued)
	}
}

// watch implements [shell].
func (o *owner) watch(fd int) error { return o.poller.watch(fd) }

// drop implements [shell].
func (o *owner) drop(fd int) {
	delete(o.sockets, fd)
	o.senders = slices.DeleteFunc(o.senders, func(t *txSocket) bool { return t.fd == fd })
}
