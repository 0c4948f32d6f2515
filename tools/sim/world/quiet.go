package world

import (
	"bytes"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Quiet BFD. A session that is Up at both ends, over a way that loses and delays nothing, between
// two processes that run, says the same in every packet. Such packets are made, so that their
// times and the jitter of what follows are right, but not delivered one by one: the receiver
// gets the last one that has arrived, with the time of its arrival, before its detection time is
// over. A process of which all sessions are quiet is not woken for each packet either: catchUp
// has it send what it would have sent by now.
//
// Whatever could make a difference disturbs the way first: then everything is as if no packet
// had been skipped, and every packet is an event for some time.

// quiet reports whether a packet need not be delivered by itself.
func (w *World) quiet(x *way, payload []byte) bool {
	return x.isQuiet() && bytes.Equal(x.last, payload)
}

// isQuiet reports whether the packets of a way make no difference.
func (x *way) isQuiet() bool {
	w := x.node.w
	if w.config.EveryPacket || w.now < x.loud || !steady(x.last) || !clean(x.from, x.to) {
		return false
	}
	back := x.back()
	return back != nil && w.now >= back.loud && steady(back.last) && works(x.node.process) && works(back.node.process)
}

func works(p *process) bool { return p.state == running && p.slow == 0 }

// back is the other direction of the session.
func (x *way) back() *way {
	node := x.node.w.nodeAt(x.to.machine)
	if node == nil {
		return nil
	}
	for _, o := range node.ways {
		if o.from == x.to && o.to == x.from {
			return o
		}
	}
	return nil
}

// steady reports whether a packet says Up, without a Poll or a Final (RFC 5880, Section 4.1).
func steady(payload []byte) bool {
	return len(payload) > 1 && payload[1]>>6 == 3 && payload[1]&0x30 == 0
}

// loudness is for how long after a disturbance each packet is an event: until a session that it
// took down is Up again at its own interval, most of the time.
func (w *World) loudness() time.Duration { return 2*w.config.detection() + 3*time.Second }

// disturb makes the packets of all sessions over a port events.
func (w *World) disturb(p *port) {
	p.troubled = w.now
	for _, n := range w.nodes {
		for _, x := range n.ways {
			if x.from == p || x.to == p {
				w.disturbWay(x)
			}
		}
	}
}

// disturbNode does so with all sessions of a node.
func (w *World) disturbNode(n *bfdNode) {
	for _, x := range n.ways {
		w.disturbWay(x)
	}
}

func (w *World) disturbWay(x *way) {
	for _, d := range []*way{x, x.back()} {
		if d == nil {
			continue
		}
		d.node.catchUp()
		d.flush(w.now)
		d.loud = w.now + w.loudness()
		d.node.wakeUp()
	}
}

// wakeUp has a node advanced by events.
func (n *bfdNode) wakeUp() {
	if n.asleep {
		n.asleep = false
		n.process.do(func() {})
	}
}

// mayRest reports whether all sessions of a node are quiet.
func (n *bfdNode) mayRest() bool {
	if n.w.config.EveryPacket || len(n.ways) == 0 {
		return false
	}
	for _, x := range n.ways {
		if !x.isQuiet() {
			return false
		}
	}
	return true
}

// catchUp has a node that rests send what it would have sent by now.
func (n *bfdNode) catchUp() {
	if !n.asleep || n.process.state != running {
		return
	}
	for at := n.engine.Deadline(); at <= n.w.now; at = n.engine.Deadline() {
		n.engine.Advance(at)
	}
}

// flush delivers the last packet that has arrived, and lets those that are under way arrive.
func (x *way) flush(now time.Duration) {
	w := x.node.w
	x.settle(now)
	for _, s := range x.pending {
		w.at(s.at+latency, func() {
			if passes(x.from, x.to) || x.to.machine.alive && x.to.carrier && !x.to.deaf {
				x.deliver(w.now, s.payload)
			}
		})
	}
	x.pending = x.pending[:0]
}

// settle delivers the last packet that has arrived.
func (x *way) settle(now time.Duration) {
	arrived := -1
	for i, s := range x.pending {
		if s.at+latency <= now {
			arrived = i
		}
	}
	if arrived < 0 {
		return
	}
	x.skipped += uint64(arrived)
	s := x.pending[arrived]
	x.pending = append(x.pending[:0], x.pending[arrived+1:]...)
	x.receive(s)
}

// receive gives a skipped packet to its receiver, without an event.
func (x *way) receive(s sent) {
	node := x.node.w.nodeAt(x.to.machine)
	if node == nil || node.process.state != running {
		return
	}
	skipped := x.skipped
	x.skipped = 0
	node.engine.Receive(&bfd.Datagram{
		At: s.at + latency, NetNS: 1, IfIndex: x.to.ifindex, Local: x.to.addr, Peer: x.from.addr, TTL: 255, Payload: s.payload, Skipped: skipped,
	})
}

// catchUp brings everything that rests up to now.
func (w *World) catchUp() {
	for _, n := range w.nodes {
		n.catchUp()
	}
	for _, n := range w.nodes {
		for _, x := range n.ways {
			x.settle(w.now)
		}
	}
}

// slices calls catchUp often enough that no session is declared dead for want of a packet that
// was skipped: what was delivered last is at most an interval old then, and the detection time
// is three.
func (w *World) slices() {
	if w.config.EveryPacket {
		return
	}
	w.catchUp()
	w.after(w.config.BFD*3/2, w.slices)
}
