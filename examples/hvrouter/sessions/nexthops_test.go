package sessions

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config/configtest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/domain"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
)

// namespace is one that has all addresses.
type namespace struct {
	preserved []wire.Family
	linkLocal map[string]netip.Addr
	closed    bool // nothing may be asked any more
	t         testing.TB
}

func (n *namespace) Path() string { return "" }

func (n *namespace) LinkLocal(link string) netip.Addr {
	if n.closed {
		n.t.Error("a link-local address is read outside of Configure")
	}
	return n.linkLocal[link]
}

func (n *namespace) Preserved([]config.Domain, func(config.Domain) (v4, v6 bool)) []wire.Family {
	return n.preserved
}

// What the end of a next hop does to the announcements of its session.
func TestNextHopsOfASession(t *testing.T) {
	c, err := configtest.Sample("testdata/single.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		n := &namespace{t: t}
		if again {
			n.preserved = []wire.Family{wire.IPv4Unicast}
		}
		all := New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now})
		m, err := all.Add(c, c.Domains[0], n)
		if err != nil {
			t.Fatal(err)
		}
		m.Configure(c, c.Domains[0])
		n.closed = true // BFD and carriers come from other goroutines than the namespace's
		key := bgp.PeerKey{Addr: netip.MustParseAddr("198.51.100.126"), Local: netip.MustParseAddr("198.51.100.101")}
		check := func(what string, a, b bool) {
			t.Helper()
			var announced, alive []bool
			for _, w := range m.plan.peers[key].nextHops {
				announced = append(announced, w.NextHops[0].Addr.IsValid())
			}
			for _, w := range all.Status(c)[0].NextHops {
				alive = append(alive, w.Alive)
			}
			if want := []bool{a, b}; !slices.Equal(announced, want) || !slices.Equal(alive, want) {
				t.Errorf("restarted %v, %s: announced %v, shown alive %v", again, what, announced, alive)
			}
		}
		check("at the start", true, again) // the probe of an earlier run was up, or so it is believed
		watches := peering.Watches(c)
		all.PathUp(watches[1])
		check("probe up", true, true)
		all.PathDown(watches[1], false)
		check("probe down", true, false)
		all.PathUp(watches[1])
		all.LinkDown("", "b.public")
		check("no carrier", true, false)
		all.LinkDown("red", "a.public")
		all.LinkUp("", "b.public")
		check("carrier again", true, true)
		prefix := netip.MustParsePrefix("192.0.2.1/32")
		m.Announce([]domain.Announcement{{Prefix: prefix, LocalPref: 100}})
		if got := all.Lookup("public", prefix); len(got) != 2 {
			t.Errorf("announced over %d next hops", len(got))
		}
	}
}

func TestInitialSync(t *testing.T) {
	i := newInitialSync()
	if i.first() || closed(i.all) {
		t.Error("closed at the start")
	}
	i.note(0, 2)
	if i.first() || closed(i.all) {
		t.Error("none of two peers")
	}
	i.note(1, 2)
	if !i.first() || closed(i.all) {
		t.Error("one peer of two")
	}
	i.note(2, 2)
	if !closed(i.all) {
		t.Error("both")
	}
	i.note(0, 2) // once is enough
}
