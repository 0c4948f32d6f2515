package world

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	bgpwire "github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/daemon"
	"github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
)

type duration = time.Duration

// hypervisor is a machine with a kernel, a daemon, a BFD process and guests.
type hypervisor struct {
	machine
	w      *World
	number int

	kernel   *fakekernel.Kernel
	faults   *fakekernel.Faults // of the sockets of its programs
	refusals int                // that are left of them
	refused  time.Duration      // when they began

	daemon     *process
	settings   settings
	bfdBefore  duration // the interval of BFD before a reload,
	bfdUntil   duration // until when it may hold
	core       *daemon.Core
	fib        *fib.FIB
	driver     *fib.Driver
	tcps       []*transport
	started    int // speakers of tcps that have begun
	answers    *edge.Answers
	audits     []*audit // of its speakers, in their order
	exports    *exports
	targets    int                   // how many there are in answers
	preserved  []bgpwire.Family      // of which the kernel had routes when the daemon began
	stored     map[int]bool          // guests in the inventory's state file
	drained    daemon.DrainState     // on disk
	news       time.Duration         // when something has last happened to it that others must learn of
	told       bool                  // something has
	returned   time.Duration         // when its daemon was last back
	resetAt    time.Duration         // when TCP over a cable of it was reset last
	partial    bool                  // when it went last, not all of its sessions had said everything
	untold     bool                  // when it went last, a reflector that is back had perhaps not heard of it
	meddled    time.Duration         // when another program has last changed the kernel
	unheard    time.Duration         // until when notifications are lost or late
	began      time.Duration         // when its daemon started last
	heard      bool                  // one of its sessions has come up since
	restarting []bool                // which of its speakers were in a graceful restart, at the end of its last turn
	freed      map[netip.Prefix]bool // of which another program's route has gone since, before that
	away       [parts]absence

	client client       // of the daemon, at the BFD process
	events *bfd.Watcher // of client
	node   *bfdNode
	engine *bfd.DrivenProcess
	taking *takeover // by a successor; nil: none is under way

	monitor *fakekernel.Socket // the daemon's, for notifications

	tenants map[int]*guest // by the index of their interface
	indexes map[*guest]int
	last    int // the greatest index so far

	gone         int                  // routes of ours that the kernel has lost, so far
	watchers     []watcher            // the flows that depend on the machine
	deciders     map[uint32]int       // how many of them need each next-hop object
	destinations map[netip.Prefix]int // of them: their addresses and the networks of these
	// What has changed in the kernel since flows were looked at last.
	changedRoutes  []netip.Prefix
	changedObjects map[uint32]struct{}
}

func newMachine(name string) machine {
	return machine{name: name, alive: true, ends: map[endKey]*end{}}
}

// plug puts an interface of a machine into a fabric.
func (m *machine) plug(f *fabric, name string, ifindex int, a, a6 netip.Addr) {
	p := &port{machine: m, fabric: f, name: name, ifindex: ifindex, addr: a, addr6: a6, carrier: true}
	m.ports = append(m.ports, p)
	f.ports[a], f.ports[a6] = p, p
}

func newHypervisor(w *World, n int) *hypervisor {
	h := &hypervisor{w: w, number: n, machine: newMachine(hostName(n)), stored: map[int]bool{}, last: firstGuest}
	for i, net := range networks {
		h.machine.plug(w.fabrics[i], net.link, firstUplink+i, address(i, n), address6(i, n))
	}
	h.daemon = &process{w: w, machine: &h.machine, name: h.name + " daemon", settle: h.settle}
	h.node = &bfdNode{w: w, process: &process{w: w, machine: &h.machine, name: h.name + " BFD", settle: h.settleBFD}}
	h.machine.node = h.node
	h.exports = &exports{h: h}
	h.alive, h.machine.hypervisor = false, h
	return h
}

// boot starts the machine: a new kernel, its programs, the guests that were here.
func (h *hypervisor) boot() {
	w := h.w
	if h.alive {
		return
	}
	h.alive = true
	h.boots++
	k := fakekernel.New()
	h.kernel, h.faults = k, &fakekernel.Faults{}
	h.tenants, h.indexes = map[int]*guest{}, map[*guest]int{}
	k.AddDefaultRules(wire.FamilyIPv4)
	k.AddDefaultRules(wire.FamilyIPv6)
	for i, p := range h.ports {
		k.CreateLink(p.ifindex, p.name)
		k.SetLink(p.name, true, p.carrier)
		k.AddAddress(p.ifindex, netip.PrefixFrom(address(i, h.number), 16))
		k.AddAddress(p.ifindex, netip.PrefixFrom(address6(i, h.number), 64))
		w.disturb(p)
	}
	k.CreateLink(loopback, "loopback")
	k.SetLink("loopback", true, true)
	h.exports.kernelStarts()
	k.OnChange = func(c fakekernel.Change) {
		h.changedKernel(&c)
		h.countGone(&c)
		h.exports.kernelChanges(&c)
		h.keeps(&c)
	}
	for _, g := range w.guests {
		if g.home == h {
			h.plugGuest(g)
		}
	}
	h.changed()
	h.happened()
	w.pause(&h.away[bootAway], "a host boots: 45 s", bootTime)
	w.hearing()
	h.startBFD()
	h.startDaemon()
}

