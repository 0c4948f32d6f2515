package world

import (
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// The invariant "BFD stays up over a path that is well", and over one that has lost packets for less than an interval.

// span is a time in which something is not well. The zero value is that it has always been.
type span struct {
	from, until time.Duration // until is never while it goes on
}

// calmness is for how long everything must be well for the next trouble to be another one.
const calmness = 15 * time.Second

// note takes in what the cable of a port does from now on.
func (p *port) note(now time.Duration) {
	well := p.carrier && !p.deaf && !p.mute && p.impaired == impairment{}
	switch t := &p.trouble; {
	case well && t.until == never:
		t.until = now
	case !well && t.until != never:
		if t.until == 0 || now >= t.until+calmness {
			t.from = now
		}
		t.until = never
	}
}

// lasted returns how much of a span there was between two times.
func (t span) lasted(from, to time.Duration) time.Duration {
	if t.until == 0 {
		return 0
	}
	return max(0, min(t.until, to)-max(t.from, from))
}

// expires looks at a session of which the detection time is over: what its peer has sent cannot have come.
// The last packet before a trouble was sent an interval before it at most, and the next one an interval after it. What
// is left of the detection time is how long the trouble must have lasted.
func (n *bfdNode) expires(e bfd.Event) {
	w, m := n.w, n.process.machine
	from := m.portOf(e.Local, e.Interface)
	if e.State != bfd.StateDown || e.Reason != bfd.ReasonExpired || from == nil || from.fabric.ports[e.Peer] == nil {
		return
	}
	if e.Time.Before(Epoch.Add(w.now + m.skew - slack)) {
		return // it is told again
	}
	to := from.fabric.ports[e.Peer]
	remote := w.nodeAt(to.machine)
	if remote == nil {
		return
	}
	since := w.now - w.detection(m.hypervisor, to.machine.hypervisor) - slack
	for _, p := range []*process{n.process, remote.process} {
		if h := p.machine.hypervisor; p.state != running || p.turned >= since || h != nil && h.away[handoverAway].began && h.away[handoverAway].until >= since {
			return
		}
	}
	lost := max(from.trouble.lasted(since, w.now), to.trouble.lasted(since, w.now))
	if min(from.trouble.lasted(since, w.now), to.trouble.lasted(since, w.now)) > 0 {
		return // both cables: one after the other, perhaps
	}
	if lost < w.config.detection()-2*w.config.BFD-2*latency {
		w.violate("BFD stays up over a path that is well", "%s: %v, which lost packets for %v of %v", m.name, e.Peer, lost, w.now-since)
	}
}
