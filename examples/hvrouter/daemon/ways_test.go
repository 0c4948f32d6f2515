package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/fib"
)

// single is a configuration with one session for both fabrics.
func single(t *testing.T) *config.Config {
	t.Helper()
	c, err := config.Parse("f", []byte(`router-id: 0.0.1.1
as: 65000
domains:
  - name: public
    table: 90
    reflectors:
      - {interface: a.public, local: 198.51.100.101, peer: 198.51.100.126,
         ways: [{}, {interface: b.public, next-hop4: 198.51.100.201, probe: 198.51.100.226}]}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A probe that falls takes its gateways out of the kernel, and BGP hears of a way rather
// than of a session.
func TestGuardProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, k, b := newGuardBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go g.tell(ctx)
		event := func(e bfd.Event) func() { return func() { g.event(e); synctest.Wait() } }
		up := says(bfd.Up, 0, "198.51.100.201", "198.51.100.226", "b.public")
		down := says(bfd.Down, bfd.ReasonExpired, "198.51.100.201", "198.51.100.226", "b.public")
		b.play("probes.txt",
			step{"start: the session and the probe, each with its gateways", func() {
				k.objects = []fib.NextHopObject{object(1, "198.51.100.102", 10), object(2, "198.51.100.202", 11)}
				g.configure(single(t))
			}},
			step{"the probe comes up", event(up)},
			step{"it falls", event(down)},
			step{"it is back", event(up)},
			step{"time is up for probes that never came: this one did", g.doubt},
			step{"it falls again, and is still down when time is up", func() { g.event(down); g.doubt(); synctest.Wait() }},
		)
	})
}

// What a way's death does to the announcements of its session, and to the next hops that
// are used.
func TestWays(t *testing.T) {
	c := single(t)
	log := slog.New(slog.DiscardHandler)
	for _, again := range []bool{false, true} {
		p := newPlace(log, "", nil, nil)
		p.again = again
		s, err := newSpeaker(log, c, c.Domains[0], p)
		if err != nil {
			t.Fatal(err)
		}
		all := speakers{"public": member{s, 0}}
		all["public"].Configure(c, c.Domains[0])
		key := bgp.PeerKey{Addr: netip.MustParseAddr("198.51.100.126"), Local: netip.MustParseAddr("198.51.100.101")}
		announced := func() (list []bool) {
			for _, w := range s.peers[key].ways {
				list = append(list, w.NextHops[0].Addr.IsValid())
			}
			return list
		}
		check := func(what string, a, b bool) {
			t.Helper()
			if got := announced(); !slices.Equal(got, []bool{a, b}) {
				t.Errorf("restarted %v, %s: announced %v", again, what, got)
			}
		}
		check("at the start", true, again) // an earlier run's probe was up, or so we believe
		watches := peering.Watches(c)
		all.PathUp(watches[1])
		check("probe up", true, true)
		all.PathDown(watches[1], false)
		check("probe down", true, false)
		g := &routing{name: "public", deaths: s.ways.snapshot()}
		hop := func(gw, link string) domain.NextHop {
			return domain.NextHop{Gateway: netip.MustParseAddr(gw), Link: link}
		}
		a, b := hop("198.51.100.102", "a.public"), hop("198.51.100.202", "b.public")
		if got := g.living([]domain.NextHop{a, b}); len(got) != 1 || got[0] != a {
			t.Errorf("used: %v", got)
		}
		if got := g.living([]domain.NextHop{b}); len(got) != 1 {
			t.Error("the last one stays: nothing better is known")
		}
		all.PathUp(watches[1])
		all.LinkDown("", "b.public")
		check("no carrier", true, false)
		all.LinkUp("", "b.public")
		check("carrier again", true, true)
	}
}

func TestTold(t *testing.T) {
	tt := newTold()
	if tt.first() || closed(tt.all) {
		t.Error("nobody has said anything")
	}
	done := bgp.PeerStatus{State: bgp.Established}
	tt.note([]bgp.PeerStatus{done, {}})
	if !tt.first() || closed(tt.all) {
		t.Error("one peer of two")
	}
	tt.note([]bgp.PeerStatus{done, done})
	if !closed(tt.all) {
		t.Error("both")
	}
}
