package bfd

import (
	"encoding/binary"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// owner holds all sessions, on one thread. Nobody else touches what is in it,
// except that before the thread starts, commands run on their caller's.
type owner struct {
	clock
	now     time.Duration // of this turn
	wall    int64         // time of day at now, nanoseconds since 1970
	drained time.Duration // when every socket was last read empty

	timers  timers
	byDiscr map[uint32]*entry
	byFirst map[first]*entry
	sockets map[int32]*rxSocket
	senders []*txSocket
	ring    *ring
	epoll   int
	bell    int // eventfd: commands wait

	commands chan func(*owner)
	readers  []*marks // who is told of state changes
	ended    chan struct{}
	stop     bool
	pause    chan bool // a successor is being given everything; false: go on

	quantum   time.Duration // least slack of any session
	backlog   int           // turns in a row in which a socket could not be emptied
	discarded uint64        // packets for no session, or malformed
	events    [16]unix.EpollEvent
}

// nap is the longest sleep during which packets are left to gather: they are
// read together with the timers that end it.
const nap = 2 * time.Millisecond

func newOwner() (*owner, error) {
	c, err := newClock()
	if err != nil {
		return nil, err
	}
	o := &owner{
		clock: c, byDiscr: map[uint32]*entry{}, byFirst: map[first]*entry{}, sockets: map[int32]*rxSocket{},
		ring: newRing(), commands: make(chan func(*owner), 16), quantum: maxSlack, ended: make(chan struct{}),
	}
	if o.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if o.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(o.epoll)
		return nil, err
	}
	o.tick()
	o.drained = o.now
	return o, o.poll(o.bell)
}

