package world

import (
	"context"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
)

// client is the daemon's client of the BFD process.
type client struct{ *bfd.DrivenClient }

var _ bfd.Service = client{}

// Run implements [bfd.Service]; a daemon.Core does not call it.
func (client) Run(context.Context) error { return nil }

// clientName is the name of the daemon at its BFD process.
const clientName = "hvrouter"

// newClient makes the client of a daemon that starts.
func (h *hypervisor) newClient() {
	c, err := bfd.NewDrivenClient(bfd.DrivenClientConfig{
		Name: clientName,
		Now:  func() (time.Duration, time.Time) { return h.w.now, Epoch.Add(h.w.now + h.skew) },
		Dial: func() (*bfd.DrivenProcess, error) {
			if h.engine == nil || h.engine.Ended() {
				return nil, errRefused
			}
			return h.engine, nil
		},
		Notice: func(err error) { h.w.note("%s: %v", h.name, err) },
	})
	if err != nil {
		panic(err)
	}
	h.client, h.events = client{c}, c.Watch()
}

// askBFD has the client connect, ask for what is wanted and take what the process says, which the
// daemon hears. It reports whether there was something.
func (h *hypervisor) askBFD() bool {
	if h.node.process.state == stopped {
		return false // who asks waits
	}
	asks := h.client.Deadline() <= h.w.now
	if asks {
		h.node.catchUp()
	}
	h.client.Advance(h.w.now)
	if asks && h.client.Connected() {
		h.w.disturbNode(h.node)
	}
	var buf [16]bfd.Event
	n, _ := h.events.Next(over, buf[:])
	for _, e := range buf[:n] {
		h.core.BFD(e)
	}
	return asks || n > 0
}

// disconnect ends the connection between the daemon and the BFD process, as the death of either
// does.
func (h *hypervisor) disconnect() {
	if h.client.DrivenClient != nil {
		h.node.catchUp()
		h.client.Disconnect()
	}
}

// startBFD starts the BFD process.
func (h *hypervisor) startBFD() {
	if !h.alive || h.node.process.state != dead {
		return
	}
	h.node.process.start()
	engine, err := bfd.NewDrivenProcess(h.node.driven(h.failoverKernel), 0)
	if err != nil {
		panic(err)
	}
	h.serve(engine)
	h.bfdBack()
}

// serve makes a process the one that has the sessions.
func (h *hypervisor) serve(engine *bfd.DrivenProcess) {
	h.engine = engine
	h.node.engine, h.node.watcher = engine, engine.Watch()
	h.node.onEvent = func(bfd.Event) { h.daemon.do(nil, func() {}) }
	h.node.process.put(nil, func() {}, true)
	h.daemon.do(nil, func() {})
}

// killBFD ends the BFD process without a word.
func (h *hypervisor) killBFD() {
	w := h.w
	if h.node.process.state == dead {
		return
	}
	w.disturbNode(h.node)
	h.node.process.end()
	h.node.engine, h.node.watcher, h.node.ways, h.node.waiting = nil, nil, nil, nil
	h.engine = nil
	h.handedOver()
	h.disconnect()
	if h.alive {
		h.happened()
		w.leave(&h.away[bfdAway], "the BFD process is dead: 20 s after its return")
		h.unwatched()
		life := h.node.process.lives
		w.after(superviseTime, func() { // the daemon's supervisor, or systemd
			if h.node.process.lives == life && h.daemon.state == running {
				h.startBFD()
			}
		})
	}
}

// bfdBack notes that BFD works again, if there is a daemon that asks for the sessions.
func (h *hypervisor) bfdBack() {
	if h.daemon.state == running && h.node.process.state == running {
		h.w.back(&h.away[bfdAway], bfdTail)
	}
}

