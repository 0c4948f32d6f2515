package world

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// A world in steps. After "step begin" what concerns the first hypervisor does not happen by
// itself any more: its two processes work when it is their turn, its kernel delivers
// notifications, and a fabric the packets from and to it, when they are told to. "step begin rr
// h2" has the reflectors and the second hypervisor's daemon take turns, too. Everything else -
// other processes, packets between them - answers at once. Time passes only by a step of its own,
// which ends with the first news for one of those that take turns.
//
// Routine is nobody's choice: timers that are due while time passes, keepalives of BFD and BGP
// that say what the ones before said. It happens by itself.

// steps is a world that is played step by step.
type steps struct {
	h *hypervisor
	// remote is the second hypervisor if its daemon takes turns.
	remote *hypervisor
	// reflectors reports whether they take turns.
	reflectors bool
}

// transit is a packet that waits for its fabric.
type transit struct {
	from    *port
	to      *port
	at      time.Duration
	do      func()
	name    string // what it is, for the state
	routine bool
	lossy   bool   // it may be lost for good; TCP sends others again
	drop    func() // it is lost; nil: nobody wants to know
	sender  *end   // of a segment of TCP
	data    []byte // of it
}

// carry has a packet arrive.
func (w *World) carry(from, to *port, t *transit) {
	t.from, t.to = from, to
	if t.routine || !w.stepwise(from, to) {
		w.at(t.at, t.do)
		return
	}
	from.fabric.held = append(from.fabric.held, t)
}

// stepwise reports whether packets between two ports wait for the turn of their fabric.
func (w *World) stepwise(from, to *port) bool {
	return w.steps != nil && (from.machine == &w.steps.h.machine || to.machine == &w.steps.h.machine)
}

// segments returns what a process writes at once as the segments that arrive: one BGP message
// each where the fabrics take turns.
func (e *end) segments(b []byte) (list []segment) {
	if e.peer != nil && e.w.stepwise(e.port, e.peer.port) {
		for {
			m, rest := message(b)
			if len(rest) == 0 {
				break
			}
			list = append(list, segment{data: slices.Clone(m)})
			b = rest
		}
	}
	return append(list, segment{data: slices.Clone(b)})
}

// message returns the first message of a stream, and what is behind it. What is no whole message is returned as it is.
func message(stream []byte) (m, rest []byte) {
	if len(stream) >= wire.HeaderLen {
		if n := int(binary.BigEndian.Uint16(stream[16:])); n >= wire.HeaderLen && n < len(stream) { // RFC 4271, Section 4.1: Length
			return stream[:n], stream[n:]
		}
	}
	return stream, nil
}

// String describes a segment by its content.
func (s segment) String() string { return fmt.Sprintf("%x %v", s.data, s.end) }

// transfer is what one step of a fabric has delivered. An End-of-RIB does not arrive in the step
// of the routes before it.
type transfer struct{ routes, ended map[*end]bool }

// stops reports whether a packet waits for the next step.
func (x *transfer) stops(t *transit) bool {
	if t.sender == nil || x.ended[t.sender] {
		return t.sender != nil
	}
	if len(t.data) < wire.HeaderLen || t.data[wire.HeaderLen-1] != byte(wire.TypeUpdate) {
		return false
	}
	if !endOfRIB(t.data) {
		x.routes[t.sender] = true
	} else if x.routes[t.sender] {
		x.ended[t.sender] = true
	}
	return x.ended[t.sender]
}

// endOfRIB reports whether an UPDATE is an End-of-RIB (RFC 4724, Section 2).
func endOfRIB(message []byte) bool {
	u, err := wire.ParseUpdate(message[wire.HeaderLen:], wire.Options{AS4: true, IBGP: true, AddPath: wire.Families(wire.IPv4Unicast, wire.IPv6Unicast)})
	_, ok := u.EndOfRIB()
	return err == nil && ok
}

// soon is how long after a step everybody but the first hypervisor may take to answer.
const soon = time.Millisecond

// longestStep is the longest that time passes in one step.
const longestStep = 40 * time.Second

// step is "step begin" and who else takes turns, "step WHO" with one of Ready, "step lose FABRIC",
// and "step settle".
func (w *World) step(words []string) error {
	if word(words, 0) == "begin" {
		return w.beginSteps(words[1:])
	}
	if w.steps == nil {
		return fmt.Errorf("%w: no step begin before", errWords)
	}
	h := w.steps.h
	switch word(words, 0) {
	case "daemon":
		h.daemon.turn()
	case "bfd":
		h.node.process.turn()
	case "A", "B":
		w.deliver(words[0])
	case "rr":
		for _, r := range w.reflectorsOf(word(words, 1)) {
			r.process.turn()
		}
	case "h2":
		w.hosts[1].daemon.turn()
	case "kernel":
		h.faults.Late = false
		h.kernel.Wake()
		for len(w.queue) > 0 && w.queue[0].at <= w.now {
			w.next(w.now)
		}
		h.daemon.turn()
	case "time":
		w.pass(w.now + longestStep)
	case "lose":
		w.lose(word(words, 1))
	case "settle":
		w.settle()
		return nil
	default:
		return errWords
	}
	return nil
}

