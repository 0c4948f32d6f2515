package bgp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoutes has two speakers dial each other, exchange routes of both families,
// and end.
func TestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet()
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
			n := newPipeNet()
			gr := GracefulRestart{Enabled: true}
			a, b := run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr})
			a.peer(PeerConfig{Addr: addr2})
			b.peer(PeerConfig{Addr: addr1})
			settle(3 * time.Second)
			a.mustBe(addr2, Established)
			b.mustBe(addr1, Established)
			st, _ := a.Peer(PeerKey{Addr: addr2})
			flaps += st.Established - 1
		})
	}
	if flaps > 2 {
		t.Errorf("%d sessions of 50 came up to go down again", flaps)
	}
	t.Logf("%d flaps", flaps)
}
