package bgp

import (
	"cmp"
	"container/heap"
	"context"
	"io"
	"slices"
	"time"
)

// Driver runs a speaker whose configuration has a [Transport], in place of [Speaker.Run]: a
// simulator's way to have hundreds of them in one goroutine under virtual time. There is no
// goroutine, timer, channel to wait for, clock or socket in it, and everything that follows
// from a call is done when it returns: messages are with their connections, events with their
// watchers. With equal calls, equal times and an equal Config.Random, what comes out is equal
// octet for octet: peers are visited in the order of their keys.
//
// The caller reports what the network does, and calls Advance at the time of Deadline. A
// process that could not run for a while is driven as one that was stopped: first Input gets
// all that has arrived, then Advance is called. So the speaker does not take its own absence
// for the peer's: Input never expires a timer.
//
// The methods of the [Speaker] are called as usual, and do all they do before they return. What
// is done through [Speaker.Table] is noticed by the next call: Deadline is due at once. Next of
// a watcher, with a context that has ended, returns what there is, and the context's error if
// there is nothing.
//
// A Driver is for one goroutine. Calls from methods of the Transport or of its connections, or
// from a policy, panic.
type Driver struct {
	s       *Speaker
	t       Transport
	cancel  context.CancelFunc     // ends the speaker's context; nil before Start
	conns   map[Connection]*driven // those in use
	pending int                    // connections that were accepted and are not Established yet
	inside  bool                   // a call is being worked on

	peers    []*drivenPeer // that have begun, in the order of their keys
	launched []*drivenPeer // that are to begin
	timers   peerTimers    // of peers
	todo     []*drivenPeer // whose turn it is
	spare    []*drivenPeer // scratch
}

// Driver returns the speaker's driver, nil without a Config.Transport.
func (s *Speaker) Driver() *Driver { return s.driver }

// Start begins all sessions, as [Speaker.Run] does. It may be called once.
func (d *Driver) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	if err := d.s.begin(ctx); err != nil {
		cancel()
		return err
	}
	d.cancel = cancel
	d.settle()
	return nil
}

// Stop ends the speaker as a crash would, like the end of the context of [Speaker.Run]:
// connections are closed without a NOTIFICATION, what has not been reported as sent is lost.
func (d *Driver) Stop() {
	if !d.running() {
		return
	}
	now := d.enter()
	defer d.leave()
	d.cancel()
	d.s.end()
	for _, x := range d.peers {
		x.p.abandon(now)
	}
	d.peers, d.launched, d.timers, d.todo = nil, nil, nil, nil
	clear(d.conns)
	d.s.env.hub.close()
}

// running reports whether the speaker has started and not stopped.
func (d *Driver) running() bool { return d.cancel != nil && d.s.env.ctx.Err() == nil }

// Dialed reports the outcome of an attempt to connect: a connection, or an error. It is the end
// of the attempt. A connection of one that was given up is closed.
func (d *Driver) Dialed(a *Attempt, c Connection, err error) {
	if a.over || !d.running() {
		if c != nil {
			c.Close(nil, 0)
		}
		return
	}
	now := d.enter()
	defer d.leave()
	a.over = true
	result := dialed{id: a.id, err: err}
	if err == nil {
		result.sock = &driven{d: d, peer: a.peer, c: c}
	}
	a.peer.p.connected(now, result)
	d.finish(now, a.peer)
}

// Accept reports that a connection has come in to one of our addresses. It returns false if no
// peer is expected from there; the caller closes the connection then. If it returns true, the
// speaker may have closed it already.
func (d *Driver) Accept(c Connection) bool {
	if !d.running() || d.pending >= d.s.env.cfg.MaxPending {
		return false
	}
	now := d.enter()
	defer d.leave()
	x := &driven{d: d, c: c, pending: true}
	d.pending++
	if !d.s.admit(nil, x) {
		d.pending--
		return false
	}
	d.finish(now, nil)
	return true
}

// Input reports octets that have arrived, in pieces of whatever size. They are not retained.
func (d *Driver) Input(c Connection, b []byte) {
	x := d.conns[c]
	if x == nil {
		return
	}
	now := d.enter()
	defer d.leave()
	x.input(now, b)
	d.finish(now, x.peer)
}

// Closed reports the end of a connection: io.EOF (or nil) if the peer has closed it, else an
// error of the network. What had arrived before was reported to Input.
func (d *Driver) Closed(c Connection, err error) {
	x := d.conns[c]
	if x == nil {
		return
	}
	now := d.enter()
	defer d.leave()
	if err == nil {
		err = io.EOF
	}
	x.peer.p.input(now, x.slot(), chunk{err: err})
	d.finish(now, x.peer)
}

