package daemon

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// gateways is what the guard uses of *fib.FIB.
type gateways interface {
	NextHops() []fib.NextHopObject
	Gateways() []fib.Gateway
	GatewayDown(link int, gateway netip.Addr)
	GatewayUp(link int, gateway netip.Addr)
}

// paths is what the guard uses of the speakers: what BFD or the loss of carrier
// says about the session to peer.
type paths interface {
	PathDown(w peering.Watch, remoteC bool)
	PathUp(w peering.Watch)
}

// guard turns the end of a BFD session into the end of everything that depends on
// it: first the gateways, then the BGP session. It also leaves with each session
// the list of next-hop objects that the BFD process may remove by itself. It is
// safe for concurrent use and never waits for the loop.
type guard struct {
	log        *slog.Logger
	paths      paths
	service    bfd.Service // nil: no BFD
	namespaces map[string]*guardedNetNS

	mu      sync.Mutex
	watches []peering.Watch
	configs map[bfd.Key]bfd.SessionConfig
	up      map[bfd.Key]bool
	heard   map[bfd.Key]bool        // an event came in this run
	dead    map[bfd.Key]bool        // sessions that have failed, and are not back
	down    map[bfd.Key][]gatewayOn // what GatewayDown was called for
	pending map[bfd.Key]pathNotice  // for BGP
	wake    chan struct{}           // there are news
}

type gatewayOn struct {
	link    int
	gateway netip.Addr
}

// guardedNetNS is what the guard knows of one network namespace: a session's gateways and
// next-hop objects are those of the session's namespace.
type guardedNetNS struct {
	kernel gateways
	names  map[int]string // of interfaces; guarded by the guard's lock
}

// newGuard makes a guard over kernels, by the paths of their namespaces.
func newGuard(log *slog.Logger, kernels map[string]gateways, p paths, s bfd.Service) *guard {
	g := &guard{log: log, paths: p, service: s, namespaces: map[string]*guardedNetNS{},
		configs: map[bfd.Key]bfd.SessionConfig{}, up: map[bfd.Key]bool{}, heard: map[bfd.Key]bool{}, dead: map[bfd.Key]bool{}, down: map[bfd.Key][]gatewayOn{},
		pending: map[bfd.Key]pathNotice{}, wake: make(chan struct{}, 1)}
	for path, k := range kernels {
		g.namespaces[path] = &guardedNetNS{kernel: k, names: map[int]string{}}
	}
	return g
}

// objects reads the next-hop objects of every namespace.
func (g *guard) objects() map[string][]fib.NextHopObject {
	all := make(map[string][]fib.NextHopObject, len(g.namespaces))
	for path, n := range g.namespaces {
		all[path] = n.kernel.NextHops()
	}
	return all
}

// configure adds, changes and removes BFD sessions; those that stay the same are
// left alone.
func (g *guard) configure(c *config.Config) {
	if g.service == nil {
		return
	}
	watches := peering.Watches(c)
	next := map[bfd.Key]bfd.SessionConfig{}
	for _, w := range watches {
		next[w.Key] = w.Config
	}
	objects := g.objects()
	g.mu.Lock()
	old := g.configs
	g.watches, g.configs = watches, next
	for k, s := range old {
		if n, ok := next[k]; !ok || n.Echo != s.Echo {
			g.revive(k)
			delete(g.up, k)
			delete(g.heard, k)
		}
	}
	g.lists(objects)
	next = maps.Clone(g.configs)
	g.mu.Unlock()
	for k, s := range old {
		if n, ok := next[k]; !ok || n.Echo != s.Echo {
			if err := g.service.Remove(k); err != nil {
				g.log.Warn("BFD session not removed", "event", "bfd-error", "session", k, "err", err)
			}
		}
	}
	g.push(next, old)
}

// push adds sessions whose config differs from old's, with their failover lists.
func (g *guard) push(next, old map[bfd.Key]bfd.SessionConfig) {
	for k, s := range next {
		o, ok := old[k]
		if ok && sameSession(s, o) {
			continue
		}
		if err := g.service.Add(s); err != nil {
			g.log.Error("BFD session refused", "event", "bfd-error", "session", k, "err", err)
		}
	}
}

func sameSession(a, b bfd.SessionConfig) bool {
	return a.DesiredMinTx == b.DesiredMinTx && a.RequiredMinRx == b.RequiredMinRx && a.Multiplier == b.Multiplier && a.Echo == b.Echo &&
		peering.SameFailover(a.Failover, b.Failover)
}