// unwatched notes that a path between the host and a reflector fails, or may have failed just now, while the
// host's BFD is not up: only the hold timer notices, and paths are retained then.
func (h *hypervisor) unwatched() {
	w, a := h.w, &h.away[unwatchedAway]
	whole, recent := h.alive, !h.alive
	ports := slices.Clip(h.ports)
	for _, r := range w.reflectors {
		ports = append(ports, r.port())
	}
	for _, p := range ports {
		if !p.carrier || p.deaf || p.mute {
			whole, recent = false, recent || p.lostAt >= w.now-h.detection()-slack
		}
	}
	if whole {
		if a.began {
			a.until = min(a.until, w.now+restore)
		}
		return
	}
	starts := func(b *absence) bool { return b.began && b.until >= w.now }
	if recent && (starts(&h.away[bfdAway]) || starts(&h.away[bootAway])) {
		w.pause(a, "something happens while BFD is not up again: hold time and 120 s", w.config.Hold+restartTime+slack)
	}
}

// givenUp notes that the peers of a daemon that goes on have given it up meanwhile, and BFD with it: a path that
// has failed since is not known to have, and what it has brought is retained for the restart time.
func (h *hypervisor) givenUp() {
	w := h.w
	whole := !slices.ContainsFunc(h.ports, func(p *port) bool { return !p.carrier || p.deaf || p.mute })
	if a := &h.away[daemonAway]; !whole && w.now >= a.since+w.config.Hold {
		w.pause(&h.away[unwatchedAway], "the daemon is stopped for the hold time, and its cable is cut: 120 s after it goes on", restartTime+slack)
	}
}

// bfdUnasked notes that the daemon has gone again before BFD was up.
func (h *hypervisor) bfdUnasked() {
	if a := &h.away[bfdAway]; a.began && a.until >= h.w.now {
		a.until = never
	}
}

// bfdTail is how long sessions take to come up again after the BFD process is back.
const bfdTail = 20 * time.Second

// superviseTime is how long the BFD process may be gone until the daemon starts another.
const superviseTime = 2 * time.Second

// stopBFD and contBFD are SIGSTOP and SIGCONT.
func (h *hypervisor) stopBFD() {
	if h.node.process.state == running {
		h.w.disturbNode(h.node)
		h.node.process.stop()
		if h.taking != nil {
			h.taking.troubled = true
		}
		h.happened()
		h.w.leave(&h.away[bfdAway], "the BFD process is stopped: 20 s after its return")
	}
}

func (h *hypervisor) contBFD() {
	if h.node.process.state == stopped {
		h.node.process.resume()
		h.w.disturbNode(h.node)
		h.bfdBack()
		h.daemon.do(nil, func() {}) // what it asked for waits
	}
}

// settleBFD does everything that the BFD process can do now.
func (h *hypervisor) settleBFD() duration {
	for more := true; more; {
		more = h.node.step()
		if h.engine == nil {
			return never
		}
	}
	if t := h.taking; t != nil && h.engine == t.giver && h.engine.Ended() && !t.giving.Over() {
		t.troubled = true // nobody has asked for it for too long: in production its successor begins without it
	}
	if h.engine.Ended() && (h.taking == nil || h.engine == h.taking.taker || h.taking.toTaker.dead) {
		h.killBFD()
		return never
	}
	return h.engine.Awake()
}

// handover has a new BFD process take the sessions over at once, without the steps of takeOver.
func (h *hypervisor) handover() {
	w := h.w
	if h.node.process.state != running || h.engine == nil || h.taking != nil {
		return
	}
	w.disturbNode(h.node)
	state, err := h.engine.Export()
	if err != nil {
		w.violate("a handover succeeds", "%s: %v", h.name, err)
		return
	}
	next, err := bfd.ImportDrivenProcess(h.node.driven(h.failoverKernel), 0, state)
	if err != nil {
		w.violate("a handover succeeds", "%s: %v", h.name, err)
		h.engine.Resume()
		return
	}
	h.engine.Leave()
	h.disconnect()
	next.Resume()
	h.serve(next)
	w.disturbNode(h.node)
}

// bfdDeadline returns when askBFD has something to do by itself.
func (h *hypervisor) bfdDeadline() time.Duration {
	if h.node.process.state == stopped {
		return never // cont wakes the daemon
	}
	return max(h.client.Deadline(), h.w.now)
}
