package world

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/internal/enum"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// flow is traffic from a hypervisor to a guest or to another hypervisor's loopback.
type flow struct {
	number int
	id     uint64 // of its name, for draws
	from   *hypervisor
	to     netip.Addr
	guest  *guest // nil: to is a loopback
	host   *hypervisor
	iif    int // the interface that the packets come in by at from; 0: from itself

	kind    kind
	bad     bool
	counted time.Duration // from when it counts: there is a way
	why     string
	verdict *event        // when it will have been bad for too long
	excuse  allowance     // what covers it
	judged  bool          // a violation was recorded of this outage
	blocked bool          // there is no way
	wayBack time.Duration // when there was one again, during this outage

	watches, next []watch // what it depends on, and what it depended on before or will
	marked        bool    // it is to be looked at
}

// addFlow adds traffic.
func (w *World) addFlow(f *flow) {
	w.numbers++
	f.number, f.id = w.numbers, name(fmt.Sprint("flow ", w.numbers))
	w.flows = append(w.flows, f)
	if f.guest != nil {
		f.guest.flows = append(f.guest.flows, f)
	}
	w.mark(f)
}

// kind is how a flow is broken.
type kind uint8

const (
	hole  kind = iota // its packets do not arrive although they could
	ghost             // they are sent to a hypervisor that has not got the guest
)

// String returns the name of the invariant.
func (k kind) String() string { return enum.String("kind", []string{"black hole", "ghost"}, k) }

// home returns where the packets of a flow have to arrive; nil if that is nowhere.
func (f *flow) home() *hypervisor {
	if f.guest != nil {
		return f.guest.home
	}
	return f.host
}

// String returns the ends.
func (f *flow) String() string {
	if f.guest != nil {
		name := f.guest.name
		if f.to.Is6() {
			name += " (IPv6)"
		}
		if f.guest.home == nil {
			return fmt.Sprintf("%s -> %s (nowhere)", f.from.name, name)
		}
		return fmt.Sprintf("%s -> %s at %s", f.from.name, name, f.guest.home.name)
	}
	return fmt.Sprintf("%s -> %v", f.from.name, f.to)
}

// possible reports whether there is a way for a flow at all: both machines live, one fabric
// connects them with each other and with its reflector, both ways, and has done so for a while.
// What a ghost needs is that the sender can hear of it.
func (w *World) possible(f *flow) bool {
	home := f.home()
	if f.kind == ghost {
		return w.told(f)
	}
	if home == nil || !f.from.alive || !home.alive {
		return false
	}
	if home == f.from {
		return true
	}
	private := f.guest == nil
	for i, net := range networks {
		if (net.domain == "private") != private {
			continue
		}
		if w.connects(i, f.from, home) && (w.config.session(i) == i || w.connects(w.config.session(i), f.from, home)) {
			return true
		}
	}
	return false
}

// connects reports whether a network has connected two hypervisors with each other and with its
// reflector, both ways, for a while.
func (w *World) connects(network int, from, home *hypervisor) bool {
	r := w.reflectors[network]
	ports := []*port{from.ports[network], home.ports[network], r.port()}
	var troubled time.Duration
	for _, a := range ports {
		troubled = max(troubled, a.troubled)
	}
	usable := r.process.state == running && w.now-r.started >= restore && from.talks(troubled) && home.talks(troubled)
	for _, a := range ports {
		usable = usable && w.now-a.troubled >= restore
		for _, b := range ports {
			usable = usable && (a == b || passes(a, b))
		}
	}
	return usable
}

// talks reports whether the daemon was there since a cable of a way was troubled last, for long
// enough that sessions came up and it heard of the other end.
func (h *hypervisor) talks(troubled time.Duration) bool {
	for _, part := range []int{daemonAway, bfdAway} {
		if a := &h.away[part]; a.began && a.until >= h.w.now && a.since < troubled+restore {
			return false
		}
	}
	return true
}

// told reports whether the sender of a flow can be told that the other end has gone: by a
// reflector which it has a session with, and which that end had one with.
func (w *World) told(f *flow) bool {
	home := f.home()
	if home == nil && f.guest != nil {
		home = f.guest.before
	}
	if home == nil || !f.from.alive {
		return f.from.alive
	}
	for i, net := range networks {
		s := w.config.session(i)
		r, from, to := w.reflectors[s], f.from.ports[s], home.ports[s]
		if (net.domain == "private") == (f.guest == nil) && r.process.state == running && w.now-r.started >= restore &&
			passes(from, r.port()) && passes(r.port(), from) && w.now-from.troubled >= restore && to.spoke() {
			return true
		}
	}
	return false
}

// spoke reports whether the machine behind a port was connected when it was last alive, and had been for long
// enough to have a session that a reflector can lose: what is done to the cable of a dead one says nothing.
func (p *port) spoke() bool {
	if h := p.machine.hypervisor; h != nil && !h.alive {
		return p.atEnd
	}
	return p.carrier && !p.deaf && !p.mute
}

// longestWay is how many hypervisors a packet may come through. Two are right; more are a loop
// or a detour.
const longestWay = 4

// decision asks a kernel where a packet of a flow goes that comes in by an interface.
func (f *flow) decision(at *hypervisor, iif int) fakekernel.Decision {
	x := f.noted(at)
	d := at.kernel.Lookup(fakekernel.Packet{Dst: f.to, IIF: iif})
	x.decided(at.kernel, &d)
	return d
}

