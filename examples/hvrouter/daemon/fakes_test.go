package daemon

import (
	"context"
	"iter"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	eg "github.com/hyperfib/hyperfib/examples/hvrouter/edge"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
	"github.com/hyperfib/hyperfib/examples/hvrouter/netns"
	"github.com/hyperfib/hyperfib/fib"
	"github.com/hyperfib/hyperfib/ndp"
	"github.com/hyperfib/hyperfib/vxlan"
)

// liveKernel is a kernel in memory that does what it is asked at once.
type liveKernel struct {
	netns.Kernel
	events chan []fib.Event
	learn  chan fib.LearnChange

	mu     sync.Mutex
	routes map[fib.RouteKey]fib.Route
	dirty  []fib.RouteChange
	wake   chan struct{}
	links  []fib.Link
	swept  bool
}

func newLiveKernel(links ...fib.Link) *liveKernel {
	k := &liveKernel{events: make(chan []fib.Event, 8), learn: make(chan fib.LearnChange), routes: map[fib.RouteKey]fib.Route{}, wake: make(chan struct{}, 1), links: links}
	k.events <- []fib.Event{{Kind: fib.EventSynced}}
	return k
}

func (k *liveKernel) change(c fib.RouteChange) {
	k.dirty = append(k.dirty, c)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *liveKernel) SetRoute(r fib.Route) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.routes[r.RouteKey] = r
	c := fib.RouteChange{RouteStatus: fib.RouteStatus{State: fib.StateInstalled, Present: true}}
	c.RouteKey = r.RouteKey
	k.change(c)
	return nil
}

func (k *liveKernel) DeleteRoute(key fib.RouteKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.routes, key)
	c := fib.RouteChange{Gone: true}
	c.RouteKey = key
	k.change(c)
	return nil
}

func (k *liveKernel) has(prefix string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.routes {
		if key.Prefix == netip.MustParsePrefix(prefix) {
			return true
		}
	}
	return false
}

func (k *liveKernel) Routes() iter.Seq[fib.RouteStatus] {
	k.mu.Lock()
	defer k.mu.Unlock()
	stale := fib.RouteStatus{State: fib.StateStale}
	stale.RouteKey = fib.RouteKey{Table: 90, Prefix: netip.MustParsePrefix("203.0.113.99/32"), Metric: 10}
	stale.NextHops = []fib.NextHop{{IfIndex: 22}}
	list := []fib.RouteStatus{stale}
	for _, r := range k.routes {
		list = append(list, fib.RouteStatus{Route: r, State: fib.StateInstalled})
	}
	return slices.Values(list)
}

func (k *liveKernel) SetRule(fib.Rule) error                         { return nil }
func (k *liveKernel) SetRuleAbsent(fib.Rule) error                   { return nil }
func (k *liveKernel) DeleteRule(fib.Rule) error                      { return nil }
func (k *liveKernel) SetAddress(fib.Address) error                   { return nil }
func (k *liveKernel) DeleteAddress(fib.Address) error                { return nil }
func (k *liveKernel) SetNeighbor(fib.Neighbor) error                 { return nil }
func (k *liveKernel) DeleteNeighbor(fib.Neighbor) error              { return nil }
func (k *liveKernel) SetSysctl(fib.Sysctl) error                     { return nil }
func (k *liveKernel) DeleteSysctl(string) error                      { return nil }
func (k *liveKernel) Probe(int, netip.Addr, [6]byte)                 {}
func (k *liveKernel) Flush(context.Context) error                    { return nil }
func (k *liveKernel) Sweep()                                         { k.swept = true }
func (k *liveKernel) NextHops() []fib.NextHopObject                  { return nil }
func (k *liveKernel) Links() []fib.Link                              { return k.links }
func (k *liveKernel) Addresses() ([]host.Address, error)             { return nil, nil }
func (k *liveKernel) Stats() fib.Stats                               { return fib.Stats{Adds: 7} }
func (k *liveKernel) Run(ctx context.Context) error                  { <-ctx.Done(); return nil }
func (k *liveKernel) Watch(fib.WatchOptions) netns.Events            { return k }
func (k *liveKernel) WatchRoutes(fib.RouteFilter) netns.RouteChanges { return routeChanges{k} }
func (k *liveKernel) Learn(fib.Filter) netns.LearnChanges            { return &learnChanges{k: k} }
func (k *liveKernel) Diff() []fib.Difference {
	return []fib.Difference{{Op: "add", Key: fib.RouteKey{Table: 90}}}
}
func (k *liveKernel) Neighbours() ([]netns.Neighbour, error) {
	return []netns.Neighbour{{IfIndex: 20, Addr: netip.MustParseAddr("203.0.113.1"), State: "reachable"}}, nil
}