// bootTime is how long a host that has just booted may take until it is part of the fleet: its
// speakers wait for the End-of-RIB of all peers at most 30 s.
const bootTime = 45 * time.Second

// die is the end of the machine, without a word to anybody.
func (h *hypervisor) die() {
	w := h.w
	if !h.alive {
		return
	}
	for _, p := range h.ports {
		w.disturb(p)
		p.atEnd = p.carrier && !p.deaf && !p.mute && (p.backAt == 0 || w.now-p.backAt >= restore)
	}
	h.happened()
	h.alive = false
	h.unwatched()
	h.machine.crash()
	h.killBFD()
	h.killDaemon()
	h.changed()
}

// changed has the flows looked at that depend on the host.
func (h *hypervisor) changed() { h.w.changedHost(h) }

// due returns when a deadline comes, never for none.
func due(w *World, at time.Time) duration {
	if at.IsZero() {
		return never
	}
	return max(at.Sub(Epoch), w.now)
}

// drain and undrain are the commands. What is reached here stays so.
func (h *hypervisor) drain() { h.setDrain(func() error { return h.core.Drain(false) }) }

func (h *hypervisor) undrain() { h.setDrain(func() error { return h.core.Undrain() }) }

// setDrain changes the drain of a host whose daemon answers, and what of it is on disk.
func (h *hypervisor) setDrain(change func() error) {
	if h.daemon.state != running {
		return
	}
	h.daemon.do(nil, func() {
		if h.core != nil && change() == nil {
			h.drained = h.core.DrainState()
		}
	})
}

// entries returns the guests of the inventory's state file.
func (h *hypervisor) entries() (list []config.Entry) {
	numbers := make([]int, 0, len(h.stored))
	for n := range h.stored {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		list = append(list, h.w.parseEntry(n)...)
	}
	return list
}

func (w *World) parseEntry(n int) []config.Entry {
	list, err := config.ParseGuests("api", []byte(w.config.entry(n)))
	if err != nil {
		panic(err)
	}
	return list
}

// want puts a guest into the inventory.
func (h *hypervisor) want(g *guest) {
	h.stored[g.number] = true
	h.api(g, func() error { return h.core.Put(h.w.parseEntry(g.number)) })
}

// unwant takes a guest out of the inventory.
func (h *hypervisor) unwant(g *guest) {
	delete(h.stored, g.number)
	h.api(g, func() error { return h.core.Remove(g.name) })
}

// api has the daemon do something, now or when it is back: what is in the state file is read at
// the start.
func (h *hypervisor) api(about fmt.Stringer, do func() error) {
	h.daemon.do(about, func() {
		if h.core == nil {
			return
		}
		if !h.core.Running() { // an orchestrator tries again
			life := h.daemon.lives
			h.w.after(100*time.Millisecond, func() {
				if h.daemon.lives == life {
					h.api(about, do)
				}
			})
			return
		}
		if err := do(); err != nil {
			h.w.note("%s refuses: %v", h.name, err)
		}
	})
}

// plugGuest makes the interface of a guest, unless it is still there: the guest is back before what
// it has left was taken away.
func (h *hypervisor) plugGuest(g *guest) {
	if _, ok := h.indexes[g]; ok {
		return
	}
	h.last++
	h.tenants[h.last], h.indexes[g] = g, h.last
	h.kernel.CreateLink(h.last, g.name)
	h.kernel.SetLink(g.name, true, true)
	h.kick()
}

// unplugGuest removes it.
func (h *hypervisor) unplugGuest(g *guest) {
	if i, ok := h.indexes[g]; ok {
		h.kernel.DeleteLink(g.name)
		delete(h.tenants, i)
		delete(h.indexes, g)
		h.kick()
	}
}

// kick has the daemon look at what the kernel says.
func (h *hypervisor) kick() {
	h.changed()
	h.daemon.put(nil, func() {}, true)
}

// setLink gives an uplink its carrier, or takes it.
func (h *hypervisor) setLink(ifindex int, up bool) {
	if !h.alive {
		return
	}
	h.kernel.SetLink(h.portAt(ifindex).name, true, up)
	h.kick()
}

func (h *hypervisor) portAt(ifindex int) *port {
	for _, p := range h.ports {
		if p.ifindex == ifindex {
			return p
		}
	}
	return nil
}

func (h *hypervisor) guestAt(ifindex int) *guest { return h.tenants[ifindex] }

// lookup returns what the kernel does with a packet that comes in by an interface, 0 for one of the
// host's own.
func (h *hypervisor) lookup(dst netip.Addr, iif int) fakekernel.Decision {
	return h.kernel.Lookup(fakekernel.Packet{Dst: dst, IIF: iif})
}
