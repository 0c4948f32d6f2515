package bgp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
)

// TestRoutes has two speakers dial each other, exchange routes of both families,
// and end.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		next6 := netip.MustParseAddr("2001:db8::1")
		a.peer(PeerConfig{Addr: addr2, Families: bothFamilies, NextHop6: next6})
		b.peer(PeerConfig{Addr: addr1, Families: bothFamilies})
		a.originate("192.0.2.0/24", "2001:db8:1::/48")
		settle(time.Second)
		a.mustBe(addr2, Established)
		b.mustBe(addr1, Established)
		b.has("192.0.2.0/24", 1)
		b.has("2001:db8:1::/48", 1)
		if nh := b.paths("2001:db8:1::/48")[0].NextHop.Addr; nh != next6 {
			t.Errorf("next hop %v, want %v", nh, next6)
		}
		a.Table().Withdraw(netip.MustParsePrefix("192.0.2.0/24"), 0)
		settle(100 * time.Millisecond)
		b.has("192.0.2.0/24", 0)
		settle(10 * time.Minute)
		b.mustBe(addr1, Established)
		a.kill()
		settle(100 * time.Millisecond)
		b.has("2001:db8:1::/48", 0)
	})
}

// TestCollisions has two speakers dial each other at the same moment, many times:
// one session each time, and none that comes up to go down again.
func TestCollisions(t *testing.T) {
	flaps := 0
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			n := &bgptest.Network{}
			gr := GracefulRestart{Enabled: true}
			a, b := run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr})
			a.peer(PeerConfig{Addr: addr2})
			b.peer(PeerConfig{Addr: addr1})
			settle(3 * time.Second)
			a.mustBe(addr2, Established)
			b.mustBe(addr1, Established)
			st, _ := a.Peer(PeerKey{Addr: addr2})
			flaps += st.Established - 1
			// The side that loses may hear of it before it knows of the other connection.
			if e := st.LastError; st.Established == 1 && e != nil && e.Sent != nil {
				t.Errorf("a collision is an error: %v", e)
			}
		})
	}
	if flaps > 2 {
		t.Errorf("%d sessions of 50 came up to go down again", flaps)
	}
	t.Logf("%d flaps", flaps)
}

// TestExternal passes a route through three ASes.
func TestExternal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b, c := run(t, n, addr1, Config{AS: 65001}), run(t, n, addr2, Config{AS: 4200000002}), run(t, n, addr3, Config{AS: 65003})
		a.peer(external(PeerConfig{Addr: addr2, AS: 4200000002, Passive: true}))
		b.peer(external(PeerConfig{Addr: addr1, AS: ExternalAS}))
		b.peer(external(PeerConfig{Addr: addr3, AS: AnyAS}))
		c.peer(external(PeerConfig{Addr: addr2, AS: 4200000002, Passive: true}))
		a.originate("192.0.2.0/24")
		settle(time.Second)
		p := c.paths("192.0.2.0/24")
		if len(p) != 1 || p[0].NextHop.Addr != addr2 {
			t.Fatalf("%+v", p)
		}
		if got := p[0].Attrs.ASPath().String(); got != "4200000002 65001" {
			t.Errorf("AS path %q", got)
		}
		if _, there := p[0].Attrs.LocalPref(); there {
			t.Error("LOCAL_PREF from an external peer")
		}
		// A wrong AS never gets in.
		if err := a.AddPeer(PeerConfig{Addr: addr3, AS: 65009}); err != nil {
			t.Fatal(err)
		}
		c.peer(PeerConfig{Addr: addr1, AS: 65001, Passive: true})
		settle(10 * time.Second)
		if st, _ := a.Peer(PeerKey{Addr: addr3}); st.Established != 0 || st.LastError == nil {
			t.Errorf("%+v", st)
		}
	})
}

// TestReflectionRules: what comes from a client goes to everybody, what comes
// from another iBGP peer to clients only, and nothing comes back (RFC 4456, Section 6).
func TestReflectionRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr := run(t, n, addr1, Config{})
		addr4 := netip.MustParseAddr("10.0.0.4")
		client, plain, other := run(t, n, addr2, Config{}), run(t, n, addr3, Config{}), run(t, n, addr4, Config{})
		rr.peer(PeerConfig{Addr: addr2, RouteReflectorClient: true})
		rr.peer(PeerConfig{Addr: addr3})
		rr.peer(PeerConfig{Addr: addr4})
		for i, nd := range []*node{client, plain, other} {
			nd.peer(PeerConfig{Addr: addr1, Passive: true})
			nd.originate([]string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"}[i])
		}
		settle(time.Second)
		client.has("198.51.100.0/24", 1)
		client.has("203.0.113.0/24", 1)
		plain.has("192.0.2.0/24", 1)
		plain.has("203.0.113.0/24", 0)
		p := plain.paths("192.0.2.0/24")[0]
		if id, _ := p.Attrs.OriginatorID(); p.NextHop.Addr != addr2 || id != addr2 {
			t.Errorf("%+v", p)
		}
		st, _ := client.Peer(PeerKey{Addr: addr1})
		if c := st.Families[0].Counters; c.Announced != 2 {
			t.Errorf("a client was sent %d paths", c.Announced)
		}
	})
}
