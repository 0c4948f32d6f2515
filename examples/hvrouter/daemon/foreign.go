package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/foreign"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
	"github.com/hyperfib/hyperfib/internal/pace"
	"github.com/hyperfib/hyperfib/vxlan"
)

// What others have in the kernel is looked at this often, or as often as takes a hundredth of the time:
// a table of a million routes takes a second.
const (
	foreignTime  = 3 * time.Second
	foreignShare = 100
	foreignRest  = 2 * time.Minute // at most
)

// watchForeign looks at what other programs have in a namespace until ctx ends.
func (p *pumps) watchForeign(ctx context.Context, n *netns.Namespace) error {
	failed := ""
	for {
		var want foreign.Want
		if !p.loop.do(ctx, func() { want = p.router.foreignWant(n) }) {
			return nil
		}
		begin := time.Now()
		list, err := readForeign(n.Path(), want)
		took := time.Since(begin)
		if err != nil && err.Error() != failed {
			n.Log().Warn("what other programs have in the kernel is not known", "event", "kernel-error", "err", err)
		}
		if failed = ""; err != nil {
			failed = err.Error()
		} else {
			p.loop.do(ctx, func() { p.router.onForeign(n, append(list, p.router.foreignEntries(n)...)) })
		}
		if pause(ctx, pace.Rest(took, foreignShare, foreignTime, foreignRest)) != nil {
			return nil
		}
	}
}

// readForeign asks the kernel.
func readForeign(path string, want foreign.Want) ([]api.Foreign, error) {
	conn, err := lookup.Open(path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	k, err := lookup.NewKernel(conn)
	if err != nil {
		return nil, err
	}
	chains, err := nftrace.ForeignChains(path, want.Firewall)
	if err != nil {
		return nil, err
	}
	return foreign.Find(k, chains, want)
}

// foreignWant is what of ours others may interfere with.
func (r *router) foreignWant(n *netns.Namespace) foreign.Want {
	uplinks, guests := map[string]bool{}, map[string]bool{}
	for l := range n.Links().All {
		uplinks[l.Interface] = n.IsUplink(l.Interface)
	}
	if n == r.home() {
		for _, p := range r.attached.ports {
			guests[p.Link.Interface] = true
		}
	}
	own := n.Links().OwnAddresses()
	return foreign.Want{NetNS: n.NetNS(), Rules: slices.Clone(n.Static().Rules), Routes: foreign.Routes(n.Part(), n.Static()),
		Uplink: func(link string) bool { return uplinks[link] && !guests[link] }, Concerns: func(link string) bool { return uplinks[link] || guests[link] },
		Own: func(a netip.Addr) bool { return own[a] }, Firewall: n.Part().Firewall.Table}
}

// foreignEntries are the forwarding entries and neighbours that are in the place of ours.
func (r *router) foreignEntries(n *netns.Namespace) (list []api.Foreign) {
	if n != r.home() {
		return nil
	}
	for _, e := range r.edge.Displaced() {
		link, _ := n.Links().Name(e.IfIndex)
		f := api.Foreign{Kind: "forwarding", What: fmt.Sprintf("%v dev %s", e.MAC, link), Why: fmt.Sprintf("it is in the place of ours, dst %v", e.VTEP)}
		switch e.Table {
		case vxlan.TableBridge:
			f.What, f.Why = f.What+" master", "it is in the place of ours"
		case vxlan.TableNeighbors:
			f.Kind, f.What, f.Why = "neighbour", fmt.Sprintf("%v dev %s", e.Addr, link), fmt.Sprintf("it is in the place of ours, lladdr %v", e.MAC)
		}
		list = append(list, f)
	}
	return list
}

// onForeign takes what other programs have in a namespace now.
func (r *router) onForeign(n *netns.Namespace, list []api.Foreign) {
	before := r.foreign[n]
	is := func(f api.Foreign) func(api.Foreign) bool {
		return func(o api.Foreign) bool { return o.Kind == f.Kind && o.What == f.What && o.Why == f.Why }
	}
	for i, f := range list {
		if at := slices.IndexFunc(before, is(f)); at >= 0 {
			list[i].Since = before[at].Since
			continue
		}
		list[i].Since = r.now()
		n.Log().Warn("another program changes what guests' packets do", "event", "foreign", "kind", f.Kind, "what", f.What, "why", f.Why, "unsure", f.Unsure)
	}
	for _, f := range before {
		if !slices.ContainsFunc(list, is(f)) {
			n.Log().Info("what another program had in the kernel is gone", "event", "foreign-gone", "kind", f.Kind, "what", f.What)
		}
	}
	if r.foreign == nil {
		r.foreign = map[*netns.Namespace][]api.Foreign{}
	}
	r.foreign[n] = list
}