func (o *owner) poll(fd int) error {
	return unix.EpollCtl(o.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (o *owner) tick() { o.now, o.wall = o.both() }

// loop is the life of the thread: read everything, then let timers run out, then
// send, then sleep until the next one. The order matters: a packet that waits
// must count before its session is declared dead.
func (o *owner) loop() {
	for !o.stop {
		o.tick()
		o.read()
		if o.pause != nil {
			o.stop = <-o.pause
			o.pause = nil
			continue
		}
		o.expire()
		o.flush()
		o.sleep()
	}
	o.flush()
	close(o.ended)
}

// read empties every socket that has something.
func (o *owner) read() {
	empty := true
	for n := len(o.events); n == len(o.events); {
		n = epollReady(o.epoll, o.events[:])
		for _, ev := range o.events[:n] {
			if s := o.sockets[ev.Fd]; s != nil {
				empty = o.drain(s) && empty
			} else {
				o.command()
			}
		}
		if !empty {
			break
		}
	}
	if empty {
		o.drained, o.backlog = o.now, 0
	} else {
		o.backlog++
	}
}

// command runs what other threads ask for.
func (o *owner) command() {
	var b [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(o.bell), uintptr(unsafe.Pointer(&b[0])), 8)
	for {
		select {
		case f := <-o.commands:
			f(o)
		default:
			return
		}
	}
}

// expire serves every session that wants attention. While a socket could not be
// emptied, nobody is declared dead, but that cannot go on for ever: a flood must
// not keep dead sessions alive.
func (o *owner) expire() {
	now := o.clock.now()
	o.now = now
	for len(o.timers) > 0 && o.timers[0].at <= now {
		e := o.timers[0].e
		if e.until != 0 && now >= e.until {
			o.forget(e)
			continue
		}
		if now >= e.detectAt() && o.backlog > 0 && o.backlog < 8 {
			o.timers.set(e, now+o.quantum)
			continue
		}
		f := e.Advance(now)
		o.effects(e, f)
		at := e.due(o.quantum)
		if f == 0 && at <= now {
			at = e.due(0) // woken together with others, and not yet its time
		}
		o.timers.set(e, at)
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

// publish tells the readers of state changes.
func (o *owner) publish(e *entry) {
	e.cell.write(e.fact())
	for _, m := range o.readers {
		m.mark(e.slot)
	}
}

// requeue moves a session forward in the heap if it wants attention earlier than
// before. Later needs nothing: it is looked at when its turn comes.
func (o *owner) requeue(e *entry) {
	if e.slack > 0 { // zero: nothing periodic to send
		o.quantum = min(o.quantum, e.slack)
	}
	if at := e.due(o.quantum); e.place < 0 || at < o.timers[e.place].at {
		o.timers.set(e, at)
	}
}

// send builds the session's packet and puts it into the batch.
func (o *owner) send(e *entry) {
	if e.queued {
		o.flushSender(e.tx)
	}
	b := e.frame.finish(e.AppendPacket(e.frame.body(), o.now))
	if e.link < 0 && (e.echo || !o.findLink(e)) {
		return
	}
	e.iov.SetLen(len(b))
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

// flushSender hands the batch to the kernel. A packet that the kernel refuses is
// lost like any other; the next one goes out.
func (o *owner) flushSender(t *txSocket) {
	for i := 0; i < len(t.batch); {
		n, errno := sendmmsg(t.fd, t.batch[i:])
		switch {
		case n > 0:
			i += n
		case errno == unix.EINTR:
		default:
			o.refused(t.who[i], errno)
			i++
		}
	}
	for _, e := range t.who {
		e.queued = false
	}
	t.batch, t.who = t.batch[:0], t.who[:0]
}

// refused looks at an error of a send: an interface that is gone may be back
// under another index.
func (o *owner) refused(e *entry, errno unix.Errno) {
	if e.key.Interface != "" && !e.echo && (errno == unix.ENODEV || errno == unix.ENXIO || errno == unix.EINVAL || errno == unix.ENETUNREACH) {
		o.findLink(e)
	}
}

// findLink looks the interface up again, at most once a second.
func (o *owner) findLink(e *entry) bool {
	if o.now-e.tried < time.Second {
		return e.link >= 0
	}
	e.tried = o.now
	var req struct {
		name  [unix.IFNAMSIZ]byte
		index int32
		_     [20]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], e.key.Interface)
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(e.tx.fd), unix.SIOCGIFINDEX, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return false
	}
	if req.index != e.link {
		o.unroute(e)
		e.setLink(req.index)
		o.route(e)
	}
	return true
}

// sleep waits for the next timer, and for packets unless it is near.
func (o *owner) sleep() {
	d := time.Hour
	if len(o.timers) > 0 {
		d = o.timers[0].at + o.quantum - o.clock.now()
	}
	switch {
	case d <= 0 || o.stop:
	case d <= nap:
		rest(int64(d))
	default:
		wait(o.epoll, int64(d))
	}
}

// insert begins to serve a session.
func (o *owner) insert(e *entry) {
	o.byDiscr[e.discr] = e
	if e.key.Interface != "" && !e.echo {
		e.link = -1
		o.findLink(e)
	}
	if !e.echo {
		o.route(e)
	}
	o.requeue(e)
	o.publish(e)
}

func (e *entry) first() first {
	return first{space: e.space, peer: e.key.Peer, local: e.local, link: max(0, e.link), multihop: e.key.Multihop}
}

func (o *owner) route(e *entry) {
	if e.link >= 0 {
		o.byFirst[e.first()] = e
	}
}

func (o *owner) unroute(e *entry) {
	if o.byFirst[e.first()] == e {
		delete(o.byFirst, e.first())
	}
}

// forget ends a session for good.
func (o *owner) forget(e *entry) {
	o.timers.remove(e)
	o.unroute(e)
	delete(o.byDiscr, e.discr)
	o.quantum = maxSlack
	for _, t := range o.timers {
		if t.e.slack > 0 {
			o.quantum = min(o.quantum, t.e.slack)
		}
	}
	e.done.Store(true)
	for _, m := range o.readers {
		m.mark(e.slot)
	}
}

// sender makes the owner flush a socket; it may know it already.
func (o *owner) sender(t *txSocket) {
	if t != nil && !slices.Contains(o.senders, t) {
		o.senders = append(o.senders, t)
	}
}

// wake has the owner look at its commands.
func (o *owner) wake() {
	one := [8]byte{7: 1}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(o.bell, one[:])
}

// linger takes a session to AdminDown and keeps it for as long as the remote
// system needs to notice (RFC 5880, Section 6.8.16).
func (o *owner) linger(e *entry) {
	was := e.interval
	o.effects(e, e.SetAdminDown(o.now, true))
	e.until = o.now + time.Duration(e.mult)*min(was, slowInterval)
	o.requeue(e)
}

// farewell takes every session to AdminDown and ends the loop.
func (o *owner) farewell() {
	for _, e := range o.byDiscr {
		o.effects(e, e.SetAdminDown(o.now, true))
	}
	o.stop = true
}

// leave forgets the sockets of a namespace without sessions; they are closed
// afterwards.
func (o *owner) leave(sp *space) {
	for fd, r := range o.sockets {
		if r.space == sp {
			delete(o.sockets, fd)
		}
	}
	o.senders = slices.DeleteFunc(o.senders, sp.sends)
}
