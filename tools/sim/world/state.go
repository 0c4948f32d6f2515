package world

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// grain is how exactly a state knows remaining times.
const grain = 5 * time.Second

// clientGrain is that of the daemon's next try to reach its BFD process, which come 5 ms to 1 s after each other.
const clientGrain = 5 * time.Millisecond

// state collects the lines of a state.
type state struct {
	w     *World
	lines []string
}

func (s *state) add(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// State returns what is observable, and what decides the future: of two worlds with the same
// state the same steps are expected to do the same. What is left out, or coarse, is in
// docs/simulator.md.
func (w *World) State() string {
	s := &state{w: w}
	for _, r := range w.reflectors {
		s.process(r.process)
		if r.process.state == running {
			if s.speaker(r.core.Speaker()) {
				s.due("speaker", r.tcp.driver.Deadline(), grain)
			}
			s.bfd(r.server)
		}
		s.machine(&r.machine)
	}
	for _, h := range w.hosts {
		s.host(h)
	}
	for _, f := range w.fabrics {
		s.held(f)
	}
	for _, f := range w.flows {
		if s.add("flow %v %v", f, f.bad); f.bad {
			s.add("%v %v %v", f.kind, f.blocked, f.judged)
		}
	}
	return strings.Join(s.lines, "\n")
}

// process adds a process, and whether it waits for its turn.
func (s *state) process(p *process) { s.add("%s %v %v", p.name, p.state, p.waits()) }

// held adds what waits for a fabric. Packets from one machine to another arrive in their order;
// those of others are independent.
func (s *state) held(f *fabric) {
	var list []string
	for _, t := range f.held {
		list = append(list, t.from.machine.name+" "+t.to.machine.name)
	}
	slices.Sort(list)
	for _, pair := range slices.Compact(list) {
		s.add("%s %s", f.name, pair)
		for _, t := range f.held {
			if t.from.machine.name+" "+t.to.machine.name == pair {
				s.add("%s", t.name)
			}
		}
	}
}

func (s *state) host(h *hypervisor) {
	s.add("%s %v", h.name, h.alive)
	s.process(h.daemon)
	s.process(h.node.process)
	s.machine(&h.machine)
	for i := range h.away {
		a := &h.away[i]
		s.add("away %v", a.began && a.until >= s.w.now)
	}
	if !h.alive {
		return
	}
	s.lines = append(s.lines, h.kernel.State()...)
	if h.engine != nil {
		s.bfd(h.engine)
	}
	if t := h.taking; t != nil {
		s.add("takeover %v %d %v %v %d %v %v", h.engine == t.taker, t.toGiver.written, t.toGiver.closed, t.toGiver.dead, t.toTaker.written, t.toTaker.closed, t.toTaker.dead)
	}
	if h.daemon.state == dead {
		return
	}
	ready, _ := h.core.Ready()
	s.add("ready %v converged %v client %v notifications %v", ready, h.core.Converged(), h.client.DrivenClient != nil && h.client.Connected(), h.monitor.Pending() > 0)
	for _, m := range h.monitor.Queued(unix.RTM_NEWLINK, unix.RTM_DELLINK) { // in which order interfaces came and went
		s.add("%x", m)
	}
	if c := h.client.DrivenClient; c != nil && !c.Connected() {
		s.add("client due in %v", max(c.Deadline()-s.w.now, 0).Round(clientGrain))
	}
	for i, p := range h.core.Speakers() {
		if s.speaker(p) {
			s.due("speaker", h.tcps[i].driver.Deadline(), grain)
		}
	}
	var routes []string
	for r := range h.fib.Routes() {
		routes = append(routes, r.String())
	}
	slices.Sort(routes)
	s.lines = append(s.lines, routes...)
	s.due("core", h.core.Deadline(), grain)
	s.due("fib", h.driver.Deadline(), grain)
}

// machine adds the ports and connections of a machine.
func (s *state) machine(m *machine) {
	for _, p := range m.ports {
		s.add("port %v %v %v %v", p.addr, p.carrier, p.deaf, p.mute)
	}
	for _, e := range m.sorted() {
		s.add("tcp %v %v %v %v %v %d %v", e.port.addr, e.remote.Addr(), e.initiator, e.established, e.closed, len(e.pending), e.retry != nil)
		s.unread(e.unread)
	}
}

// unread adds what a connection has brought, message by message: how the stream came in pieces makes no difference.
func (s *state) unread(list []segment) {
	var stream []byte
	for _, x := range list {
		stream = append(stream, x.data...)
		if x.end != nil {
			s.messages(stream)
			s.add("%v", x.end)
			stream = nil
		}
	}
	s.messages(stream)
}

func (s *state) messages(stream []byte) {
	for len(stream) > 0 {
		m, rest := message(stream)
		s.add("%x", m)
		stream = rest
	}
}

// speaker adds the sessions and the table of a speaker, and reports whether it waits for
// something: if not, its next deadline is that of a KEEPALIVE, which is routine.
func (s *state) speaker(p *bgp.Speaker) (waits bool) {
	for _, n := range p.Peers() {
		lasts := n.State == bgp.Established && s.w.wall().Sub(n.Since) >= fsm.StableTime
		s.add("peer %v %v %v %v %v", n.Key, n.State, lasts, n.Restart, n.PathDown)
		waits = waits || n.State != bgp.Established || n.Restart != 0
	}
	for _, fam := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		for c := range p.Table().All(fam) {
			for _, x := range c.Paths {
				s.add("path %v %v %v %v %v", c.Prefix, x.NextHop.Addr, x.Peer, x.Rank, x.Stale)
			}
		}
	}
	return waits
}

// bfd adds the sessions of a BFD server.
func (s *state) bfd(b interface{ Sessions() ([]bfd.Status, error) }) {
	list, err := b.Sessions()
	for _, x := range list {
		s.add("bfd %v %v %v %v", x.Key, x.State, x.RemoteState, x.Reason)
	}
	if err != nil {
		s.add("bfd %v", err)
	}
}

// due adds how long it is until a deadline, as exactly as grain.
func (s *state) due(what string, at time.Time, grain time.Duration) {
	left := time.Duration(-1)
	if !at.IsZero() {
		left = max(at.Sub(s.w.wall()), 0).Round(grain)
	}
	s.add("%s due in %v", what, left)
}
