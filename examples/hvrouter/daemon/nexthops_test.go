package daemon

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// single is a configuration with one session for both fabrics.
func single(t *testing.T) *config.Config {
	t.Helper()
	c, err := configtest.Sample("testdata/single.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a next hop's death does to the announcements of its session, and to the next hops that
// are used.
func TestWays(t *testing.T) {
	c := single(t)
	log := slog.New(slog.DiscardHandler)
	for _, again := range []bool{false, true} {
		p := newNamespace(log, "", nil, nil)
		if again {
			p.preserved = preservedState{90: {routes: wire.Families(wire.IPv4Unicast)}}
		}
		s, err := newSpeaker(log, c, c.Domains[0], p)
		if err != nil {
			t.Fatal(err)
		}
		all := speakers{"public": member{s, 0}}
		all["public"].Configure(c, c.Domains[0])
		key := bgp.PeerKey{Addr: netip.MustParseAddr("198.51.100.126"), Local: netip.MustParseAddr("198.51.100.101")}
		announced := func() (list []bool) {
			for _, w := range s.peers[key].nextHops {
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
		g := &routing{name: "public", dead: s.nextHops.Dead()}
		hop := func(gw, link string) domain.NextHop {
			return domain.NextHop{Gateway: netip.MustParseAddr(gw), Link: link}
		}
		a, b := hop("198.51.100.102", "a.public"), hop("198.51.100.202", "b.public")
		if got := g.withoutDead([]domain.NextHop{a, b}); len(got) != 1 || got[0] != a {
			t.Errorf("used: %v", got)
		}
		if got := g.withoutDead([]domain.NextHop{b}); len(got) != 1 {
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
	tt := newInitialSync()
	if tt.first() || closed(tt.all) {
		t.Error("nobody has said anything")
	}
	tt.note(0, 2)
	if tt.first() || closed(tt.all) {
		t.Error("nobody of two")
	}
	tt.note(1, 2)
	if !tt.first() || closed(tt.all) {
		t.Error("one peer of two")
	}
	tt.note(2, 2)
	if !closed(tt.all) {
		t.Error("both")
	}
}
