package world

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// bfdNode is where the BFD sessions of a machine run: a process of its own at a hypervisor, the
// reflector's process at a reflector.
type bfdNode struct {
	w       *World
	process *process
	engine  engine
	ways    []*way        // what it sends, one for each session
	inside  bool          // its engine is at work
	at      time.Duration // its time then
	begun   uint64        // engines so far
	onEvent func(bfd.Event)
	watcher *bfd.Watcher
	waiting []*bfd.Datagram // while the sessions are handed over
}

// engine is a [bfd.DrivenServer] or a [bfd.DrivenProcess].
type engine interface {
	Receive(*bfd.Datagram) bool
	Advance(time.Duration)
	Deadline() time.Duration
	Awake() time.Duration
	Skip(bfd.Key) bool
	Skipped(bfd.Key) bfd.Skipped
	Unskip(k bfd.Key, heard time.Duration, count uint64)
	Sessions() ([]bfd.Status, error)
	Watch() *bfd.Watcher
}

// way is one direction of a BFD session: what its packets go through.
type way struct {
	node     *bfdNode
	life     int // of the node's process
	key      bfd.Key
	from, to *port
	id       uint64
	loud     time.Duration // each packet is an event until then
	sent     []byte        // what was sent last
	last     []byte        // what was delivered last
	flying   int           // packets that are under way
	quiet    bool          // packets are skipped, in both directions
}

// driven returns what a node's engine works with.
func (n *bfdNode) driven(kernel func(int) bfdcore.Kernel) bfd.DrivenConfig {
	n.begun++
	return bfd.DrivenConfig{
		Now:      func() (time.Duration, time.Time) { return n.now(), Epoch.Add(n.now() + n.process.machine.skew) },
		Seed:     uint32(n.w.chance(name(n.process.name), n.begun)),
		Send:     n.send,
		Host:     n,
		NextHops: kernel,
	}
}

// NetNS implements [bfd.DrivenHost].
func (n *bfdNode) NetNS(string) (int, error) { return 1, nil }

// Interface implements [bfd.DrivenHost].
func (n *bfdNode) Interface(_ int, name string) (int, error) {
	for _, p := range n.process.machine.ports {
		if p.name == name {
			return p.ifindex, nil
		}
	}
	return 0, errNoRoute
}

// Source implements [bfd.DrivenHost].
func (n *bfdNode) Source(_ int, k bfd.Key) (netip.Addr, error) {
	if p := n.process.machine.portOf(netip.Addr{}, k.Interface); p != nil {
		return p.local(k.Peer), nil
	}
	for _, p := range n.process.machine.ports {
		if k.Interface == "" && p.fabric.ports[k.Peer] != nil {
			return p.local(k.Peer), nil
		}
	}
	return netip.Addr{}, errNoRoute
}

// send takes a packet from the engine.
func (n *bfdNode) send(at time.Duration, k bfd.Key, local netip.Addr, payload []byte) error {
	x := n.way(k, local)
	if x == nil {
		return errNoRoute
	}
	if at != n.w.now {
		panic(fmt.Sprintf("%s says something new %v late", n.process.name, n.w.now-at))
	}
	x.stir()
	n.w.Counts.BFD++
	if !bytes.Equal(x.sent, payload) {
		n.saysBFD(payload)
		x.sent = slices.Clone(payload)
	}
	x.launch(x.sent)
	return nil
}

func (n *bfdNode) way(k bfd.Key, local netip.Addr) *way {
	w := n.w
	from := n.process.machine.portOf(local, "")
	if from == nil || from.fabric.ports[k.Peer] == nil {
		return nil
	}
	to := from.fabric.ports[k.Peer]
	if x := w.wayOf(from, to, k.Peer.Is4()); x != nil {
		return x
	}
	x := &way{node: n, life: n.process.lives, key: k, from: from, to: to, id: name(local.String() + " " + k.Peer.String())}
	w.ways[wayKey{from, to, k.Peer.Is4()}] = x
	n.ways = append(n.ways, x)
	w.disturbWay(x)
	return x
}

// wayKey is what tells ways apart: there is one session of a family between two ports.
type wayKey struct {
	from, to *port
	ipv4     bool
}

// launch sends a packet: it may be lost, late or doubled.
func (x *way) launch(payload []byte) {
	w, from := x.node.w, x.from
	draw := func(what uint64) float64 { return float64(w.chance(x.id, what)>>11) / (1 << 53) }
	if !passes(from, x.to) || from.impaired.loss > 0 && draw(0) < from.impaired.loss {
		w.Counts.PacketsLost++
		return
	}
	copies := uint64(1)
	if from.impaired.copies > 0 && draw(1) < from.impaired.copies {
		copies = 2
	}
	for i := range copies {
		late := time.Duration(draw(2+i) * float64(from.impaired.jitter))
		x.fly(w.now+latency+from.impaired.delay+late, payload)
	}
}

// fly has a packet arrive.
func (x *way) fly(at time.Duration, payload []byte) {
	w := x.node.w
	x.flying++
	arrive := func() {
		x.flying--
		if x.to.machine.alive && x.to.carrier && !x.to.deaf {
			x.deliver(payload)
			x.calm()
		}
	}
	if w.steps != nil && !bytes.Equal(x.last, payload) {
		w.carry(x.from, x.to, &transit{at: at, lossy: true, name: fmt.Sprintf("BFD %x", payload[1]), do: arrive, drop: func() { x.flying-- }})
		return
	}
	w.atOf(x.id, at, arrive)
}

// String returns between whom the packets are under way.
func (x *way) String() string { return fmt.Sprintf("BFD %v %v", x.key.Local, x.key.Peer) }

// deliver gives a packet to the process at the other end.
func (x *way) deliver(payload []byte) {
	at := x.node.w.now
	node := x.node.w.nodeAt(x.to.machine)
	if node == nil || node.process.state == dead {
		return
	}
	routine := bytes.Equal(x.last, payload)
	x.last = payload
	node.process.put(x, func() {
		node.receive(&bfd.Datagram{
			At: at, NetNS: 1, IfIndex: x.to.ifindex, Local: x.key.Peer, Peer: x.from.local(x.key.Peer), TTL: 255, Payload: payload,
		})
	}, routine)
}

// receive gives a packet to the engine.
func (n *bfdNode) receive(d *bfd.Datagram) {
	n.inside, n.at = true, n.w.now
	taken := n.engine.Receive(d)
	n.inside = false
	if !taken {
		n.waiting = append(n.waiting, d)
	}
}

// step does what is due.
func (n *bfdNode) step() bool {
	waiting := n.waiting
	n.waiting = nil
	for _, d := range waiting {
		n.receive(d)
	}
	more := len(n.waiting) < len(waiting)
	if n.engine.Deadline() <= n.w.now {
		n.inside, n.at = true, n.w.now
		n.engine.Advance(n.w.now)
		n.inside = false
		more = true
	}
	return n.events() || more
}

// events passes on what the engine says of its sessions.
func (n *bfdNode) events() bool {
	if n.watcher == nil {
		return false
	}
	var buf [16]bfd.Event
	k, _ := n.watcher.Next(over, buf[:])
	for _, e := range buf[:k] {
		n.w.note("%s BFD %v %v %v", n.process.machine.name, e.Peer, e.State, e.Reason)
		n.expires(e)
		n.onEvent(e)
	}
	return k > 0
}

// over is a context that has ended: watchers return what there is.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
