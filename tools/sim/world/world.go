// Package world is a fleet in one goroutine: machines with the model kernel of internal/testing,
// BGP speakers, BFD processes and hvrouter's daemon, all of them the code that runs in
// production, driven by one clock and one seed. Faults are inputs of a scenario; invariants are
// judged all the time.
package world

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

// World is a fleet. It is for one goroutine.
type World struct {
	*schedule
	config     Config
	fabrics    []*fabric
	reflectors []*reflector // one for each network
	hosts      []*hypervisor
	nodes      []*bfdNode
	ways       map[wayKey]*way
	guests     []*guest
	flows      []*flow
	numbers    int           // of flows, so far
	broken     []*flow       // those that are, by number
	marked     []*flow       // those to be looked at
	changed    bool          // something has that may concern flows
	dirty      []*hypervisor // whose kernels have changed since flows were looked at last
	bounds     []*bound
	trace      *trace
	logged     map[string]int // log lines of each program
	sockets    uint32         // of netlink, so far
	verbose    bool
	counted    int           // faults, at the last check
	steps      *steps        // nil: everything happens by itself
	upBy       time.Duration // when everything of the start has settled

	// Counts is what happened so far.
	Counts Counts
	// Outages are how long flows were broken while there was a way.
	Outages Durations
	// Violations are the invariants that were broken for longer than their bounds.
	Violations []Violation
}

// Counts is how much a world has done.
type Counts struct {
	Inputs, Faults  int    // all, and those that are no end of a fault
	BFD, BFDSkipped uint64 // packets that were events, and those that were skipped
	PacketsLost     uint64
	Retransmissions uint64
	Lookups         uint64
	LogLines        uint64
	Checks          int
}

// New makes a world and starts everything in it.
func New(c Config) (*World, error) {
	c = c.withDefaults()
	w := &World{schedule: newSchedule(c.Seed), config: c, ways: map[wayKey]*way{}, trace: newTrace(c.Trace), logged: map[string]int{}, verbose: c.Trace != nil}
	w.now, w.upBy = c.Begin, firstFault-time.Second
	w.note("%s", c.Header())
	for i, net := range networks {
		w.fabrics = append(w.fabrics, &fabric{name: net.name, ports: map[netip.Addr]*port{}})
		r := newReflector(w, i)
		w.reflectors = append(w.reflectors, r)
		w.nodes = append(w.nodes, r.node)
	}
	for n := range c.Hosts {
		h := newHypervisor(w, n+1)
		w.hosts = append(w.hosts, h)
		w.nodes = append(w.nodes, h.node)
	}
	for n := range c.Hosts * c.Guests {
		g := w.guest(n + 1)
		g.home = w.hosts[n/c.Guests]
		g.home.stored[g.number] = true
	}
	for _, r := range w.reflectors {
		r.start(true)
	}
	for _, h := range w.hosts {
		h.boot()
	}
	for _, g := range w.guests {
		w.addFlows(g)
	}
	if c.Hosts > 1 {
		for _, h := range w.hosts {
			o := w.other(h)
			w.addFlow(&flow{from: h, host: o, to: loopbackOf(o.number)})
		}
	}
	return w, nil
}

// Now returns how long the world has lasted.
func (w *World) Now() time.Duration { return w.now }

// flowsOfGuest is from how many hypervisors each guest gets traffic.
const flowsOfGuest = 2

// addFlows makes the traffic to a guest.
func (w *World) addFlows(g *guest) {
	if len(w.hosts) < 2 {
		return
	}
	for range flowsOfGuest {
		from := w.hosts[w.random.IntN(len(w.hosts))]
		w.addTraffic(from, g)
	}
}

// addTraffic makes the traffic from a hypervisor to a guest, of both families.
func (w *World) addTraffic(from *hypervisor, g *guest) {
	w.addFlow(&flow{from: from, guest: g, to: g.addr, iif: firstUplink})
	if g.addr6.IsValid() {
		w.addFlow(&flow{from: from, guest: g, to: g.addr6, iif: firstUplink})
	}
}

