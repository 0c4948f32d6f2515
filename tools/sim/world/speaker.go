package world

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// transport is the clock and the network of one BGP speaker.
type transport struct {
	w        *World
	process  *process
	driver   *bgp.Driver
	speaker  *bgp.Speaker // nil before begin
	attempts map[*bgp.Attempt]*end
	ends     map[*end]*bgp.Attempt
}

var _ bgp.Transport = (*transport)(nil)

// configure makes a speaker of a process use the world's clock and network.
func (w *World) transport(p *process, c *bgp.Config) *transport {
	t := &transport{w: w, process: p, attempts: map[*bgp.Attempt]*end{}, ends: map[*end]*bgp.Attempt{}}
	c.Transport, c.Random = t, rand.New(rand.NewPCG(w.random.Uint64(), 0)).Float64
	return t
}

// begin accepts connections for a speaker.
func (t *transport) begin(s *bgp.Speaker) {
	t.driver, t.speaker = s.Driver(), s
	t.process.machine.listeners = append(t.process.machine.listeners, t)
}

// step does what is due, and reports whether something was.
func (t *transport) step() bool {
	at := t.driver.Deadline()
	if at.IsZero() || at.After(t.w.wall()) {
		return false
	}
	t.driver.Advance(t.w.wall())
	return true
}

// Now implements [bgp.Transport].
func (t *transport) Now() time.Time { return t.w.wall() }

// Dial implements [bgp.Transport].
func (t *transport) Dial(a *bgp.Attempt) {
	from := t.process.machine.portOf(a.Local.Addr(), a.Interface)
	if from == nil || !from.carrier {
		t.process.do(nil, func() { t.report(a, nil, errNoRoute) })
		t.attempts[a] = nil
		return
	}
	var wait time.Duration
	if last, ok := a.After.(*end); ok && len(last.pending) > 0 && !last.gone {
		wait = 10 * time.Millisecond
	}
	life := t.process.lives
	t.attempts[a] = nil
	t.w.after(wait, func() {
		if _, wanted := t.attempts[a]; !wanted || t.process.lives != life {
			return
		}
		e := t.w.dial(t.process, from, a.Remote.Addr(), t)
		t.attempts[a], t.ends[e] = e, a
	})
}

// Cancel implements [bgp.Transport].
func (t *transport) Cancel(a *bgp.Attempt) {
	if e := t.attempts[a]; e != nil {
		delete(t.ends, e)
		e.abort()
	}
	delete(t.attempts, a)
}

func (t *transport) report(a *bgp.Attempt, e *end, err error) {
	if _, wanted := t.attempts[a]; !wanted {
		return
	}
	delete(t.attempts, a)
	if err != nil {
		t.driver.Dialed(a, nil, err)
		return
	}
	t.driver.Dialed(a, e, nil)
}

// dialed implements handler.
func (t *transport) dialed(e *end, err error) {
	a := t.ends[e]
	delete(t.ends, e)
	if a != nil {
		t.report(a, e, err)
	}
}

// accept takes a connection that a peer has opened.
func (t *transport) accept(e *end) handler {
	if t.driver.Accept(e) {
		return t
	}
	return nil
}

// input implements handler.
func (t *transport) input(e *end, b []byte) { t.driver.Input(e, b) }

// ended implements handler.
func (t *transport) ended(e *end, err error) { t.driver.Closed(e, err) }

// written implements handler.
func (t *transport) written(e *end) { t.driver.Sent(e, nil) }

// LocalAddr, RemoteAddr, Send and Close implement [bgp.Connection].
func (e *end) LocalAddr() netip.AddrPort { return e.local }

// RemoteAddr implements [bgp.Connection].
func (e *end) RemoteAddr() netip.AddrPort { return e.remote }

// Send implements [bgp.Connection].
func (e *end) Send(b []byte) {
	e.saysOpen(b)
	e.send(b)
}

// Close implements [bgp.Connection].
func (e *end) Close(final []byte, patience time.Duration) {
	if len(final) == 0 && patience == 0 {
		e.exit()
		return
	}
	if len(final) > 0 && !e.closed {
		e.pending = append(e.pending, segment{data: append([]byte(nil), final...)})
	}
	e.finish()
}
