package world

import (
	"fmt"
	"slices"
	"time"
)

// A world in steps. After "step begin" what concerns the first hypervisor does not happen by
// itself any more: its two processes work when it is their turn, its kernel delivers
// notifications, and a fabric the packets from and to it, when they are told to. Everything else
// - reflectors, the other hypervisors, and packets between them - answers at once. Time passes
// only by a step of its own, which ends with the first news for the hypervisor.
//
// Routine is nobody's choice: timers that are due while time passes, keepalives of BFD and BGP
// that say what the ones before said. It happens by itself.

// steps is a world that is played step by step.
type steps struct {
	h *hypervisor
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
}

// carry has a packet arrive.
func (w *World) carry(from, to *port, t *transit) {
	t.from, t.to = from, to
	s := w.steps
	if s == nil || t.routine || from.machine != &s.h.machine && to.machine != &s.h.machine {
		w.at(t.at, t.do)
		return
	}
	if t.name == "" {
		t.name = from.machine.name + " " + to.machine.name
	}
	from.fabric.held = append(from.fabric.held, t)
}

// String describes a segment by its content.
func (s segment) String() string { return fmt.Sprintf("%x %v", s.data, s.end) }

// soon is how long after a step everybody but the first hypervisor may take to answer.
const soon = time.Millisecond

// longestStep is the longest that time passes in one step.
const longestStep = 40 * time.Second

// step is "step begin", "step WHO" with one of Ready, "step lose FABRIC", and "step settle".
func (w *World) step(words []string) error {
	if word(words, 0) == "begin" {
		w.beginSteps()
		return nil
	}
	if w.steps == nil {
		return fmt.Errorf("%w: no step begin before", errWords)
	}
	h := w.steps.h
	switch word(words, 0) {
	case "daemon":
		h.daemon.turn()
		h.faults.Late = true
	case "bfd":
		h.node.process.turn()
	case "A", "B":
		w.deliver(words[0])
	case "kernel":
		h.faults.Late = false
		h.kernel.Wake()
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
func (w *World) beginSteps() {
	w.flows = slices.DeleteFunc(w.flows, func(f *flow) bool { return f.guest != nil })
	for _, g := range w.guests {
		for _, h := range w.hosts {
			w.flows = append(w.flows, &flow{from: h, guest: g, to: g.addr, iif: firstUplink})
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
	h := w.hosts[0]
	w.steps, w.upBy = &steps{h: h}, 0
	h.daemon.held, h.node.process.held = true, true
	h.faults.Late = true
}

// turn has a process that is held do what waits for it.
func (p *process) turn() {
	p.work = 0
	p.drain()
}

// answer has everybody else answer to a step.
func (w *World) answer() {
	w.look()
	for len(w.queue) > 0 && w.queue[0].at <= w.now+soon {
		w.next(w.now + soon)
		w.look()
	}
}

// deliver delivers everything on a fabric, and what the kernels answer to it. What TCP has sent
// over a cable that was cut then waits until it is whole.
func (w *World) deliver(fabric string) {
	for range 100 {
		n := 0
		for _, f := range w.on(fabric) {
			held := f.held
			f.held = nil
			for _, t := range held {
				if !t.lossy && !passes(t.from, t.to) {
					f.held = append(f.held, t)
					continue
				}
				n++
				w.now = max(w.now, t.at)
				t.do()
				w.look()
			}
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

// on returns the networks of a fabric.
func (w *World) on(fabric string) (list []*fabric) {
	for i, net := range networks {
		if net.fabric == fabric {
			list = append(list, w.fabrics[i])
		}
	}
	return list
}

// pass lets time pass until there is something to do for the first hypervisor.
func (w *World) pass(until time.Duration) {
	for len(w.Ready()) == 0 && w.next(until) {
		w.look()
	}
	w.catchUp()
}

// Ready returns who has something to do: "daemon", "bfd", "kernel", "A", "B".
func (w *World) Ready() (list []string) {
	h := w.steps.h
	if h.daemon.state == running && h.daemon.work > 0 {
		list = append(list, "daemon")
	}
	if h.node.process.state == running && h.node.process.work > 0 {
		list = append(list, "bfd")
	}
	if h.daemon.state == running && h.faults.Late && h.monitor.Pending() > 0 {
		list = append(list, "kernel")
	}
	for _, name := range []string{"A", "B"} {
		if slices.ContainsFunc(w.on(name), (*fabric).ready) {
			list = append(list, name)
		}
	}
	return list
}

// settle ends the steps and all faults, waits until all is quiet, and checks everything.
func (w *World) settle() {
	h := w.steps.h
	w.steps = nil
	h.daemon.held, h.node.process.held, h.faults.Late = false, false, false
	for _, f := range w.fabrics {
		for _, t := range f.held {
			w.at(t.at, t.do)
		}
		f.held = nil
	}
	h.daemon.do(func() {})
	h.node.process.do(func() {})
	w.whole()
	w.Run(w.now+calm, nil)
	w.check()
}
