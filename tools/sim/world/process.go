package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// condition is whether a process works.
type condition uint8

const (
	dead condition = iota
	running
	stopped // by a signal: it does nothing, and its kernel goes on
)

// process is a program on a machine: a daemon, a BFD process, a reflector. It has one thread.
type process struct {
	w       *World
	machine *machine
	name    string
	state   condition
	slow    time.Duration // how long everything that it does takes
	busy    time.Duration // until when it does something
	ports   uint16        // of its connections so far
	queue   []job         // what waits for it
	drained bool          // a call of drain is under way
	held    bool          // work waits until its turn, see steps.go
	work    int           // what has come since the last turn, other than routine
	// settle does everything that can be done now, and returns when the next thing is due; 0 is
	// never.
	settle func() time.Duration
	wake   *event
	number uint64        // of its name
	lives  int           // how often it was started
	turned time.Duration // when it was started, stopped, or went on or ended last
}

// job is something for a process to do.
type job struct {
	about fmt.Stringer // a connection, a way or a guest; nil: something else
	do    func()
}

// do has the process do f as soon as it can.
func (p *process) do(about fmt.Stringer, f func()) { p.put(about, f, false) }

// put is do for what may be routine: a timer, a keepalive, room in a socket. A process that is
// held waits with other work for its turn, and with routine only behind that.
func (p *process) put(about fmt.Stringer, f func(), routine bool) {
	if p.state == dead {
		return
	}
	if !routine && !p.drained {
		p.work++
	}
	p.queue = append(p.queue, job{about, f})
	p.drain()
}

// drain does what waits.
func (p *process) drain() {
	if p.drained || p.state != running || p.held && p.work > 0 {
		return
	}
	if p.slow > 0 || p.w.now < p.busy {
		if len(p.queue) > 0 {
			p.later()
		}
		return
	}
	p.drained = true
	p.run()
	p.drained = false
}

// run does what waits, and what follows from it.
func (p *process) run() {
	life := p.lives
	if n := p.machine.node; n != nil && n.process == p {
		n.catchUp()
	}
	p.work = 0
	if p.held {
		p.canonical()
	}
	for p.lives == life && p.state == running {
		for len(p.queue) > 0 && p.state == running {
			j := p.queue[0]
			p.queue = p.queue[1:]
			j.do()
		}
		if p.state != running || p.lives != life || p.settle == nil {
			return
		}
		next := p.settle()
		if len(p.queue) == 0 && p.lives == life && p.state == running {
			p.rearm(next)
			return
		}
	}
}

// canonical puts what has come since the last turn in an order that does not depend on when it
// came, but for what came over one connection or is about one guest. Another order is that of two turns.
func (p *process) canonical() {
	about := func(j job) string {
		if j.about == nil {
			return ""
		}
		return j.about.String()
	}
	slices.SortStableFunc(p.queue, func(a, b job) int { return strings.Compare(about(a), about(b)) })
}

// id returns a number of the process's name.
func (p *process) id() uint64 {
	if p.number == 0 {
		p.number = name(p.name)
	}
	return p.number
}

// later is drain for a process that takes its time.
func (p *process) later() {
	if p.busy > p.w.now {
		return // drain is called then
	}
	p.busy = p.w.now + max(p.slow, time.Microsecond)
	life := p.lives
	p.w.at(p.busy, func() {
		if p.state == running && p.lives == life && !p.drained {
			p.drained = true
			p.run()
			p.drained = false
			if len(p.queue) > 0 {
				p.later()
			}
		}
	})
}

// rearm has the process woken at a time.
func (p *process) rearm(at time.Duration) {
	if p.wake != nil && p.wake.index >= 0 && p.wake.at == at {
		return
	}
	p.w.cancel(p.wake)
	p.wake = nil
	if at == never {
		return
	}
	life := p.lives
	p.wake = p.w.atOf(p.id(), at, func() {
		if p.lives == life {
			p.put(nil, func() {}, true)
		}
	})
}

// wakeBy has the process woken at a time at the latest.
func (p *process) wakeBy(at time.Duration) {
	if !p.drained && p.state == running && (p.wake == nil || p.wake.index < 0 || p.wake.at > at) {
		p.rearm(at)
	}
}

// never is when nothing is due.
const never = time.Duration(1<<63 - 1)

// start begins a life of the process.
func (p *process) start() {
	p.state, p.queue, p.work, p.busy, p.slow = running, nil, 0, 0, 0
	p.lives++
	p.turned = p.w.now
}

// end is the death of the process; its kernel, if it lives, closes its connections.
func (p *process) end() {
	if p.state == dead {
		return
	}
	p.state, p.queue, p.work = dead, nil, 0
	p.lives++
	p.turned = p.w.now
	p.w.cancel(p.wake)
	p.wake = nil
	p.machine.listeners = slices.DeleteFunc(p.machine.listeners, func(t *transport) bool { return t.process == p })
	for _, e := range p.machine.sorted() {
		if e.process == p {
			e.exit()
		}
	}
}

// stop and resume are SIGSTOP and SIGCONT.
func (p *process) stop() {
	if p.state == running {
		p.state, p.turned = stopped, p.w.now
	}
}

func (p *process) resume() {
	if p.state == stopped {
		p.state, p.turned = running, p.w.now
		p.do(nil, func() {})
	}
}

func sortEnds(list []*end) {
	slices.SortFunc(list, func(a, b *end) int {
		return cmp.Or(a.local.Compare(b.local), a.remote.Compare(b.remote))
	})
}
