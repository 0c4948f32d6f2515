package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

type fakeGateways struct {
	*trace
	objects []fib.NextHopObject
}

func (g *fakeGateways) NextHops() []fib.NextHopObject { return g.objects }
func (g *fakeGateways) Gateways() (list []fib.Gateway) {
	for _, o := range g.objects {
		list = append(list, fib.Gateway{Link: o.Link, Gateway: o.Gateway})
	}
	return list
}
func (g *fakeGateways) GatewayDown(link int, gw netip.Addr) {
	g.add("gateway-down %v%%%d", gw, link)
}
func (g *fakeGateways) GatewayUp(link int, gw netip.Addr) { g.add("gateway-up %v%%%d", gw, link) }

type fakePaths struct{ *trace }

func (p fakePaths) PathDown(w peering.Watch, c bool) {
	p.add("path-down %v remote C %v%s", w.Key.Peer, c, mark(w.Probe(), ", a probe"))
}
func (p fakePaths) PathUp(w peering.Watch) {
	p.add("path-up %v%s", w.Key.Peer, mark(w.Probe(), ", a probe"))
}

// fakeBFD notes what it is asked for; its other methods are not used by the guard.
type fakeBFD struct {
	bfd.Service
	*trace
}

func (s fakeBFD) Add(c bfd.SessionConfig) error {
	var ids []string
	for _, n := range c.Failover {
		ids = append(ids, n.Gateway.String())
	}
	s.add("add %v every %v, failover [%s]", c.Peer, c.DesiredMinTx, strings.Join(ids, " "))
	return nil
}
func (s fakeBFD) Remove(k bfd.Key) error { s.add("remove %v", k.Peer); return nil }

func newGuardBench(t *testing.T) (*guard, *fakeGateways, *bench) {
	b := newBench(t)
	k := &fakeGateways{trace: b.trace}
	g := newGuard(slog.New(slog.DiscardHandler), map[string]gateways{"": k}, fakePaths{b.trace}, fakeBFD{trace: b.trace})
	for i, name := range []string{"a.public", "b.public", "a.private", "b.private"} {
		g.link("", fib.Link{Index: 10 + i, Name: name}, false)
	}
	return g, k, b
}

func object(id uint32, gw string, link int) fib.NextHopObject {
	return fib.NextHopObject{ID: id, Gateway: netip.MustParseAddr(gw), Link: link}
}

func says(state bfd.State, why bfd.Reason, local, peer, link string) bfd.Event {
	return bfd.Event{Key: bfd.Key{Local: netip.MustParseAddr(local), Peer: netip.MustParseAddr(peer), Interface: link}, State: state, Reason: why}
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, k, b := newGuardBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		event := func(e bfd.Event) func() { return func() { g.event(e); synctest.Wait() } }
		up := says(bfd.Up, 0, "198.51.100.101", "198.51.100.126", "a.public")
		down := says(bfd.Down, bfd.ReasonExpired, "198.51.100.101", "198.51.100.126", "a.public")
		b.play("guard.txt",
			step{"start: every session, with the next hops that were adopted", func() {
				k.objects = []fib.NextHopObject{object(1, "198.51.100.102", 10)}
				g.configure(b.cfg)
			}},
			step{"the next hops have changed: only the sessions concerned", func() {
				k.objects = []fib.NextHopObject{object(1, "198.51.100.102", 10), object(2, "198.51.100.202", 11), object(3, "2001:db8:c633:6400::2", 10)}
				g.refresh()
			}},
			step{"the same again", g.refresh},
			step{"up", event(up)},
			step{"down: the gateways of that family on that link, then BGP", event(down)},
			step{"down again: nothing", event(down)},
			step{"up: they are back", event(up)},
			step{"the peer's operator stops BFD: nothing dies", event(says(bfd.Down, bfd.ReasonRemoteAdminDown, "198.51.100.101", "198.51.100.126", "a.public"))},
			step{"a session of somebody else", event(says(bfd.Up, 0, "192.0.2.1", "192.0.2.2", "eth0"))},
			step{"reload with another interval: changed in place", func() {
				c := *b.cfg
				c.BFD.Interval.Duration *= 2
				g.configure(&c)
			}},
			step{"reload without fabric B in public: removed", func() {
				c := *b.cfg
				c.BFD.Interval.Duration *= 2
				c.Domains = append([]config.Domain(nil), c.Domains...)
				c.Domains[0].Reflectors = c.Domains[0].Reflectors[:1]
				g.configure(&c)
			}},
		)
	})
}