func (k *liveKernel) Next(ctx context.Context, buf []fib.Event) (int, error) {
	select {
	case e := <-k.events:
		return copy(buf, e), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

type routeChanges struct{ k *liveKernel }

func (c routeChanges) Close() {}

func (c routeChanges) Next(ctx context.Context, buf []fib.RouteChange) (int, error) {
	for {
		c.k.mu.Lock()
		n := copy(buf, c.k.dirty)
		c.k.dirty = c.k.dirty[n:]
		c.k.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-c.k.wake:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// learnChanges says first that there are no foreign routes.
type learnChanges struct {
	k      *liveKernel
	synced bool
}

func (c *learnChanges) Close() {}

func (c *learnChanges) Next(ctx context.Context, buf []fib.LearnChange) (int, error) {
	if !c.synced {
		c.synced = true
		buf[0] = fib.LearnChange{Synced: true}
		return 1, nil
	}
	select {
	case buf[0] = <-c.k.learn:
		return 1, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// liveEdge has events from channels, and notes which guests it serves.
type liveEdge struct {
	sightings chan []eg.Sighting
	asked     chan []ndp.Sender
	closed    bool
	fail      chan error // ends Run
}

func (e *liveEdge) Run(ctx context.Context) error {
	select {
	case err := <-e.fail:
		return err
	case <-ctx.Done():
		return nil
	}
}
func (e *liveEdge) Close() { e.closed = true }
func (e *liveEdge) Sightings(ctx context.Context) ([]eg.Sighting, error) {
	select {
	case list := <-e.sightings:
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (e *liveEdge) Heard(ctx context.Context) ([]ndp.Sender, error) {
	select {
	case list := <-e.asked:
		return list, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (e *liveEdge) Arrive(*config.Config, guest.Port)     {}
func (e *liveEdge) Serve(*config.Config, ...guest.Port)   {}
func (e *liveEdge) Reannounce(*config.Config, guest.Port) {}
func (e *liveEdge) Silence(guest.Port)                    {}
func (e *liveEdge) Known(guest.Port)                      {}
func (e *liveEdge) Leave(guest.Port, bool)                {}
func (e *liveEdge) Target(netip.Prefix, int)              {}
func (e *liveEdge) NoTarget(netip.Prefix)                 {}
func (e *liveEdge) Abuse(p guest.Port) []eg.Abuse {
	return []eg.Abuse{{Protocol: "arp", Refused: map[string]uint64{"spoofed": uint64(p.Link.IfIndex)}, Silenced: 1}}
}
func (e *liveEdge) Strays() eg.Strays {
	return eg.Strays{Malformed: map[string]uint64{"nd": 2}, DHCPAnswers: map[string]uint64{"astray": 3}}
}
func (e *liveEdge) Overlays(*config.Config, func(string) (fib.Link, bool), []netip.Addr, func(string) eg.Content) map[string]error {
	return nil
}
func (e *liveEdge) Refused(string) error     { return nil }
func (e *liveEdge) Displaced() []vxlan.Entry { return nil }
func (e *liveEdge) Foreign() []vxlan.Entry   { return nil }
func (e *liveEdge) SweepOverlays()           {}

// deafListener accepts nothing.
type deafListener struct {
	once   sync.Once
	closed chan struct{}
}

func (l *deafListener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *deafListener) Close() error              { l.once.Do(func() { close(l.closed) }); return nil }
func (l *deafListener) Addr() net.Addr            { return &net.UnixAddr{} }