// walk follows a packet over every path that the kernels may choose, and returns where one is lost,
// "" if none is.
func (w *World) walk(f *flow, at *hypervisor, iif, left int) string {
	if left == 0 {
		return "loops"
	}
	d := f.decision(at, iif)
	switch verdict := decide(&d); {
	case d.Type == wire.RouteLocal:
		if at == f.home() {
			return ""
		}
		return at.name + ": takes it for its own"
	case verdict != "":
		return at.name + ": " + verdict
	case len(d.NextHops) == 0:
		return at.name + ": no route"
	}
	for _, h := range d.NextHops {
		if why := w.hop(f, at, h, left); why != "" {
			return why
		}
	}
	return ""
}

// hop follows one next hop.
func (w *World) hop(f *flow, at *hypervisor, h wire.NextHop, left int) string {
	ifindex := int(h.IfIndex)
	if ifindex >= firstGuest {
		g := at.guestAt(ifindex)
		switch {
		case g == nil || g != f.guest:
			return fmt.Sprintf("%s: to interface %d, where the guest is not", at.name, ifindex)
		case g.home != at:
			return at.name + ": to a guest that is not there any more"
		}
		return ""
	}
	out := at.portAt(ifindex)
	if out == nil {
		return fmt.Sprintf("%s: to interface %d, which is not there", at.name, ifindex)
	}
	to := out.fabric.ports[h.Gateway]
	if to == nil {
		return fmt.Sprintf("%s: to gateway %v, which nobody has", at.name, h.Gateway)
	}
	next := to.machine.hypervisor
	if !passes(out, to) {
		if next != nil {
			f.noted(next)
		}
		return fmt.Sprintf("%s: into the hole towards %s on %s", at.name, to.machine.name, out.fabric.name)
	}
	if next == nil {
		return fmt.Sprintf("%s: to %s, which does not forward", at.name, to.machine.name)
	}
	return w.walk(f, next, to.ifindex, left-1)
}

// lookAt looks at a flow, and judges it if it is broken.
func (w *World) lookAt(f *flow) {
	w.Counts.Lookups++
	kind, why := w.state(f)
	if f.bad && (why == "" || kind != f.kind) {
		w.recovered(f)
	}
	switch {
	case why == "":
	case !f.bad:
		w.broke(f)
		f.kind, f.counted, f.why, f.judged, f.blocked, f.wayBack, f.excuse = kind, w.now, why, false, false, 0, allowance{}
		w.judge(f)
	default:
		f.why = why
		w.judge(f)
	}
}

// state returns how a flow is broken, and why; "" if it is not. It notes what that depends on.
func (w *World) state(f *flow) (k kind, why string) {
	f.next = f.next[:0]
	f.noted(f.from)
	home := f.home()
	if home != nil && home != f.from {
		f.noted(home)
	}
	switch {
	case !f.from.alive:
	case home != nil && home.alive:
		why = w.walk(f, f.from, f.iif, longestWay)
	default:
		k, why = ghost, f.haunts()
	}
	f.rewatch()
	return k, why
}

// haunts returns how a flow to nobody is not refused, "" if it is.
func (f *flow) haunts() string {
	if f.home() == nil && f.answers() {
		return f.from.name + " answers ARP for it"
	}
	for _, h := range f.decision(f.from, f.iif).NextHops {
		if h.Gateway.IsValid() && h.IfIndex < firstGuest {
			return fmt.Sprintf("%s sends to %v", f.from.name, h.Gateway)
		}
	}
	return ""
}

// recovered takes in that a flow is not broken any more, or in another way.
func (w *World) recovered(f *flow) {
	w.mended(f)
	w.cancel(f.verdict)
	f.verdict = nil
	if f.blocked {
		return
	}
	if f.excuse.name != "" && w.now > f.counted {
		w.used(f.excuse)
	}
	if d := w.now - f.counted; d > 0 {
		if f.kind == hole {
			w.Outages.add(d)
		}
		if w.verbose {
			w.note("flow %v had a %v for %v (%s): %s", f, f.kind, d, f.excuse.name, f.why)
		}
	}
}

// judge decides until when a flow that is broken may stay so.
func (w *World) judge(f *flow) {
	w.cancel(f.verdict)
	f.verdict = nil
	if f.judged {
		return
	}
	if !w.possible(f) {
		f.blocked = true
		return
	}
	if f.blocked {
		f.blocked, f.wayBack, f.counted = false, w.now, w.now
	}
	if f.excuse = w.allowed(f); f.excuse.until == never {
		return // judged again when it ends
	}
	f.verdict = w.atOf(f.id, max(f.excuse.until, w.now)+time.Nanosecond, func() {
		f.verdict = nil
		kind, why := w.state(f)
		if !f.bad || why == "" || kind != f.kind || !w.possible(f) || w.allowed(f).until >= w.now {
			w.lookAt(f)
			return
		}
		f.judged = true
		what := fmt.Sprintf("%v for %v, allowed %v (%s): %s", f, w.now-f.counted, f.excuse.until-f.counted, f.excuse.name, why)
		w.record(Violation{w.now, kind.String(), f.excuse.name, what})
	})
}
