package world

import (
	"net/netip"
	"time"
)

// machine is what has a kernel: a hypervisor or a reflector.
type machine struct {
	name  string
	alive bool
	ports []*port
	boots int // how often it has started
	// skew is how far its time of day is from the world's.
	skew time.Duration
	// ends are the TCP connections of its kernel.
	ends map[endKey]*end
	// listeners are those of the speakers that run here.
	listeners []*transport
	node      *bfdNode // its BFD sessions
	// hypervisor is nil for a reflector.
	hypervisor *hypervisor
}

// fabric is a layer 2 network.
type fabric struct {
	name  string
	ports map[netip.Addr]*port // by the addresses that answer on it
	held  []*transit           // what waits for the fabric's turn, see steps.go
}

// port is a machine's interface on a fabric, with the state of its cable.
type port struct {
	machine *machine
	fabric  *fabric
	name    string // of the interface
	ifindex int
	addr    netip.Addr
	addr6   netip.Addr

	carrier    bool // the cable is in: if not, both kernels know
	deaf, mute bool // silently, nothing comes in, nothing goes out
	impaired   impairment
	troubled   time.Duration // when any of this was changed last
	cutAt      time.Duration // when something or everything began to be lost; 0: never
	lostAt     time.Duration // when that, or the carrier, began to be lost
	backAt     time.Duration // when the carrier, or what was lost silently, was back last
	trouble    span          // the last time during which a packet may have been lost or late
	atEnd      bool          // when the machine died last, packets had gone both ways for long enough for a session
}

// impairment is what a port does to the packets that it sends.
type impairment struct {
	loss, copies float64       // how many of all packets, from 0 to 1
	delay        time.Duration // more than the fabric's own
	jitter       time.Duration // at most so much more, drawn for each packet
}

// latency is how long a packet takes over a fabric without impairment.
const latency = 30 * time.Microsecond

// passes reports whether a packet would get from one port to another, luck aside.
func passes(from, to *port) bool {
	return from != nil && to != nil && from.machine.alive && to.machine.alive &&
		from.carrier && to.carrier && !from.mute && !to.deaf
}

// clean reports whether every packet between two ports passes both ways, after the latency.
func clean(a, b *port) bool {
	return passes(a, b) && passes(b, a) && a.impaired == impairment{} && b.impaired == impairment{}
}

// lost draws whether a packet that passes is lost after all.
func (w *World) lost(from *port) bool {
	return from.impaired.loss > 0 && w.random.Float64() < from.impaired.loss
}

// delay draws how long a packet takes.
func (w *World) delay(from *port) time.Duration {
	d := latency + from.impaired.delay
	if j := from.impaired.jitter; j > 0 {
		d += time.Duration(w.random.Int64N(int64(j)))
	}
	return d
}

// packet sends a packet: deliver is called for each copy that arrives.
func (w *World) packet(from, to *port, deliver func()) {
	if !passes(from, to) || w.lost(from) {
		w.Counts.PacketsLost++
		return
	}
	copies := 1
	if from.impaired.copies > 0 && w.random.Float64() < from.impaired.copies {
		copies = 2
	}
	for range copies {
		w.carry(from, to, &transit{at: w.now + w.delay(from), lossy: true, do: func() {
			if to.machine.alive && to.carrier && !to.deaf {
				deliver()
			}
		}})
	}
}

// local returns the port's address of the family of another address.
func (p *port) local(a netip.Addr) netip.Addr {
	if a.Is4() {
		return p.addr
	}
	return p.addr6
}

// portOf returns the port of an address, or of an interface's name.
func (m *machine) portOf(a netip.Addr, name string) *port {
	for _, p := range m.ports {
		if p.addr == a || p.addr6 == a && a.IsValid() || !a.IsValid() && p.name == name {
			return p
		}
	}
	return nil
}