// other draws another hypervisor.
func (w *World) other(h *hypervisor) *hypervisor {
	for {
		if o := w.hosts[w.random.IntN(len(w.hosts))]; o != h {
			return o
		}
	}
}

// nodeAt returns the BFD sessions of a machine, nil if its process is dead.
func (w *World) nodeAt(m *machine) *bfdNode {
	if n := m.node; n != nil && n.engine != nil {
		return n
	}
	return nil
}

// pathChanged takes in that a cable is another than before.
func (w *World) pathChanged(p *port) {
	p.note(w.now)
	w.after(restore, w.rejudge)
	w.hearing()
	if h := p.machine.hypervisor; h != nil {
		w.changedHost(h)
		if h.alive { // of a dead one it is no news
			h.happened()
			h.unwatched()
		}
		if slices.ContainsFunc(h.ports, func(p *port) bool { return p.impaired != impairment{} }) {
			w.leave(&h.away[pathAway], "packets are lost, late or doubled: 45 s after that")
		} else {
			w.back(&h.away[pathAway], restore)
		}
		return
	}
	for _, h := range w.hosts {
		if w.changedHost(h); h.alive {
			h.unwatched()
		}
	}
	r := w.reflectorOf(p)
	r.news, r.told = w.now, true
	if p.deaf || p.mute || p.impaired != (impairment{}) {
		w.leave(&r.away, "a reflector is away: 60 s after its return")
	} else if r.process.state == running {
		w.back(&r.away, reflectorTail)
	}
}

// reflectorTail is how long a reflector that is back may take to know everything.
const reflectorTail = 60 * time.Second

func (w *World) reflectorOf(p *port) *reflector {
	for _, r := range w.reflectors {
		if r.port() == p {
			return r
		}
	}
	return nil
}

// everyone is "everyone whole", which ends all faults, and "everyone check", which holds
// whatever must hold after a quiet time.
func (w *World) everyone(words []string) error {
	switch word(words, 0) {
	case "whole":
		w.whole()
	case "check":
		w.check()
	default:
		return errWords
	}
	return nil
}

// whole ends all faults.
func (w *World) whole() {
	var ports []*port
	for _, r := range w.reflectors {
		ports = append(ports, r.port())
		r.cont()
		r.start(false)
	}
	for _, h := range w.hosts {
		ports = append(ports, h.ports...)
		h.boot()
		h.setSlow(0)
		h.contDaemon()
		h.contBFD()
		h.startBFD()
		h.startDaemon()
		h.undrain()
		*h.faults = fakekernel.Faults{}
		h.dropForeign()
		w.back(&h.away[foreignAway], foreignTime)
		h.kernel.Wake()
		h.kick()
	}
	for _, p := range ports {
		if p.deaf || p.mute || p.impaired != (impairment{}) {
			w.disturb(p)
			w.clear(p)
		}
		w.setCarrier(p, true)
	}
	for _, g := range w.guests {
		for _, h := range w.hosts {
			if h.stored[g.number] && g.home != h {
				h.unwant(g)
			}
		}
	}
}

// Report writes what happened.
func (w *World) Report(out io.Writer) {
	c := w.Counted()
	fmt.Fprintf(out, "%d hypervisors, %d guests, %d flows; %d inputs, %d of them faults, %d checks\n", len(w.hosts), len(w.guests), len(w.flows), c.Inputs, c.Faults, c.Checks)
	fmt.Fprintf(out, "BFD packets: %d simulated, %d skipped; %d packets lost, %d retransmissions of TCP, %d events, %d lookups, %d log lines\n",
		c.BFD, c.BFDSkipped, c.PacketsLost, c.Retransmissions, w.ran, c.Lookups, c.LogLines)
	fmt.Fprintf(out, "outages of flows that had a way: %v\n", &w.Outages)
	fmt.Fprintln(out, "bounds, and how often something was broken under them:")
	for _, l := range w.Bounds() {
		fmt.Fprintln(out, "  "+l)
	}
}
