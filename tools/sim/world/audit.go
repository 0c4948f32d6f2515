package world

import (
	"fmt"
	"net/netip"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// audited is how many hypervisors of a world have their tables looked at after each of their
// turns; the reflectors always have.
const audited = 8

// audit looks at the table of one speaker after each turn of its process.
type audit struct {
	w       *World
	name    string
	speaker *bgp.Speaker
	routes  *bgp.RouteWatcher
	events  *bgp.Watcher
	exports *exports // of its hypervisor, if its domain has the guests; else nil
	changes [16]rib.Change
	seen    [16]bgp.Event
	said    map[string]bool // what was found in the life of the process
}

// audit begins to look at the table of a speaker.
func (w *World) audit(name string, s *bgp.Speaker, x *exports) *audit {
	return &audit{w: w, name: name, speaker: s, exports: x, routes: s.WatchRoutes(rib.WatchConfig{}), events: s.Watch(), said: map[string]bool{}}
}

// turn looks at what has changed in a turn.
func (a *audit) turn() {
	for {
		n, _ := a.routes.Next(over, a.changes[:])
		for i := range a.changes[:n] {
			a.change(&a.changes[i])
		}
		if n == 0 {
			break
		}
	}
	sessions := false
	for {
		n, _ := a.events.Next(over, a.seen[:])
		if n == 0 {
			break
		}
		for i := range a.seen[:n] {
			if e := &a.seen[i]; e.Kind != bgp.EventState && e.Kind != bgp.EventError {
				sessions = true
				a.session(e.Peer)
			}
		}
	}
	if sessions {
		a.table()
	}
}

// change looks at the best paths of a prefix.
func (a *audit) change(c *rib.Change) {
	if c.Converged {
		return
	}
	a.beside(c)
	if a.exports == nil || a.w.guestOf(c.Prefix.Addr()) == nil {
		return
	}
	for i := range c.Paths {
		if c.Paths[i].Local {
			a.exports.announce(c.Prefix)
			return
		}
	}
	delete(a.exports.announced, c.Prefix)
}

// beside: a stale path never shares traffic with a fresh one.
func (a *audit) beside(c *rib.Change) {
	var stale, fresh *rib.Path
	for i := range c.Paths {
		switch p := &c.Paths[i]; {
		case p.Rank > 0:
		case p.Stale:
			stale = p
		default:
			fresh = p
		}
	}
	if stale != nil && fresh != nil {
		a.violate("no stale path beside a fresh one", "%s: %v by %v, stale, and by %v", a.name, c.Prefix, stale.NextHop.Addr, fresh.NextHop.Addr)
	}
}

// session looks at a peer whose session has come, gone or said End-of-RIB.
func (a *audit) session(k bgp.PeerKey) {
	p, err := a.speaker.Peer(k)
	// RFC 8538, Section 4: a Hard Reset ends the session without graceful restart.
	if e := p.LastError; err == nil && p.Restart == bgp.RestartWaiting && e != nil && e.State == bgp.Established && e.Received != nil && e.Received.IsHardReset() {
		a.violate("nothing is retained after a Hard Reset", "%s: the paths of %v", a.name, p.Key.Addr)
	}
}

// table looks at everything after a session has come, gone or said End-of-RIB: paths that become
// stale are no change of the best ones.
func (a *audit) table() {
	for _, f := range [...]wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
		for c := range a.speaker.Table().All(f) {
			a.beside(&c)
		}
	}
}

// violate records a violation, once in the life of a process.
func (a *audit) violate(invariant, format string, args ...any) {
	if what := fmt.Sprintf(format, args...); !a.said[what] {
		a.said[what] = true
		a.w.violate(invariant, "%s", what)
	}
}

// audit has the table of a speaker looked at, the first of which is that of the guests.
func (h *hypervisor) audit(i int, s *bgp.Speaker) {
	if h.number > audited {
		return
	}
	x := h.exports
	if i > 0 {
		x = nil
	}
	h.audits = append(h.audits, h.w.audit(h.name, s, x))
}

// answered has the flows of guests that are nowhere looked at, if what guests are answered may
// have changed.
func (h *hypervisor) answered() {
	if n := len(h.answers.Targets()); n != h.targets {
		h.targets = n
		h.changed()
	}
}

// answers reports whether guests of a hypervisor are told that the guest of a flow is somewhere.
func (f *flow) answers() bool {
	h := f.from
	if f.guest == nil || h.daemon.state != running || h.answers == nil {
		return false
	}
	_, ok := h.answers.Targets()[netip.PrefixFrom(f.to, f.to.BitLen())]
	return ok
}