// Sent reports that TCP has taken the buffer of Send, or that it never will. An error does not
// end the connection, since the peer may have said why: Closed does, after Input.
func (d *Driver) Sent(c Connection, err error) {
	x := d.conns[c]
	if x == nil || x.sending == nil {
		return
	}
	now := d.enter()
	defer d.leave()
	b := x.sending
	x.sending = nil
	x.peer.p.sent(now, x.slot(), written{b, err})
	d.finish(now, x.peer)
}

// Deadline returns when Advance has something to do, which may be at once; the zero time is
// never.
func (d *Driver) Deadline() time.Time {
	if !d.running() {
		return time.Time{}
	}
	if len(d.todo) > 0 {
		return d.t.Now()
	}
	at := d.s.env.restart.deadline()
	if len(d.timers) > 0 {
		at = earliest(at, d.timers[0].at)
	}
	return at
}

// Advance does what is due at now, which is the time that the Transport returns.
func (d *Driver) Advance(now time.Time) {
	if !d.running() {
		return
	}
	d.enter()
	defer d.leave()
	if due(now, d.s.env.restart.deadline()) {
		d.s.env.restart.advance(now)
	}
	var peers []*drivenPeer
	for len(d.timers) > 0 && !now.Before(d.timers[0].at) {
		peers = append(peers, heap.Pop(&d.timers).(*drivenPeer))
	}
	sortPeers(peers)
	for _, x := range peers {
		x.p.tick(now)
		d.mark(x)
	}
	d.finish(now, nil)
}

// enter begins a call.
func (d *Driver) enter() (now time.Time) {
	if d.inside {
		panic("bgp: a Driver was called by its own Transport, Connection or policy")
	}
	d.inside = true
	return d.t.Now()
}

func (d *Driver) leave() { d.inside = false }

// settle does what follows from something that was not done by the owner of a peer.
func (d *Driver) settle() {
	if !d.running() {
		return
	}
	now := d.enter()
	defer d.leave()
	d.finish(now, nil)
}

// finish has every peer that has something to do take its turn, the given one too, until there
// is none.
func (d *Driver) finish(now time.Time, x *drivenPeer) {
	if x != nil {
		d.mark(x)
	}
	for {
		d.begin(now)
		if d.s.env.restart.pending() {
			d.s.env.restart.advance(now)
		}
		if len(d.todo) == 0 {
			return
		}
		turn := d.todo
		d.todo = d.spare[:0]
		sortPeers(turn)
		for _, x := range turn {
			x.queued = false
			x.turn(now)
		}
		clear(turn)
		d.spare = turn
	}
}

// begin begins the peers that wait for nobody.
func (d *Driver) begin(now time.Time) {
	if len(d.launched) == 0 {
		return
	}
	launched := d.launched
	d.launched = nil
	for _, x := range launched {
		if x.after != nil && !x.after.ended {
			d.launched = append(d.launched, x)
			continue
		}
		x.after, x.begun = nil, true
		i, _ := slices.BinarySearchFunc(d.peers, x, func(a, b *drivenPeer) int { return a.p.key.compare(b.p.key) })
		d.peers = slices.Insert(d.peers, i, x)
		d.number()
		x.p.begin(now)
		d.mark(x)
	}
}

// forget takes a peer that has ended off the lists.
func (d *Driver) forget(x *drivenPeer) {
	d.timers.set(x, time.Time{})
	d.peers = slices.DeleteFunc(d.peers, func(y *drivenPeer) bool { return x == y })
	d.number()
}

func (d *Driver) number() {
	for i, x := range d.peers {
		x.rank = i
	}
}

// mark lets a peer take its turn.
func (d *Driver) mark(x *drivenPeer) {
	if !x.queued {
		x.queued = true
		d.todo = append(d.todo, x)
	}
}

func sortPeers(peers []*drivenPeer) {
	if len(peers) > 1 {
		slices.SortFunc(peers, func(a, b *drivenPeer) int { return cmp.Compare(a.rank, b.rank) })
	}
}

// peerTimers is a heap of the peers that have a deadline.
type peerTimers []*drivenPeer

// set sets the deadline of a peer; zero: it has none.
func (h *peerTimers) set(x *drivenPeer, at time.Time) {
	switch was := x.at; {
	case at.Equal(was):
	case was.IsZero():
		x.at = at
		heap.Push(h, x)
	case at.IsZero():
		heap.Remove(h, x.index)
	default:
		x.at = at
		heap.Fix(h, x.index)
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (h peerTimers) Len() int           { return len(h) }
func (h peerTimers) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h peerTimers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *peerTimers) Push(x any) {
	p := x.(*drivenPeer)
	p.index = len(*h)
	*h = append(*h, p)
}
func (h *peerTimers) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	x.at = time.Time{}
	return x
}
