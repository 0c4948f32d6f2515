package world

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/daemon"
	"github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
	model "github.com/hyperfib/hyperfib/internal/fibcore/kernel"
)

// What is in this file is the life of a hypervisor's daemon.

// startDaemon starts the daemon.
func (h *hypervisor) startDaemon() {
	w := h.w
	if !h.alive || h.daemon.state != dead {
		return
	}
	c, err := config.Parse(h.name+".yaml", []byte(w.config.yaml(h.number, h.settings)), nil)
	if err != nil {
		panic(err) // every configuration that is kept was parsed before
	}
	h.startBFD() // as hvrouter does, unless one answers
	h.daemon.start()
	h.daemonBack()
	h.began, h.heard, h.freed, h.restarting = w.now, false, map[netip.Prefix]bool{}, nil
	h.fib, err = fib.New(fib.Config{Tables: netns.Tables(c), OnForeign: fib.ForeignWait, Audit: w.config.Audit, AuditRound: w.config.Audit})
	if err != nil {
		panic(err)
	}
	h.driver, err = h.fib.Drive(model.With(context.Background(), "", h), w.wall)
	if err != nil {
		panic(err)
	}
	h.tcps, h.started, h.answers, h.audits = nil, 0, &edge.Answers{}, nil
	h.exports.announced, h.preserved = map[netip.Prefix]bool{}, h.families()
	h.newClient()
	h.core, err = daemon.NewCore(daemon.CoreConfig{
		Log: w.logger(h.name), Now: w.wall, Config: c, Kernels: []netns.Kernel{kernel{h.fib, h}},
		BFD: h.client, Edge: h.answers, Stored: h.entries(), Drain: h.drained,
		BGP: func(c *bgp.Config) { h.tcps = append(h.tcps, w.transport(h.daemon, c)) },
	})
	if err != nil {
		panic(err)
	}
	h.daemon.do(nil, func() {})
}

// daemonTail is how long a daemon that is back may take to know what has happened meanwhile: its
// speakers wait for the End-of-RIB of all peers at most 30 s.
const daemonTail = 35 * time.Second

// killDaemon ends the daemon without a word.
func (h *hypervisor) killDaemon() {
	if h.daemon.state == dead {
		return
	}
	h.daemonGoes()
	h.daemon.end()
	h.core.Shutdown()
	h.driver.Stop()
	h.node.catchUp()
	h.client.Close()
	h.client = client{}
	h.core, h.fib, h.driver = nil, nil, nil
	h.bfdUnasked()
	h.w.note("%s has no daemon", h.name)
}

// daemonGoes notes that the daemon does nothing from now on.
func (h *hypervisor) daemonGoes() {
	w, a := h.w, &h.away[daemonAway]
	if h.daemon.state == running {
		again, settled := a.began && a.until >= w.now, h.settled()
		h.partial = h.partial && again || !settled
		h.untold = h.untold && again || !settled && slices.ContainsFunc(w.reflectors, func(r *reflector) bool { return r.away.began && r.away.until >= w.now })
		if k := &h.away[kernelAway]; k.began && k.until >= w.now && h.unrepaired() {
			w.leave(k, k.name)
		}
	}
	w.leave(a, "the daemon is away, and something else happens: 35 s after its return")
}

// settled reports whether all sessions of the daemon are up and have said everything, so that the
// kernel has every path.
func (h *hypervisor) settled() bool {
	for _, s := range h.core.Speakers() {
		for _, p := range s.Peers() {
			if p.State != bgp.Established || p.Restart != bgp.RestartNone {
				return false
			}
		}
	}
	return h.core.Converged()
}

// unrepaired reports whether the kernel may be other than the daemon wants it.
func (h *hypervisor) unrepaired() bool {
	return h.troubled() || max(h.meddled, h.unheard) > h.w.now-time.Second || len(h.fib.Diff()) > 0
}

// stopDaemon and contDaemon are SIGSTOP and SIGCONT.
func (h *hypervisor) stopDaemon() {
	if h.daemon.state == running {
		h.daemonGoes()
		h.daemon.stop()
		h.bfdUnasked()
	}
}

func (h *hypervisor) contDaemon() {
	if h.daemon.state == stopped {
		h.givenUp()
		if h.daemon.slow == 0 {
			h.daemonBack()
		}
		h.daemon.resume()
	}
}

// kernelTrouble notes that the kernel is not as the daemon wants it, for some time after the daemon
// can do something about it.
func (h *hypervisor) kernelTrouble(name string, d time.Duration) {
	if h.daemon.state == running && h.daemon.slow == 0 {
		h.w.pause(&h.away[kernelAway], name, d)
		return
	}
	h.w.leave(&h.away[kernelAway], name)
}

// daemonBack notes that the daemon does its part again.
func (h *hypervisor) daemonBack() {
	h.returned = h.w.now
	h.w.back(&h.away[daemonAway], daemonTail)
	h.w.back(&h.away[kernelAway], foreignTime)
	h.bfdBack()
}

// setSlow has everything that the daemon does take some time.
func (h *hypervisor) setSlow(d time.Duration) {
	if d > 0 {
		h.daemonGoes()
	} else if h.daemon.slow > 0 && h.daemon.state == running {
		h.daemonBack()
	}
	h.daemon.slow = d
	h.daemon.do(nil, func() {})
}

// settle does everything that the daemon can do now.
func (h *hypervisor) settle() (next duration) {
	w := h.w
	for more := true; more; {
		more = false
		step, err := h.driver.Step()
		if err != nil {
			w.violate("a daemon lives", "%s: fib: %v", h.name, err)
			h.killDaemon()
			return never
		}
		more = step
		more = h.core.Step() || more
		if ended, err := h.core.Ended(); ended {
			h.over(err)
			return never
		}
		for i, s := range h.core.Speakers() {
			if i == h.started {
				h.tcps[i].begin(s)
				h.audit(i, s)
				h.started++
			}
		}
		more = h.askBFD() || more
	}
	for _, a := range h.audits {
		a.turn()
	}
	h.restarts()
	h.answered()
	if left := h.faults.ErrnoLeft; left != h.refusals {
		if left < h.refusals { // some were refused just now
			// The next try may wait for twice as long as all before it took.
			d := 10*time.Second + min(2*(w.now-h.refused), time.Minute)
			h.kernelTrouble("the kernel is late, loses notifications or refuses: 10 s", d)
		} else {
			h.refused = w.now
		}
		h.refusals = left
	}
	next = min(due(w, h.driver.Deadline()), due(w, h.core.Deadline()), h.bfdDeadline())
	return next
}

// over takes in that the daemon has ended by itself.
func (h *hypervisor) over(err error) {
	if err != nil {
		h.w.violate("a daemon lives", "%s: %v", h.name, err)
	}
	h.killDaemon()
}
