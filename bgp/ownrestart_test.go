package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// star is a reflector at addr1 with two clients.
func star(t *testing.T, n *bgptest.Network, gr GracefulRestart) (rr, a, b *node) {
	rr = reflector(t, n, gr)
	a, b = run(t, n, addr2, Config{GracefulRestart: gr}), run(t, n, addr3, Config{GracefulRestart: gr})
	for _, c := range []*node{a, b} {
		c.peer(PeerConfig{Addr: addr1, Families: bothFamilies, AddPathReceive: bothFamilies})
	}
	settle(time.Second)
	return rr, a, b
}

func reflector(t *testing.T, n *bgptest.Network, gr GracefulRestart) *node {
	rr := run(t, n, addr1, Config{GracefulRestart: gr})
	err := rr.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{
		Families: bothFamilies, RouteReflectorClient: true, AddPathSend: bothFamilies,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func (n *node) stale(prefix string) bool {
	p := n.paths(prefix)
	return len(p) == 1 && p[0].Stale
}

// TestReflectorRestarts kills the reflector; its clients keep what they have, and
// End-of-RIB does not come before everybody had time to return.
func TestReflectorRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		gr := GracefulRestart{Enabled: true}
		rr, a, b := star(t, n, gr)
		a.originate("192.0.2.0/24", "192.0.2.128/25")
		settle(time.Second)
		b.has("192.0.2.0/24", 1)
		rr.kill()
		settle(100 * time.Millisecond)
		if !b.stale("192.0.2.0/24") {
			t.Fatal("a client lost the routes of a reflector that restarts")
		}
		a.Table().Withdraw(netip.MustParsePrefix("192.0.2.128/25"), 0)
		gr.Restarting, gr.ForwardingPreserved, gr.EarlyUpdates = true, true, true
		rr = reflector(t, n, gr)
		rr.InventoryComplete()
		settle(3 * time.Second)
		rr.mustBe(addr2, Established)
		b.mustBe(addr1, Established)
		if p := b.paths("192.0.2.0/24"); len(p) != 1 || p[0].Stale {
			t.Fatalf("not announced early: %+v", p)
		}
		if !b.stale("192.0.2.128/25") {
			t.Fatal("End-of-RIB came before all clients had time to return")
		}
		settle(3 * time.Second)
		b.has("192.0.2.128/25", 0)
	})
}

// TestClientRestarts kills a client: the reflector keeps its routes by address
// although the peer was a dynamic one, and the client defers its best paths.
func TestClientRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		gr := GracefulRestart{Enabled: true}
		_, a, b := star(t, n, gr)
		a.originate("192.0.2.0/24", "192.0.2.128/25")
		b.originate("198.51.100.0/24")
		settle(time.Second)
		a.kill()
		settle(time.Second)
		if b.has("192.0.2.0/24", 1); b.stale("192.0.2.0/24") {
			t.Fatal("staleness is the reflector's own affair")
		}
		gr.Restarting, gr.ForwardingPreserved = true, true
		a = run(t, n, addr2, Config{GracefulRestart: gr})
		w := a.Table().Watch(rib.WatchConfig{})
		defer w.Close()
		a.peer(PeerConfig{Addr: addr1, Families: bothFamilies})
		a.originate("192.0.2.0/24")
		changes := make([]rib.Change, 16)
		if k := w.Next(changes); k != 1 || changes[0].Converged {
			t.Fatalf("own routes are deferred, or the rest is not: %v", changes[:k])
		}
		settle(time.Second)
		k := w.Next(changes)
		// b's route may have come before our own was originated, and is first then.
		if k < 2 || !changes[k-1].Converged || !slices.ContainsFunc(changes[:k-1], func(c rib.Change) bool { return c.Prefix == netip.MustParsePrefix("198.51.100.0/24") }) {
			t.Fatalf("after End-of-RIB: %v", changes[:k])
		}
		b.has("192.0.2.128/25", 1) // our inventory may not be complete yet
		a.InventoryComplete()
		settle(time.Second)
		b.has("192.0.2.0/24", 1)
		b.has("192.0.2.128/25", 0)
	})
}

// TestStaleExpires: the client never comes back; the dynamic peer is forgotten.
func TestStaleExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, a, b := star(t, n, GracefulRestart{Enabled: true, RestartTime: 20 * time.Second, LongLivedTime: 40 * time.Second})
		a.originate("192.0.2.0/24")
		settle(time.Second)
		a.kill()
		settle(19 * time.Second)
		b.has("192.0.2.0/24", 1)
		settle(30 * time.Second)
		if st, _ := rr.Peer(PeerKey{Addr: addr2}); st.Restart != RestartLongLived || st.Families[0].Stale != 1 {
			t.Fatalf("%+v", st)
		}
		if !rr.paths("192.0.2.0/24")[0].Stale {
			t.Fatal("not stale")
		}
		settle(15 * time.Second)
		b.has("192.0.2.0/24", 0)
		if _, err := rr.Peer(PeerKey{Addr: addr2}); err == nil {
			t.Error("a dynamic peer without anything is still there")
		}
	})
}