// beginSteps goes over to steps. What the start has left is over. There is traffic from every
// hypervisor to every guest.
func (w *World) beginSteps(others []string) error {
	s := &steps{h: w.hosts[0]}
	for _, who := range others {
		switch {
		case who == "rr":
			s.reflectors = true
		case who == "h2" && len(w.hosts) > 1:
			s.remote = w.hosts[1]
		default:
			return errWords
		}
	}
	w.flows = slices.DeleteFunc(w.flows, func(f *flow) bool {
		if f.guest != nil {
			w.dropFlow(f)
		}
		return f.guest != nil
	})
	for _, g := range w.guests {
		for _, h := range w.hosts {
			w.addTraffic(h, g)
		}
	}
	for _, r := range w.reflectors {
		r.started, r.told, r.away = r.started-restore, false, absence{}
		r.port().troubled -= restore
	}
	for _, h := range w.hosts {
		h.told, h.away = false, [parts]absence{}
		for _, p := range h.ports {
			p.troubled -= restore
		}
	}
	w.steps, w.upBy = s, 0
	s.hold(w, true)
	return nil
}

// hold begins or ends that processes wait for their turns.
func (s *steps) hold(w *World, held bool) {
	list := []*process{s.h.daemon, s.h.node.process}
	if s.remote != nil {
		list = append(list, s.remote.daemon)
	}
	if s.reflectors {
		for _, r := range w.reflectors {
			list = append(list, r.process)
		}
	}
	for _, p := range list {
		if p.held = held; !held {
			p.do(nil, func() {})
		}
	}
}

// turn has a process that is held do what waits for it.
func (p *process) turn() {
	p.work = 0
	p.drain()
}

// answer has everybody else answer to a step.
func (w *World) answer() {
	w.steps.h.faults.Late = true // also those of a kernel that has just booted
	w.look()
	limit := w.now + soon
	for n := 0; len(w.queue) > 0 && w.queue[0].at <= limit; n++ {
		if n == busy {
			w.violate("a program comes to rest", "not after %d events within %v", n, soon)
			w.queue = nil
			return
		}
		w.next(limit)
		w.look()
	}
}

// busy is more than everybody together does within soon.
const busy = 100_000

// deliver delivers what is on a fabric, and what is answered to it at once, up to an End-of-RIB
// behind routes. What TCP has sent over a cable that was cut then waits until it is whole.
func (w *World) deliver(fabric string) {
	done := transfer{routes: map[*end]bool{}, ended: map[*end]bool{}}
	for range 100 {
		n := 0
		for _, f := range w.on(fabric) {
			var waits []*transit
			held := f.held
			f.held = nil
			for _, t := range held {
				if !t.lossy && !passes(t.from, t.to) || done.stops(t) {
					waits = append(waits, t)
					continue
				}
				n++
				w.now = max(w.now, t.at)
				t.do()
				w.look()
			}
			f.held = append(waits, f.held...)
		}
		if n == 0 {
			return
		}
		w.answer()
	}
	w.violate("a fabric comes to rest", "%s: not after 100 rounds", fabric)
}

// lose loses the packets on a fabric. Segments of an established connection stay: TCP sends them
// again.
func (w *World) lose(fabric string) {
	for _, f := range w.on(fabric) {
		f.held = slices.DeleteFunc(f.held, func(t *transit) bool {
			if t.lossy && t.drop != nil {
				t.drop()
			}
			return t.lossy
		})
	}
}

// ready reports whether something is held that would arrive.
func (f *fabric) ready() bool {
	return slices.ContainsFunc(f.held, func(t *transit) bool { return passes(t.from, t.to) })
}

// reflectorsOf returns the reflectors of a fabric.
func (w *World) reflectorsOf(fabric string) (list []*reflector) {
	for i, net := range networks {
		if net.fabric == fabric {
			list = append(list, w.reflectors[i])
		}
	}
	return list
}

// on returns the networks of a fabric.
func (w *World) on(fabric string) (list []*fabric) {
	for i, net := range networks {
		if net.fabric == fabric {
			list = append(list, w.fabrics[i])
		}
	}
	return list
}

// pass lets time pass until a process that takes turns has something to do.
func (w *World) pass(until time.Duration) {
	for len(w.Ready()) == 0 && w.next(until) {
		w.look()
	}
	w.catchUp()
}

// Ready returns who has something to do: "daemon", "bfd", "kernel", "A", "B", and "rr A", "rr B",
// "h2" if they take turns.
func (w *World) Ready() (list []string) {
	s := w.steps
	h := s.h
	add := func(who string, ready bool) {
		if ready {
			list = append(list, who)
		}
	}
	add("daemon", h.daemon.waits())
	add("bfd", h.node.process.waits())
	add("kernel", h.daemon.state == running && h.faults.Late && h.monitor.Pending() > 0)
	for _, name := range []string{"A", "B"} {
		add(name, slices.ContainsFunc(w.on(name), (*fabric).ready))
	}
	for _, name := range []string{"A", "B"} {
		add("rr "+name, slices.ContainsFunc(w.reflectorsOf(name), func(r *reflector) bool { return r.process.waits() }))
	}
	add("h2", s.remote != nil && s.remote.daemon.waits())
	return list
}

// waits reports whether a process waits for its turn.
func (p *process) waits() bool { return p.held && p.state == running && p.work > 0 }

// settle ends the steps and all faults, waits until all is quiet, and checks everything.
func (w *World) settle() {
	s := w.steps
	w.steps = nil
	for _, f := range w.fabrics {
		for _, t := range f.held {
			w.at(t.at, t.do)
		}
		f.held = nil
	}
	s.h.faults.Late = false
	s.hold(w, false)
	w.whole()
	w.config.EveryPacket = false
	w.Run(w.now+calm, nil)
	w.check()
}