// A session that fell while the daemon was away: BGP does not wait for the peer.
func TestGuardReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b := newGuardBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		g.configure(b.cfg)
		b.trace.take()
		e := says(bfd.Down, bfd.ReasonExpired, "198.51.100.101", "198.51.100.126", "a.public")
		fresh := says(bfd.Down, bfd.ReasonNone, "198.51.100.201", "198.51.100.226", "b.public")
		e.Downs = 1
		g.event(e)
		g.event(fresh)
		synctest.Wait()
		if got := strings.Join(b.trace.take(), "; "); got != "path-down 198.51.100.126 remote C false" {
			t.Errorf("got %s", got)
		}
	})
}

// A reflector without BFD is watched by echo: the session is made anew when the
// file changes its mind, and its end is the path's, whatever became of the peer.
func TestGuardEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, b := newGuardBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		g.configure(b.cfg)
		b.trace.take()
		c := *b.cfg
		c.Domains = append([]config.Domain(nil), c.Domains...)
		c.Domains[0].Reflectors = slices.Clone(c.Domains[0].Reflectors)
		c.Domains[0].Reflectors[0].BFD = "echo"
		g.configure(&c)
		if got := b.trace.take(); !slices.Equal(got, []string{"remove 198.51.100.126", "add 198.51.100.126 every 100ms, failover []"}) {
			t.Errorf("reload: got %q", got)
		}
		g.event(says(bfd.Up, bfd.ReasonNone, "198.51.100.101", "198.51.100.126", "a.public"))
		g.event(says(bfd.Down, bfd.ReasonEchoFailed, "198.51.100.101", "198.51.100.126", "a.public"))
		synctest.Wait()
		if got := strings.Join(b.trace.take(), "; "); got != "path-down 198.51.100.126 remote C true" {
			t.Errorf("got %s", got)
		}
	})
}

// Two reflectors on one link: the gateways live as long as one of them vouches.
func TestGuardTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, k, b := newGuardBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		c := *b.cfg
		c.Domains = append([]config.Domain(nil), c.Domains...)
		second := c.Domains[0].Reflectors[0]
		second.Peer.Addr = netip.MustParseAddr("198.51.100.127")
		c.Domains[0].Reflectors = append(append([]config.Reflector(nil), c.Domains[0].Reflectors...), second)
		k.objects = []fib.NextHopObject{object(1, "198.51.100.102", 10)}
		event := func(state bfd.State, why bfd.Reason, peer string) func() {
			return func() { g.event(says(state, why, "198.51.100.101", peer, "a.public")); synctest.Wait() }
		}
		g.configure(&c)
		b.trace.take()
		b.play("guard2.txt",
			step{"both up", func() { event(bfd.Up, 0, "198.51.100.126")(); event(bfd.Up, 0, "198.51.100.127")() }},
			step{"one down: BGP's session only", event(bfd.Down, bfd.ReasonExpired, "198.51.100.126")},
			step{"both down: the gateways", event(bfd.Down, bfd.ReasonExpired, "198.51.100.127")},
		)
	})
}

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := make(loop)
		ended := make(chan struct{})
		go func() { l.run(ctx); close(ended) }()
		n := 0
		for range 3 {
			if !l.do(ctx, func() { n++ }) {
				t.Error("not run")
			}
		}
		if n != 3 {
			t.Errorf("run %d times", n)
		}
		cancel()
		<-ended
		if l.do(ctx, func() { n++ }) || n != 3 {
			t.Error("run after the end")
		}
	})
}
