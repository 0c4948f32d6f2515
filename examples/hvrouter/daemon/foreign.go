package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/foreign"
	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/examples/hvrouter/nftrace"
	"github.com/hyperfib/hyperfib/fib"
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
		waiting := waitingRoutes{kernel: n.Kernel()}
		want.BGP = func(routes []lookup.Route) (list []foreign.BGP) {
			p.loop.do(ctx, func() { list = p.router.bgpFor(n, routes) })
			waiting.note(routes, list)
			return list
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
	return foreign.Want{NetNS: n.NetNS(), Rules: slices.Clone(n.Static().Rules), Routes: foreign.Routes(n.Part(), n.Static()), Tables: domainTables(n.Part()),
		Uplink: func(link string) bool { return uplinks[link] && !guests[link] }, Concerns: func(link string) bool { return uplinks[link] || guests[link] },
		Overlay: foreign.Overlays(n.Part()), Own: func(a netip.Addr) bool { return own[a] }, Firewall: n.Part().Firewall.Table}
}

func domainTables(c *config.Config) (list []uint32) {
	for _, d := range c.Domains {
		list = append(list, d.Table.ID)
	}
	return list
}

// bgpFor returns the route that BGP has for each of some foreign routes of one table: for the same prefix, or for the
// longest one around it, but for the default route.
func (r *router) bgpFor(n *netns.Namespace, routes []lookup.Route) []foreign.BGP {
	list := make([]foreign.BGP, len(routes))
	for g := range r.all {
		if g.namespace != n || len(routes) == 0 || g.table != routes[0].Table {
			continue
		}
		for i, one := range routes {
			for bits := one.Prefix.Bits(); bits > 0 || bits == one.Prefix.Bits(); bits-- {
				if p, err := one.Prefix.Addr().Prefix(bits); err == nil && g.rib.HasBGP(p) {
					list[i] = g.bgpRoute(p, one)
					break
				}
			}
		}
	}
	return list
}

// hopsShown is how many next hops of a route are named.
const hopsShown = 2

// bgpRoute returns BGP's route to a prefix, and how it stands to a foreign route. Its state in the kernel is not looked at.
func (g *routing) bgpRoute(p netip.Prefix, other lookup.Route) foreign.BGP {
	sources, _ := g.rib.Explain(p)
	metric := g.view().Metric
	b := foreign.BGP{Prefix: p, Metric: metric}
	b.Taken = p == other.Prefix && slices.ContainsFunc(sources.Learned, func(l domain.Learned) bool { return l.Metric == other.Metric })
	hops := sources.BGP[:min(hopsShown, len(sources.BGP))]
	b.Text = domain.Route{Key: domain.Key{Prefix: p, Metric: metric}, NextHops: hops}.String()
	if more := len(sources.BGP) - len(hops); more > 0 {
		b.Text += fmt.Sprintf(" and %d next hops more", more)
	}
	return b
}

// waitingRoutes are BGP's that yield to foreign ones with their prefix and metric, in one look. All routes of the namespace
// are gone through for it, which is why that is done once, and only if there are such foreign routes.
type waitingRoutes struct {
	kernel netns.Kernel
	keys   map[fib.RouteKey]bool // nil: not known yet
}

// note notes which of BGP's routes yield to foreign ones.
func (w *waitingRoutes) note(routes []lookup.Route, list []foreign.BGP) {
	for i := range list {
		if b, r := &list[i], routes[i]; b.Prefix == r.Prefix && b.Metric == r.Metric && r.TOS == 0 && !b.Taken {
			b.Waits = w.has(fib.RouteKey{Table: r.Table, Prefix: r.Prefix, Metric: r.Metric})
		}
	}
}

func (w *waitingRoutes) has(k fib.RouteKey) bool {
	if w.keys == nil {
		w.keys = map[fib.RouteKey]bool{}
		for s := range w.kernel.Routes() {
			if s.State == fib.StateForeign {
				w.keys[s.RouteKey] = true
			}
		}
	}
	return w.keys[k]
}

// foreignEntries are the forwarding entries and neighbours that are in the place of ours, and those in the flood lists of overlays.
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
	for _, e := range r.edge.Foreign() {
		link, _ := n.Links().Name(e.IfIndex)
		list = append(list, api.Foreign{Kind: "forwarding", What: fmt.Sprintf("%v dev %s dst %v", e.MAC, link, e.VTEP),
			Why: "the flood list has a VTEP that the overlay has not: broadcasts of guests go there, too"})
	}
	return list
}

// foreignObjects is what other programs have in a namespace.
type foreignObjects struct {
	list []api.Foreign // as the last look had it
	// hidden were in the list and are not now, and may be there still: it has as many of their kind as it can. At most mostHidden.
	hidden []api.Foreign
}

const mostHidden = 5 * foreign.Most

// cutKinds returns the kinds of which there may be more than a list has.
func cutKinds(list []api.Foreign) map[string]bool {
	count, cut := map[string]int{}, map[string]bool{}
	for _, f := range list {
		count[f.Kind]++
	}
	for kind, n := range count {
		cut[kind] = n >= foreign.Most
	}
	if count["forwarding"]+count["neighbour"] >= eg.MostDisplaced {
		cut["forwarding"], cut["neighbour"] = true, true
	}
	return cut
}

// foreignKey is what makes an object the same. What it does to packets (Why) changes with what BGP has.
type foreignKey struct{ kind, what string }

func keyOf(f api.Foreign) foreignKey { return foreignKey{f.Kind, f.What} }

// onForeign takes what other programs have in a namespace now. The last event of an object says whether it is there. One of
// which it has become certain what it does, or is not any more, is an event once more.
func (r *router) onForeign(n *netns.Namespace, list []api.Foreign) {
	type telling struct {
		foreignKey
		unsure bool
	}
	here, since, told := map[foreignKey]bool{}, map[foreignKey]time.Time{}, map[telling]bool{}
	for _, f := range list {
		here[keyOf(f)] = true
	}
	cut, hidden := cutKinds(list), []api.Foreign(nil)
	for _, f := range slices.Concat(r.foreign[n].list, r.foreign[n].hidden) {
		k := keyOf(f)
		since[k], told[telling{k, f.Unsure}] = f.Since, true
		switch {
		case here[k]:
			continue
		case cut[f.Kind]:
			hidden = append(hidden, f)
		default:
			n.Log().Info("what another program had in the kernel is gone", "event", "foreign-gone", "kind", f.Kind, "what", f.What)
		}
		here[k] = true // two rules may have one text
	}
	for i, f := range list {
		k := keyOf(f)
		if _, known := since[k]; !known {
			since[k] = r.now()
		}
		list[i].Since = since[k]
		if t := (telling{k, f.Unsure}); !told[t] {
			told[t] = true
			n.Log().Warn("another program changes what guests' packets do", "event", "foreign", "kind", f.Kind, "what", f.What, "why", f.Why, "unsure", f.Unsure)
		}
	}
	if r.foreign == nil {
		r.foreign = map[*netns.Namespace]foreignObjects{}
	}
	r.foreign[n] = foreignObjects{list, hidden[:min(mostHidden, len(hidden))]}
}
