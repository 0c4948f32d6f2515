package world

import (
	"context"
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
	loud    int    // of its sessions, those of which each packet is an event
	ways    []*way // what it sends, one for each session
	asleep  bool   // it is advanced by catchUp, not by events
	onEvent func(bfd.Event)
	watcher *bfd.Watcher
}

// engine is a [bfd.DrivenServer] or a [bfd.DrivenProcess].
type engine interface {
	Receive(*bfd.Datagram) bool
	Advance(time.Duration)
	Deadline() time.Duration
	Sessions() ([]bfd.Status, error)
	Watch() *bfd.Watcher
}

// way is one direction of a BFD session: what its packets go through.
type way struct {
	node     *bfdNode
	key      bfd.Key
	from, to *port
	loud     time.Duration // each packet is an event until then
	last     []byte        // what was delivered last
	skipped  uint64        // since then
	pending  []sent        // skipped, and not delivered yet
}

type sent struct {
	at      time.Duration
	payload []byte
}

// driven returns what a node's engine works with.
func (n *bfdNode) driven(kernel func(int) bfdcore.Kernel) bfd.DrivenConfig {
	return bfd.DrivenConfig{
		Now:      func() (time.Duration, time.Time) { return n.w.now, n.w.wall() },
		Seed:     n.w.random.Uint32(),
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
		return p.addr, nil
	}
	return netip.Addr{}, errNoRoute
}

// send takes a packet from the engine.
func (n *bfdNode) send(at time.Duration, k bfd.Key, local netip.Addr, payload []byte) error {
	way := n.way(k, local)
	if way == nil {
		return errNoRoute
	}
	if n.w.quiet(way, payload) {
		n.w.Counts.BFDSkipped++
		way.pending = append(way.pending, sent{at, slices.Clone(payload)})
		if len(way.pending) > 2 { // of those that have arrived the last one counts
			way.skipped++
			way.pending = slices.Delete(way.pending, 0, 1)
		}
		return nil
	}
	n.w.Counts.BFD++
	way.flush(at)
	b := slices.Clone(payload)
	n.w.packet(way.from, way.to, func() { way.deliver(n.w.now, b) })
	return nil
}

func (n *bfdNode) way(k bfd.Key, local netip.Addr) *way {
	for _, w := range n.ways {
		if w.key == k {
			return w
		}
	}
	from := n.process.machine.portOf(local, "")
	if from == nil || from.fabric.ports[k.Peer] == nil {
		return nil
	}
	w := &way{node: n, key: k, from: from, to: from.fabric.ports[k.Peer]}
	n.ways = append(n.ways, w)
	n.w.disturbWay(w)
	return w
}

// deliver gives a packet to the process at the other end.
func (x *way) deliver(at time.Duration, payload []byte) {
	node := x.node.w.nodeAt(x.to.machine)
	if node == nil || node.process.state == dead {
		return
	}
	x.last = payload
	skipped := x.skipped
	x.skipped = 0
	node.process.do(func() {
		node.engine.Receive(&bfd.Datagram{
			At: at, NetNS: 1, IfIndex: x.to.ifindex, Local: x.to.addr, Peer: x.from.addr, TTL: 255, Payload: payload, Skipped: skipped,
		})
	})
}

// step does what is due.
func (n *bfdNode) step() bool {
	more := false
	if n.engine.Deadline() <= n.w.now {
		n.engine.Advance(n.w.now)
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
