package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/internal/rate"
	"github.com/hyperfib/hyperfib/ndp"
)

// heard are addresses that a guest asked for its gateway from, besides those that the
// inventory gives it: a link-local address that is not made from its MAC (RFC 7217, Section 5), one
// that it formed in its /64. The kernel gets a permanent neighbour for each of the newest,
// so that it can answer them by itself while there is no daemon.
type heard struct {
	addrs []netip.Addr // the oldest first
	allow rate.Bucket
}

const (
	mostHeard  = 8           // addresses of one guest
	heardRate  = 1. / 10     // new ones a second, after a burst of mostHeard
	heardPause = time.Second // between two looks: a refresh costs time at a thousand guests
)

func (h *heard) list() []netip.Addr {
	if h == nil {
		return nil
	}
	return h.addrs
}

// add takes an address in and reports whether it did; the oldest goes if there are too
// many.
func (h *heard) add(a netip.Addr, now time.Time) bool {
	if slices.Contains(h.addrs, a) || !h.allow.Take(now) {
		return false
	}
	if len(h.addrs) == mostHeard {
		h.addrs = h.addrs[1:]
	}
	h.addrs = append(slices.Clip(h.addrs), a)
	return true
}

// onHeard takes senders in of whom the kernel does not know, and tells whoever answers them
// that it does now.
func (r *router) onHeard(list []ndp.Sender, now time.Time) {
	byLink := map[int]guest.Port{}
	for _, p := range r.served {
		byLink[p.Link.IfIndex] = p
	}
	changed := map[int]bool{}
	for _, s := range list {
		p, ok := byLink[s.IfIndex]
		if !ok || !domain.Permanent(p.Guest) || r.cfg.Firewall.Off {
			continue
		}
		if r.heard[s.IfIndex] == nil {
			r.heard[s.IfIndex] = &heard{allow: rate.Bucket{Rate: heardRate, Size: mostHeard}}
		}
		if r.heard[s.IfIndex].add(s.Addr, now) {
			changed[s.IfIndex] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	r.refresh()
	for link := range changed {
		p := byLink[link]
		p.Heard = r.heard[link].list()
		r.edge.Known(p)
	}
}

// heardBy returns what the guests of a namespace were heard from, by interface.
func (r *router) heardBy(p *netns.Namespace, guests []config.Guest) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, g := range guests {
		if link, ok := p.Links().ByName(g.Interface); ok && len(r.heard[link.IfIndex].list()) > 0 {
			out[g.Interface] = r.heard[link.IfIndex].addrs
		}
	}
	return out
}

// pumpHeard brings senders to the loop.
func (d *Daemon) pumpHeard(ctx context.Context, e interface {
	Heard(context.Context) ([]ndp.Sender, error)
}) error {
	for {
		list, err := e.Heard(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		d.loop.do(ctx, func() { d.router.onHeard(list, time.Now()) })
		if pause(ctx, heardPause) != nil {
			return nil
		}
	}
}
