package world

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hyperfib/hyperfib/bgp"
)

// foreignTime is how long it may take until what another program has broken is whole again: it
// is repaired at once, but for what is broken again and again.
const foreignTime = 35 * second

const second = 1e9

// check holds whatever must hold after a quiet time.
func (w *World) check() {
	w.Counts.Checks++
	w.catchUp()
	for _, h := range w.hosts {
		if !h.alive || h.daemon.state != running || h.core == nil {
			w.violate("everything runs", "%s: alive %v, daemon %v", h.name, h.alive, h.daemon.state)
			continue
		}
		w.checkSessions(h)
		w.checkKernel(h)
		w.checkDomains(h)
		w.checkAnswers(h)
		w.checkNoise(h)
	}
	for _, f := range w.flows {
		w.lookAt(f)
		if f.bad && w.possible(f) {
			w.violate("every guest is reached after quiet", "%v: %s", f, f.why)
		}
	}
}

// checkSessions: every session is up again after quiet, of BGP and of BFD.
func (w *World) checkSessions(h *hypervisor) {
	for _, t := range h.core.Speakers() {
		for _, p := range t.Peers() {
			if p.State != bgp.Established {
				w.violate("every session is up after quiet", "%s: %v is %v: %v", h.name, p.Key, p.State, p.LastError)
			}
		}
	}
	if ready, why := h.core.Ready(); !ready || !h.core.Converged() {
		w.violate("every session is up after quiet", "%s: ready %v (%s), converged %v", h.name, ready, why, h.core.Converged())
	}
	list, err := h.client.Sessions()
	if err != nil || len(list) != w.config.bfdSessions() {
		w.violate("every session is up after quiet", "%s: %d BFD sessions: %v", h.name, len(list), err)
	}
	for _, s := range list {
		if s.State.String() != "Up" {
			w.violate("every session is up after quiet", "%s: BFD to %v is %v: %v", h.name, s.Peer, s.State, s.Reason)
		}
	}
}

// checkKernel: what is desired is in the kernel, and nothing else of ours; every guest that is
// somewhere else has a next hop on each fabric, one that is nowhere has none.
func (w *World) checkKernel(h *hypervisor) {
	for _, d := range h.fib.Diff() {
		w.violate("RIB = FIB = kernel after quiet", "%s: %v", h.name, d)
	}
	ours := 0
	for _, r := range h.kernel.Routes() {
		if r.Protocol == protocol && r.Table == guestTable && w.guestOf(r.Prefix().Addr()) != nil {
			ours++
		}
	}
	there := 0
	for _, g := range w.guests {
		if g.home != nil {
			there++
			if g.addr6.IsValid() {
				there++
			}
		}
	}
	if ours != there {
		w.violate("RIB = FIB = kernel after quiet", "%s: %d routes of guests for %d guests", h.name, ours, there)
	}
	for _, g := range w.sample() {
		w.checkLookup(h, g, g.addr, address)
		if g.addr6.IsValid() {
			w.checkLookup(h, g, g.addr6, address6)
		}
	}
}

// checkLookup: the kernel sends to a guest's address over both fabrics, or to its interface.
func (w *World) checkLookup(h *hypervisor, g *guest, to netip.Addr, gateway func(network, n int) netip.Addr) {
	got := h.lookupAll(to, firstUplink)
	var want []string
	switch {
	case g.home == h:
		via := netip.Addr{}
		if to.Is6() && !guestPrefix6(g.number).IsSingleIP() {
			via = linkLocal(g.number)
		}
		want = []string{fmt.Sprintf("%v on %d, local false", via, h.indexes[g])}
	case g.home != nil:
		for i := range 2 {
			want = append(want, fmt.Sprintf("%v on %d, local false", gateway(i, g.home.number), firstUplink+i))
		}
		slices.Sort(want)
	case len(got) == 1 && !strings.Contains(got[0], "local"): // a verdict
		return
	}
	if !slices.Equal(got, want) {
		w.violate("RIB = FIB = kernel after quiet", "%s: %s: %q, want %q", h.name, g.name, got, want)
	}
}

// sampled is how many guests a check looks at from each hypervisor.
const sampled = 20

// sample draws some guests.
func (w *World) sample() (list []*guest) {
	if len(w.guests) <= sampled {
		return w.guests
	}
	for range sampled {
		list = append(list, w.guests[w.random.IntN(len(w.guests))])
	}
	return list
}

// checkDomains: what comes from a guest, or by a public uplink, never gets into the private
// networks, and the other way round.
func (w *World) checkDomains(h *hypervisor) {
	inside := func(ifindex int) bool { return ifindex == firstUplink+2 || ifindex == firstUplink+3 }
	o := w.hosts[w.random.IntN(len(w.hosts))]
	for i := range h.tenants {
		w.leak(h, i, loopbackOf(o.number).String(), inside)
		break
	}
	w.leak(h, firstUplink, loopbackOf(o.number).String(), inside)
	if list := w.sample(); len(list) > 0 && list[0].home != h {
		w.leak(h, firstUplink+2, list[0].addr.String(), func(ifindex int) bool { return !inside(ifindex) })
	}
}

// leak reports a packet that leaves a domain.
func (w *World) leak(h *hypervisor, iif int, dst string, forbidden func(ifindex int) bool) {
	for _, n := range h.lookup(parseAddr(dst), iif).NextHops {
		if forbidden(int(n.IfIndex)) {
			w.violate("no leak between domains", "%s: a packet to %s that comes in by %d leaves by %d", h.name, dst, iif, n.IfIndex)
		}
	}
}

// checkAnswers: nobody answers ARP for what is not theirs: a guest is never told that its own
// address is somewhere else.
func (w *World) checkAnswers(h *hypervisor) {
	targets := h.answers.Targets()
	for p, ifindex := range targets {
		g := w.guestOf(p.Addr())
		if g == nil || !p.IsSingleIP() {
			continue
		}
		at := 0
		if g.home == h {
			at = h.indexes[g]
		}
		if ifindex != at {
			w.violate("nobody answers ARP for what is not theirs", "%s: %v is said to be behind %d, is behind %d", h.name, p, ifindex, at)
		}
	}
}

// mostLogLines is how many lines a daemon may log between two checks for each fault of the
// world, and mostAlways how many it may log anyway.
const (
	mostLogLines = 60
	mostAlways   = 600
)

// checkNoise: log lines are bounded by what has happened.
func (w *World) checkNoise(h *hypervisor) {
	n := w.logged[h.name]
	w.logged[h.name] = 0
	if limit := mostAlways + mostLogLines*(w.Counts.Inputs-w.counted); n > limit {
		w.violate("log lines are bounded", "%s: %d lines since the last check, at most %d", h.name, n, limit)
	}
	if h == w.hosts[len(w.hosts)-1] {
		w.counted = w.Counts.Inputs
	}
}
