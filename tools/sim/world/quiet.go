package world

import (
	"bytes"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// Quiet BFD. A session that is Up at both ends, over a way that loses and delays nothing, between
// two processes that run, says the same in every packet. Such packets are neither made nor
// delivered: both engines count what they would have sent, at the same times and with the same
// jitter, and are told when they have heard of each other last as soon as that matters. A process
// of which all sessions are quiet is not woken for its packets either: catchUp has it count what
// it would have sent by now.
//
// Whatever could make a difference disturbs the way first: then everything is as if no packet
// had been skipped, and every packet is an event for some time. What chance decides of packets
// and of the order of events is a function of the seed, the way and the moment, so that a packet
// that is skipped leaves no trace in what others draw.

// calm has the packets of a session skipped from now on, in both directions, if they make no
// difference.
func (x *way) calm() {
	w, back := x.node.w, x.back()
	if w.config.EveryPacket || x.quiet || back == nil || !x.isSteady() || !back.isSteady() ||
		!clean(x.from, x.to) || !works(x.node.process) || !works(back.node.process) {
		return
	}
	if x.node.engine.Skip(x.key) {
		if back.node.engine.Skip(back.key) {
			x.quiet, back.quiet = true, true
		} else {
			x.node.engine.Unskip(x.key, 0, 0)
		}
	}
}

// isSteady reports whether each packet of a way says Up, as the last one did, which has arrived.
func (x *way) isSteady() bool {
	return x.node.w.now >= x.loud && x.flying == 0 && steady(x.sent) && bytes.Equal(x.sent, x.last)
}

func works(p *process) bool { return p.state == running && p.slow == 0 }

// back is the other direction of the session; nil: nobody has sent there yet.
func (x *way) back() *way { return x.node.w.wayOf(x.to, x.from, x.key.Peer.Is4()) }

// wayOf returns the way between two ports in the present life of its process; nil: none.
func (w *World) wayOf(from, to *port, ipv4 bool) *way {
	x := w.ways[wayKey{from, to, ipv4}]
	if x == nil || x.life != x.node.process.lives || x.node.engine == nil {
		return nil
	}
	return x
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
	x.stir()
	x.loud = w.now + w.loudness()
	if back := x.back(); back != nil {
		back.loud = x.loud
	}
}

// stir ends calm: both ends are as if no packet had been skipped.
func (x *way) stir() {
	back := x.back()
	if !x.quiet || back == nil {
		return
	}
	x.quiet, back.quiet = false, false
	x.node.catchUp()
	back.node.catchUp()
	a, b := x.node.engine.Skipped(x.key), back.node.engine.Skipped(back.key)
	x.resume(a, back)
	back.resume(b, x)
	for _, n := range []*bfdNode{x.node, back.node} {
		n.process.wakeBy(n.engine.Awake())
	}
}

// resume tells the receiver of a way what it would have received by now, and lets the packet
// that is under way arrive.
func (x *way) resume(s bfd.Skipped, back *way) {
	w := x.node.w
	w.Counts.BFDSkipped += s.Count
	last := s.Last
	if s.Count > 0 && s.Last+latency > w.now {
		x.fly(s.Last+latency, x.sent)
		s.Count--
		last = s.Before
	}
	heard := last + latency
	if s.Count == 0 {
		heard = 0
	}
	back.node.engine.Unskip(back.key, heard, s.Count)
}

// catchUp has a node that rests count what it would have sent by now.
func (n *bfdNode) catchUp() {
	if n.engine == nil || n.inside || n.process.state != running {
		return
	}
	n.inside = true
	for at := n.engine.Deadline(); at < n.w.now && at < n.engine.Awake(); at = n.engine.Deadline() {
		n.at = at
		n.engine.Advance(at)
	}
	n.inside = false
}

// now returns the time of a node, which is behind that of the world while it catches up.
func (n *bfdNode) now() time.Duration {
	if n.inside {
		return n.at
	}
	return n.w.now
}

// catchUp brings everything that rests up to now.
func (w *World) catchUp() {
	for _, n := range w.nodes {
		n.catchUp()
	}
}

// Counted returns Counts with the packets that quiet sessions have not sent so far.
func (w *World) Counted() Counts {
	w.catchUp()
	c := w.Counts
	for _, n := range w.nodes {
		for _, x := range n.ways {
			if x.quiet && n.engine != nil {
				c.BFDSkipped += n.engine.Skipped(x.key).Count
			}
		}
	}
	return c
}