// TestPathDown: BFD says that the path to a client is dead.
func TestPathDown(t *testing.T) {
	for _, c := range []struct {
		why              PathFailure
		both, last       int // paths afterwards to what both have, to what only a has
		session, restart bool
	}{
		{why: PathFailureBFDDown, both: 1, last: 1},
		{why: PathFailureBFDDownIndependent, both: 1, last: 0},
		{why: PathFailureCarrierLost, both: 1, last: 0},
		{why: PathFailureBFDRemoteAdminDown, both: 2, last: 1, session: true},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				rr, a, b := star(t, n, GracefulRestart{Enabled: true})
				a.originate("192.0.2.0/24", "203.0.113.0/24")
				b.originate("203.0.113.0/24")
				settle(time.Second)
				rr.has("203.0.113.0/24", 2)
				n.Refuse(everybody, true)
				if err := rr.PathDown(PeerKey{Addr: addr2}, c.why); err != nil {
					t.Fatal(err)
				}
				settle(100 * time.Millisecond)
				rr.has("203.0.113.0/24", c.both)
				rr.has("192.0.2.0/24", c.last)
				if got := a.state(addr1) == Established; got != c.session {
					t.Errorf("session: %v", got)
				}
				if !c.session && c.why != PathFailureCarrierLost {
					// Our Cease is a Hard Reset, so the client drops our paths, too.
					a.has("203.0.113.0/24", 1)
					if st, _ := a.Peer(PeerKey{Addr: addr1}); st.LastReceived == nil || !st.LastReceived.Received.IsHardReset() {
						t.Errorf("last received: %v", st.LastReceived)
					}
				}
				n.Refuse(everybody, false)
				settle(5 * time.Second)
				rr.has("203.0.113.0/24", 2)
				rr.has("192.0.2.0/24", 1)
			})
		})
	}
}

// TestPathDownWhileAway: the path dies while the client restarts.
func TestPathDownWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, a, b := star(t, n, GracefulRestart{Enabled: true})
		a.originate("192.0.2.0/24", "203.0.113.0/24")
		b.originate("203.0.113.0/24")
		settle(time.Second)
		a.kill()
		settle(time.Second)
		_ = rr.PathDown(PeerKey{Addr: addr2}, PathFailureBFDDown)
		rr.has("203.0.113.0/24", 1)
		rr.has("192.0.2.0/24", 1)
		_ = rr.PathDown(PeerKey{Addr: addr2}, PathFailureBFDDownIndependent)
		rr.has("192.0.2.0/24", 0)
	})
}

// TestPathDownElsewhere: a client announces next hops on two links, and the way to it on
// one of them dies.
func TestPathDownElsewhere(t *testing.T) {
	for _, why := range []PathFailure{PathFailureBFDDownIndependent, PathFailureCarrierLost, PathFailureBFDDown} {
		t.Run(why.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				rr, a, b := star(t, n, GracefulRestart{Enabled: true})
				a.originate("203.0.113.0/24")
				b.originate("203.0.113.0/24")
				for _, prefix := range []string{"192.0.2.0/25", "203.0.113.0/25"} {
					err := a.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(prefix), NextHop: wire.NextHop{Addr: netip.MustParseAddr("198.51.100.2")}})
					if err != nil {
						t.Fatal(err)
					}
				}
				settle(time.Second)
				err := rr.UpdateRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{
					Families: bothFamilies, RouteReflectorClient: true, AddPathSend: bothFamilies,
					OffLinkPrefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
				}})
				if err != nil {
					t.Fatal(err)
				}
				settle(time.Second)
				ups := mustPeer(t, rr, addr2).Established
				n.Refuse(everybody, true)
				_ = rr.PathDown(PeerKey{Addr: addr2}, why)
				settle(100 * time.Millisecond)
				rr.has("203.0.113.0/24", 1) // its own next hop: gone
				rr.has("192.0.2.0/25", 1)
				rr.has("203.0.113.0/25", 1)
				if st := mustPeer(t, rr, addr2); st.State == Established || st.Families[0].Stale != 2 {
					t.Errorf("%v, stale %d", st.State, st.Families[0].Stale)
				}
				if why != PathFailureCarrierLost {
					if st := mustPeer(t, a, addr1); st.LastReceived == nil || st.LastReceived.Received.IsHardReset() {
						t.Errorf("last received: %v", st.LastReceived)
					}
				}
				_ = rr.PathDown(PeerKey{Addr: addr2}, why) // said again, they still stay
				rr.has("192.0.2.0/25", 1)
				n.Refuse(everybody, false)
				settle(5 * time.Second)
				rr.has("203.0.113.0/24", 2)
				if st := mustPeer(t, rr, addr2); st.Families[0].Stale != 0 || st.Established != ups+1 {
					t.Errorf("stale %d, established %d times", st.Families[0].Stale, st.Established)
				}
			})
		})
	}
}

func mustPeer(t *testing.T, s *node, a netip.Addr) PeerStatus {
	t.Helper()
	st, err := s.Peer(PeerKey{Addr: a})
	if err != nil {
		t.Fatal(err)
	}
	return st
}
