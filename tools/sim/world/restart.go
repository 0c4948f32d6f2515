package world

import (
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	model "github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/testing/fakekernel"
	"golang.org/x/sys/unix"
)

// keeps looks at a route to another hypervisor that the daemon deletes: after a restart it deletes
// none before one of its sessions has come up, or nobody is waited for any longer (RFC 4724, Section
// 4.1). The copy of another program's route goes with that.
func (h *hypervisor) keeps(c *fakekernel.Change) {
	w, r := h.w, c.OldRoute
	if r == nil || h.daemon.state != running || h.heard || w.now >= h.began+deferralTime {
		return
	}
	if r.Protocol == unix.RTPROT_STATIC {
		h.freed[r.Prefix()] = true
	}
	if c.NewRoute != nil || c.Cascade || c.Port == foreignPort || c.Port == bfdPort || c.Port == 0 || h.freed[r.Prefix()] ||
		r.Protocol != protocol || r.Type != model.RouteUnicast || h.exports.origin(r) {
		return
	}
	if g := w.guestOf(r.Prefix().Addr()); g != nil && h.stored[g.number] {
		return
	}
	w.violate("a restart sweeps nothing before a session is up", "%s: %v in table %d", h.name, r.Prefix(), r.Table)
}

// restarts looks at the speakers of a daemon that has restarted, after each of its turns: whether a
// session has come up, which [hypervisor.keeps] asks, and whether a restart that has ended before the
// time for it had a reason.
func (h *hypervisor) restarts() {
	if h.w.now >= h.began+deferralTime {
		return
	}
	for i, s := range h.core.Speakers() {
		peers := s.Peers()
		heard := slices.ContainsFunc(peers, func(p bgp.PeerStatus) bool { return p.Established > 0 })
		h.heard = h.heard || heard
		if i == len(h.restarting) {
			h.restarting = append(h.restarting, false)
		}
		was := h.restarting[i]
		if h.restarting[i] = s.Restarting(); was && !h.restarting[i] {
			h.restarted(peers, heard)
		}
	}
}

// restarted: a restart ends when all peers that have a session have sent End-of-RIB of each family,
// "excluding the ones with the "Restart State" bit set" (RFC 4724, Section 4.1), and there is one at
// least.
func (h *hypervisor) restarted(peers []bgp.PeerStatus, heard bool) {
	w := h.w
	if !heard && len(peers) > 0 {
		w.violate("a restart ends with End-of-RIB", "%s: of nobody, in %s", h.name, peers[0].Key)
	}
	for _, p := range peers {
		n := p.Negotiated
		if p.State != bgp.Established || n == nil || !p.Since.Before(w.wall()) || n.Remote.GracefulRestart == nil || n.Remote.GracefulRestart.Restarting {
			continue
		}
		for _, f := range p.Families {
			if f.EndOfRIB.IsZero() && n.Families.Has(f.Family) {
				w.violate("a restart ends with End-of-RIB", "%s: %v has not sent that of %v", h.name, p.Key, f.Family)
			}
		}
	}
}

// deferralTime is how long a daemon waits for its peers after a restart.
const deferralTime = 30 * time.Second
