package bfd

import (
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// DrivenConfig is what a [DrivenServer] has in place of a clock, sockets and a kernel. The
// functions are called by the caller's own calls of the server, and must not call it.
type DrivenConfig struct {
	// Now returns the time: monotonic, which is the time of the server's methods, and that of
	// the wall clock, which is in its events and may jump.
	Now func() (mono time.Duration, wall time.Time)
	// Seed makes discriminators, jitter and authentication sequence. The same seed and the
	// same calls make the same packets, octet for octet.
	Seed uint32
	// Send sends a BFD packet of the session, with TTL 255, from local to the session's Peer,
	// at the time of the turn. Payload is what follows the UDP header, and is the server's
	// again when Send returns. An error is the kernel's refusal: the packet is lost, and the
	// session's interface is looked up again.
	Send func(at time.Duration, k Key, local netip.Addr, payload []byte) error
	// Host is where the server pretends to run.
	Host DrivenHost
	// NextHops returns the next-hop objects of a network namespace, which die with the
	// sessions that list them. Nil: there are none.
	NextHops func(netns int) bfdcore.Kernel
	// FailoverDelay is how long it takes before the next hops of a session that went Down are
	// deleted. Nil, or zero: it happens at once.
	FailoverDelay func() time.Duration
	// Notice is [Config].Notice.
	Notice func(error)
}

// DrivenHost is what a session looks for before it can run. An error says what is missing, and
// becomes the session's Err; the host is asked again later.
type DrivenHost interface {
	// NetNS returns a number of the caller's choice for the network namespace that path leads
	// to: another one if the path leads to another namespace by now.
	NetNS(path string) (netns int, err error)
	// Interface returns the index of an interface.
	Interface(netns int, name string) (ifindex int, err error)
	// Source returns the address that the kernel would send from to the session's Peer. It is
	// for sessions without Local.
	Source(netns int, k Key) (netip.Addr, error)
}

// Datagram is a BFD packet that has come in.
type Datagram struct {
	At       time.Duration // when it arrived
	NetNS    int           // the network namespace that it arrived in, as of [DrivenHost]
	IfIndex  int           // index of the interface that it arrived by
	Local    netip.Addr    // destination address
	Peer     netip.Addr    // source address
	TTL      uint8         // TTL or hop limit
	Multihop bool          // it came to UDP port 4784, not 3784
	Payload  []byte        // what follows the UDP header; not kept
	// Skipped is how many packets before this one, with the same content, count as received
	// although the caller has spared itself to deliver them.
	Skipped uint64
}

// DrivenServer is a [Server] without a thread, clock or socket, for simulators and tests. The
// caller delivers packets and lets time pass, and everything happens inside these calls: no
// goroutine is started and nothing is waited for. What decides is the same code.
//
// A turn of the thread of a Server is a call of Receive for every packet that waits, then
// one of Advance: so a packet that waits counts before its session is declared dead. A process
// that was stopped does the same when it goes on.
//
// Sessions begin to run when they are added. A DrivenServer is not safe for concurrent use.
type DrivenServer struct {
	cfg    DrivenConfig
	clock  *drivenClock
	server *Server
	core   *core
	state  drivenState

	lookAt  time.Time     // when the attacher looks at a session by itself; zero: never
	dying   []dying       // sessions whose next hops are about to be deleted
	dyingAt time.Duration // when that happens

	skips    []skipped // by the slots of sessions
	skipping int       // how many there are
}

type drivenState uint8

const (
	drivenServing drivenState = iota
	drivenPaused              // another process is to have the sessions
	drivenEnded
)

// NewDrivenServer returns a server without sessions. It does not set the C bit.
func NewDrivenServer(cfg DrivenConfig) (*DrivenServer, error) {
	d := &DrivenServer{cfg: cfg, clock: &drivenClock{read: cfg.Now}}
	s, err := newServerWithoutShell(Config{Notice: cfg.Notice, RealTime: RealTimeOff}, newDrivenHost(d), 64)
	if err != nil {
		return nil, err
	}
	d.server, d.core, s.core.shell = s, s.core, d
	s.mu.Lock()
	s.begin()
	s.mu.Unlock()
	return d, nil
}

// Add is [Service].Add.
func (d *DrivenServer) Add(c SessionConfig) error {
	defer d.settle()
	return d.server.Add(c)
}

// Remove is [Service].Remove.
func (d *DrivenServer) Remove(k Key) error {
	defer d.settle()
	return d.server.Remove(k)
}

// Sessions is [Service].Sessions, in an order that is always the same.
func (d *DrivenServer) Sessions() ([]Status, error) { return d.server.Sessions() }

// Watch is [Service].Watch. With a context that has ended, [Watcher.Next] returns the events
// that there are, and the context's error when there are none.
func (d *DrivenServer) Watch() *Watcher { return d.server.Watch() }

// Receive delivers a packet. It reports whether the server has taken it: one that is handing
// its sessions over has not, and the packet waits for the one that goes on.
//
// What the packet changes happens now, in the name of the present time; the detection time
// begins at p.At. That may lie before the last Advance: a packet that changes nothing then has
// the same effect as if it had been delivered in time, unless its session was declared dead
// meanwhile. It never lets the detection time begin earlier than a packet before it.
func (d *DrivenServer) Receive(p *Datagram) bool {
	if d.state != drivenServing {
		return false
	}
	c := d.core
	c.begin(d.clock.now())
	packet, err := ParsePacket(p.Payload)
	if err != nil {
		c.discarded++
		return true
	}
	e, sp := d.find(p, &packet)
	a := bfdcore.Arrival[*netnsSockets]{Space: sp, Link: int32(p.IfIndex), TTL: int32(p.TTL), IPv6: p.Local.Is6(), Multihop: p.Multihop}
	c.receive(e, &packet, &a, p.At)
	if e != nil {
		e.recv += p.Skipped
	}
	d.settle()
	return true
}

// find finds the session of a packet, and the namespace that it came in by as the session
// knows it.
func (d *DrivenServer) find(p *Datagram, packet *Packet) (*entry, *netnsSockets) {
	if packet.YourDiscr != 0 {
		e := d.core.demux.ByDiscr(packet.YourDiscr)
		if e == nil || e.binding.Space == nil || e.binding.Space.ns.(*drivenNamespace).id != p.NetNS {
			return nil, nil
		}
		return e, e.binding.Space
	}
	for _, e := range d.server.slots {
		if e == nil || e.binding.Space == nil || e.binding.Space.ns.(*drivenNamespace).id != p.NetNS {
			continue
		}
		sp := e.binding.Space
		f := bfdcore.Source[*netnsSockets]{Space: sp, Peer: p.Peer, Local: p.Local, Link: int32(p.IfIndex), Multihop: p.Multihop}
		if e := d.core.demux.BySource(f); e != nil {
			return e, sp
		}
	}
	return nil, nil
}

// Advance lets time pass: it serves every session that is due. A time before that of the last
// call counts as that one.
func (d *DrivenServer) Advance(now time.Duration) {
	d.clock.latest = max(d.clock.latest, now)
	if d.state != drivenServing {
		return
	}
	d.core.begin(d.clock.latest)
	d.core.expire()
	if !d.lookAt.IsZero() && !d.lookAt.After(d.clock.time()) {
		d.look()
	}
	d.settle()
}

// Never is the [DrivenServer.Deadline] of a server that waits for nothing.
const Never = never

// Deadline returns when Advance must be called, at the latest; [Never]: there is no need.
func (d *DrivenServer) Deadline() time.Duration {
	if d.state != drivenServing {
		return Never
	}
	return min(d.core.next(), d.others())
}

// others returns when something is due that is not of a session.
func (d *DrivenServer) others() time.Duration {
	at := never
	if !d.lookAt.IsZero() {
		at = min(at, monotonic(d.lookAt))
	}
	if d.dying != nil {
		at = min(at, d.dyingAt)
	}
	return at
}

// Close ends the server as the end of [Server.Run] does: every session says AdminDown.
func (d *DrivenServer) Close() {
	_ = d.do(func(c *core) { c.farewell() }) // ErrClosed: it was paused, or has ended
	d.end()
}

// end ends the server without a word to the remote systems.
func (d *DrivenServer) end() {
	if d.state == drivenEnded {
		return
	}
	d.state = drivenEnded
	s := d.server
	s.mu.Lock()
	s.state = closed
	s.mu.Unlock()
	s.collect()
	s.board.close()
	s.finish()
}

// settle does what the other goroutines of a Server would do now: it tells watchers, deletes
// dead next hops, and looks at sessions that lack something.
func (d *DrivenServer) settle() {
	s := d.server
	for d.state == drivenServing {
		switch {
		case s.changed.take():
			s.collect()
		case d.dying == nil && s.failover.dead.take():
			if d.dying, _ = s.failover.collect(); d.dying != nil && d.cfg.FailoverDelay != nil {
				d.dyingAt = d.core.now + d.cfg.FailoverDelay()
			}
		case d.dying != nil && d.dyingAt <= d.core.now:
			list := d.dying
			d.dying = nil
			s.failover.executeAll(list)
		case d.core.failing.take():
			s.recheck(d.core.failing)
			d.look()
		case s.attacher.woken():
			d.look()
		default:
			return
		}
	}
}

// look looks at the sessions whose time has come.
func (d *DrivenServer) look() { d.lookAt = d.server.attacher.pass(d.clock.time()) }

// do implements [shell].
func (d *DrivenServer) do(f func(*core)) error {
	if d.state != drivenServing {
		return ErrClosed
	}
	d.core.begin(d.clock.now())
	f(d.core)
	return nil
}

// pending implements [shell]: the caller has delivered what waits.
func (d *DrivenServer) pending() bool { return false }

// send implements [shell].
func (d *DrivenServer) send(e *entry) {
	if d.skip(e) {
		return
	}
	b := e.AppendPacket(e.frame.body(), d.core.now)
	if d.cfg.Send(d.core.now, e.key, e.local, b[len(e.frame.body()):]) != nil {
		d.core.failing.mark(e.slot)
	}
}

// attached, detached, watch and drop implement [shell]: there are no sockets.
func (d *DrivenServer) attached(*attachment) {}
func (d *DrivenServer) detached(*entry)      {}
func (d *DrivenServer) watch(int) error      { return nil }
func (d *DrivenServer) drop(int)             {}
