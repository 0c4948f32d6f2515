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
	"github.com/hyperfib/hyperfib/fib"
)

// in gives the bench events of one place.
func (b *bench) in(n config.NetNS, events ...fib.Event) {
	b.router.take(b.router.at(n), events)
	if b.dirty {
		b.refresh()
	}
}

func (b *bench) linkIn(n config.NetNS, index int, name string, addrs ...string) {
	l := fib.Link{Index: index, Name: name, AdminUp: true, Carrier: true}
	events := []fib.Event{{Kind: fib.EventLink, Link: l}}
	for _, a := range addrs {
		events = append(events, fib.Event{Kind: fib.EventAddress, Link: l, Addr: netip.MustParsePrefix(a)})
	}
	b.in(n, events...)
}

// Two namespaces in which interfaces have the same indexes, and the guests' one has
// an interface of the other's name: whatever is done is done in the right one.
func TestPlaces(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	public, private := b.domains["public"], b.domains["private"]
	b.play("places.txt",
		step{"start: the kernel's own rules, no last resort, no local-out", b.refresh},
		step{"uplinks with the same indexes in both", func() {
			b.linkIn("", 10, "a.private", "172.22.15.101/25")
			b.linkIn("", 11, "b.private", "172.22.15.201/25")
			b.linkIn("", 12, "loopback")
			b.linkIn("public", 10, "a.public", "198.51.100.101/25")
			b.linkIn("public", 11, "b.public", "198.51.100.201/25")
		}},
		step{"a guest's name in the wrong namespace: nothing", func() { b.linkIn("", 20, "vm1") }},
		step{"and in the right one", func() { b.linkIn("public", 20, "vm1") }},
		step{"paths of both domains", func() {
			b.onPaths(public, []pathSet{set("203.0.113.3/32", "198.51.100.102@198.51.100.126", "198.51.100.202@198.51.100.226")}, false)
			b.onPaths(private, []pathSet{set("172.22.2.2/32", "172.22.15.102@172.22.15.126")}, false)
		}},
		step{"a next hop that is on-link in the other namespace only", func() {
			b.onPaths(public, []pathSet{set("203.0.113.4/32", "172.22.15.103@198.51.100.126")}, false)
		}},
		step{"private has all its routes, and sweeps: in main nobody else's are announced", func() { b.onPaths(private, nil, true) }},
		step{"public is the last", func() {
			b.onPaths(public, nil, true)
			b.onLearned(public, nil, true)
		}},
		step{"a.public is made anew with an index that private has", func() { b.linkIn("public", 12, "a.public", "198.51.100.101/25") }},
		step{"the guest's interface goes", func() {
			b.in("public", fib.Event{Kind: fib.EventLinkGone, Link: fib.Link{Index: 20, Name: "vm1"}})
		}},
	)
	if !b.router.converged || b.notOnLink != 1 {
		t.Errorf("converged %v, %d next hops not on-link", b.router.converged, b.notOnLink)
	}
}

// Each namespace has a wall: guests, domain and bridge in one, the guard of the
// overlay's port where its packets come in.
func TestWalls(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	b.refresh()
	own, public := b.at("").wall.(*fakeWall).last, b.at("public").wall.(*fakeWall).last
	if len(own.Guests)+len(own.Isolated) > 0 || !slices.Equal(own.Underlay, []string{"a.private", "b.private"}) || !slices.Equal(own.VXLANPorts, []uint16{4789}) {
		t.Errorf("the daemon's own: %+v", own)
	}
	if !slices.Equal(public.Guests, []string{"vm1"}) || !slices.Equal(public.Isolated, []string{"br100"}) || len(public.Underlay) > 0 || len(public.Domains) != 1 {
		t.Errorf("public: %+v", public)
	}
}

func TestExplainNamesTheNamespace(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	b.linkIn("public", 20, "vm1")
	lines := strings.Join(b.explain(netip.MustParsePrefix("203.0.113.1/32"), noTables), "\n")
	for _, want := range []string{"public: 203.0.113.1/32 in netns public", "kernel, table 254: 203.0.113.1 dev vm1", "netns public: rule 32766: lookup 254", "\nrule 32766: lookup 254"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
}

// A BFD session's end takes gateways of its own namespace, although the other one
// has an interface with that index and a gateway on it; its list for the BFD process
// names objects of its own namespace, which may have equal ids.
func TestGuardOfTwoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBenchOf(t, "netns.yaml")
		own, public := &fakeGateways{trace: b.trace}, &fakeGateways{trace: b.trace}
		own.objects = []fib.NextHopObject{object(1, "172.22.15.102", 10), object(2, "172.22.15.202", 11)}
		public.objects = []fib.NextHopObject{object(1, "198.51.100.102", 10), object(2, "198.51.100.202", 11)}
		const path = "/run/netns/public"
		g := newGuard(slog.New(slog.DiscardHandler), map[string]gateways{"": own, path: public}, fakePaths{b.trace}, fakeBFD{trace: b.trace})
		for i, f := range []string{"a", "b"} {
			g.link("", fib.Link{Index: 10 + i, Name: f + ".private"}, false)
			g.link(path, fib.Link{Index: 10 + i, Name: f + ".public"}, false)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		event := func(state bfd.State, why bfd.Reason, ns, local, peer, link string) func() {
			return func() {
				e := says(state, why, local, peer, link)
				e.NetNS = ns
				g.event(e)
				synctest.Wait()
			}
		}
		b.play("guard_places.txt",
			step{"start", func() { g.configure(b.cfg) }},
			step{"a session of public is up", event(bfd.Up, 0, path, "198.51.100.101", "198.51.100.126", "a.public")},
			step{"the same addresses in the wrong namespace are somebody else's", event(bfd.Up, 0, "", "198.51.100.201", "198.51.100.226", "b.public")},
			step{"down: public's gateway", event(bfd.Down, bfd.ReasonExpired, path, "198.51.100.101", "198.51.100.126", "a.public")},
			step{"a session of private comes", event(bfd.Up, 0, "", "172.22.15.101", "172.22.15.126", "a.private")},
			step{"and goes", event(bfd.Down, bfd.ReasonExpired, "", "172.22.15.101", "172.22.15.126", "a.private")},
			step{"public's comes back", event(bfd.Up, 0, path, "198.51.100.101", "198.51.100.126", "a.public")},
		)
	})
}

// What moves between namespaces needs a restart.
func TestFixedPlaces(t *testing.T) {
	b := newBenchOf(t, "netns.yaml")
	for want, change := range map[string]func(*config.Config){
		"":                    func(c *config.Config) { c.Guests = nil },
		"the list of domains": func(c *config.Config) { c.Domains[0].NetNS = "red" },
		"what lives in which network namespace": func(c *config.Config) {
			c.Domains[0].Guests, c.Domains[1].Guests = false, true
		},
	} {
		c := *b.cfg
		c.Domains = append([]config.Domain(nil), c.Domains...)
		change(&c)
		err := fixed(b.cfg, &c)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