// refresh renews the failover lists: the next-hop objects have changed.
func (g *guard) refresh() {
	if g.service == nil {
		return
	}
	objects := g.objects()
	g.mu.Lock()
	old := maps.Clone(g.configs)
	g.lists(objects)
	for _, w := range g.watches {
		if g.dead[w.Key] {
			g.kill(w) // another session may have told of gateways behind it since
		}
	}
	next := maps.Clone(g.configs)
	g.mu.Unlock()
	g.push(next, old)
}

// lists computes the failover lists; the lock is held.
func (g *guard) lists(objects map[string][]fib.NextHopObject) {
	for _, w := range g.watches {
		names := g.namespaces[w.Key.NetNS].names
		s := g.configs[w.Key]
		s.Failover = peering.Failover(w, g.watches, objects[w.Key.NetNS], func(i int) (string, bool) { n, ok := names[i]; return n, ok })
		g.configs[w.Key] = s
	}
}

// event takes what BFD says.
func (g *guard) event(e bfd.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w, ok := g.find(e.Key)
	if !ok || e.Removed {
		return
	}
	was := g.up[e.Key]
	first := !g.heard[e.Key]
	g.heard[e.Key] = true
	switch {
	case first && e.State == bfd.StateDown && e.Downs > 0 && e.Reason != bfd.ReasonRemoteAdminDown:
		// It died while we were away, and the BFD process did what had to be done. BGP need
		// not wait for that peer, and gateways that other sessions tell of stay out.
		g.kill(w)
		g.note(w, false, e.RemoteC || w.Config.Echo)
	case e.State == bfd.StateUp && !was:
		g.up[e.Key] = true
		g.revive(e.Key)
		g.note(w, true, e.RemoteC || w.Config.Echo)
		g.log.Info("BFD up", "event", "bfd-up", "peer", e.Peer, "interface", e.Interface)
	case e.State == bfd.StateDown && was && e.Reason == bfd.ReasonRemoteAdminDown:
		// RFC 5882, Section 4.2: the operator there stopped BFD, the path may be
		// well.
		delete(g.up, e.Key)
		g.log.Info("BFD admin down at the peer", "event", "bfd-admin-down", "peer", e.Peer, "interface", e.Interface)
	case e.State == bfd.StateDown && was:
		delete(g.up, e.Key)
		n := g.kill(w)
		g.note(w, false, e.RemoteC || w.Config.Echo)
		g.log.Warn("BFD down", "event", "bfd-down", "peer", e.Peer, "interface", e.Interface, "reason", e.Reason, "gateways", n)
	}
	for _, f := range e.Failover {
		g.log.Warn("BFD process removed a next hop", "event", "bfd-failover", "id", f.ID, "deleted", f.Deleted, "took", f.Took, "err", f.Err)
	}
}

// echoes reports whether a session watches a peer that speaks no BFD.
func (g *guard) echoes(k bfd.Key) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.configs[k].Echo
}

func (g *guard) find(k bfd.Key) (peering.Watch, bool) {
	for _, w := range g.watches {
		if w.Key == k {
			return w, true
		}
	}
	return peering.Watch{}, false
}

// kill takes the gateways that w speaks for out of the kernel's groups, unless
// another session still vouches for them. It gives their number.
func (g *guard) kill(w peering.Watch) int {
	hops := w.Alone(g.watches, func(k bfd.Key) bool { return g.up[k] })
	n, here := 0, g.namespaces[w.Key.NetNS]
	g.dead[w.Key] = true
	// Not NextHops: the BFD process may have taken the object out already, and
	// then fib must hear that it is to stay out.
	for _, o := range here.kernel.Gateways() {
		on := gatewayOn{o.IfIndex, o.Gateway}
		if name, ok := here.names[o.IfIndex]; ok && hops.Cover(name, o.Gateway) && !slices.Contains(g.down[w.Key], on) {
			here.kernel.GatewayDown(o.IfIndex, o.Gateway)
			g.down[w.Key] = append(g.down[w.Key], on)
			n++
		}
	}
	return n
}

func (g *guard) revive(k bfd.Key) {
	for _, d := range g.down[k] {
		g.namespaces[k.NetNS].kernel.GatewayUp(d.link, d.gateway)
	}
	delete(g.down, k)
	delete(g.dead, k)
}

// link notes the name of an interface in the namespace at path.
func (g *guard) link(path string, l fib.Link, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := g.namespaces[path].names
	names[l.IfIndex] = l.Interface
	if gone {
		delete(names, l.IfIndex)
	}
}
