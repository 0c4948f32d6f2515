package bgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const birdRestart = "graceful restart on; graceful restart time 120; long lived graceful restart on; long lived stale time 30;"

// TestBIRDRestarts: BIRD is killed and comes back; we are its helper.
func TestBIRDRestarts(t *testing.T) {
	l := newLAN(t)
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true}})
	clients(r, nil)
	b := startBIRD(l, 2, birdStatic+birdPeer(birdRestart))
	r.waitState("10.77.0.2", Established)
	r.waitPaths("192.0.2.0/24", 1)
	key := PeerKey{Addr: netip.MustParseAddr("10.77.0.2")}
	phase := func(want RestartStatus) {
		t.Helper()
		nstest.Wait(t, 15*time.Second, "phase "+want.String(), func() bool {
			st, err := r.Peer(key)
			return err == nil && st.Restart == want
		})
	}
	b.kill()
	phase(RestartWaiting)
	if p := r.watchPaths("192.0.2.0/24"); len(p) != 1 || !p[0].Stale {
		t.Fatalf("paths of a peer that restarts: %+v", p)
	}
	// It comes back without one of its routes.
	conf := strings.ReplaceAll(birdStatic, "route 192.0.2.0/24 blackhole;", "")
	write(t, b.dir, "bird.conf", "log stderr all;\nrouter id 10.77.0.2;\nprotocol device { scan time 1; }\n"+conf+birdPeer(birdRestart))
	b.arg = append(b.arg, "-R")
	b.start()
	phase(RestartNone)
	r.waitState("10.77.0.2", Established)
	r.waitPaths("192.0.2.0/24", 0)
	if p := r.waitPaths("198.51.100.7/32", 1); p[0].Stale {
		t.Errorf("still stale: %+v", p)
	}
}

// TestWeRestart: we are killed and come back; BIRD is our helper and never loses
// a route.
func TestWeRestart(t *testing.T) {
	l := newLAN(t)
	b := startBIRD(l, 2, birdStatic+birdPeer(birdRestart))
	peer := PeerConfig{
		Addr: netip.MustParseAddr("10.77.0.2"), Families: bothFamilies, NextHop6: netip.MustParseAddr("fd77::1"),
	}
	r := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute}})
	r.must(r.AddPeer(peer))
	r.originate("203.0.113.0/24", "203.0.113.128/25")
	b.waitFor("our route", "show route 203.0.113.0/24", "10.77.0.1")
	b.waitFor("our other route", "show route 203.0.113.128/25", "10.77.0.1")
	r.stop()
	b.waitFor("graceful restart", "show protocols all hub", "Neighbor graceful restart active")
	b.waitFor("our route, stale", "show route 203.0.113.0/24", "10.77.0.1")

	again := startReal(t, l.hub, Config{GracefulRestart: GracefulRestart{
		Enabled: true, Restarting: true, ForwardingPreserved: true, RestartTime: 2 * time.Minute,
	}})
	began := time.Now()
	again.must(again.AddPeer(peer))
	again.waitState("10.77.0.2", Established)
	again.originate("203.0.113.0/24") // the other one is gone
	b.waitFor("our other route, until End-of-RIB", "show route 203.0.113.128/25", "10.77.0.1")
	again.waitPaths("192.0.2.0/24", 1)
	if again.Restarting() {
		t.Error("still restarting after End-of-RIB from the only peer")
	}
	t.Logf("best paths %v after the start", time.Since(began))
	again.InventoryComplete()
	b.waitFor("the end of what is gone", "show route 203.0.113.128/25", "Network not found")
	b.waitFor("our route", "show route 203.0.113.0/24", "10.77.0.1")
	if out := b.birdc("show protocols all hub"); strings.Contains(out, "Restart active") {
		t.Error(out)
	}
}

// TestLongLived: a peer stays away longer than its restart time.
func TestLongLived(t *testing.T) { nstest.Steady(t, 50*time.Millisecond, testLongLived) }

func testLongLived(t testing.TB) {
	l := newLAN(t)
	gr := GracefulRestart{Enabled: true, LongLivedTime: 4 * time.Second}
	r := startReal(t, l.hub, Config{GracefulRestart: gr})
	clients(r, nil)
	b := startBIRD(l, 2, birdStatic+birdPeer(strings.ReplaceAll(birdRestart, "restart time 120", "restart time 1")))
	startBIRD(l, 3, strings.ReplaceAll(birdPeer(birdRestart), "10.77.0.2", "10.77.0.3"))
	r.waitState("10.77.0.2", Established)
	r.waitState("10.77.0.3", Established)
	r.waitPaths("192.0.2.0/24", 1)
	b.kill()
	key := PeerKey{Addr: netip.MustParseAddr("10.77.0.2")}
	nstest.Wait(t, 10*time.Second, "long-lived", func() bool {
		st, err := r.Peer(key)
		return err == nil && st.Restart == RestartLongLived
	})
	if p := r.watchPaths("192.0.2.0/24"); len(p) != 1 || !p[0].Stale {
		t.Fatalf("%+v", p)
	}
	began := time.Now()
	r.waitPaths("192.0.2.0/24", 0)
	if d := time.Since(began); d < 3*time.Second || d > 6*time.Second {
		t.Errorf("long-lived stale for %v, want 4s", d)
	}
}

// TestFRRRestart: FRR restarts, and we do: both roles.
func TestFRRRestart(t *testing.T) {
	l := newLAN(t)
	gr := GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute}
	peer := PeerConfig{Addr: netip.MustParseAddr("10.77.0.3"), Families: bothFamilies}
	r := startReal(t, l.hub, Config{GracefulRestart: gr})
	r.must(r.AddPeer(peer))
	r.originate("203.0.113.0/24", "203.0.113.128/25")
	f := startFRR(l, 3, frrClient)
	r.waitState("10.77.0.3", Established)
	r.waitPaths("198.18.0.0/24", 1)
	f.waitFor("our route", "show bgp ipv4 unicast 203.0.113.0/24", "10.77.0.1 from 10.77.0.1")

	f.kill()
	nstest.Wait(t, 10*time.Second, "stale", func() bool { p := r.watchPaths("198.18.0.0/24"); return len(p) == 1 && p[0].Stale })
	f.start()
	nstest.Wait(t, 30*time.Second, "fresh", func() bool { p := r.watchPaths("198.18.0.0/24"); return len(p) == 1 && !p[0].Stale })
	r.waitState("10.77.0.3", Established)
	f.waitFor("our route", "show bgp ipv4 unicast 203.0.113.128/25", "10.77.0.1 from 10.77.0.1")

	r.stop()
	f.waitFor("our route, stale", "show bgp ipv4 unicast 203.0.113.0/24", "tale")
	gr.Restarting, gr.ForwardingPreserved = true, true
	again := startReal(t, l.hub, Config{GracefulRestart: gr})
	again.must(again.AddPeer(peer))
	again.originate("203.0.113.0/24")
	again.waitPaths("198.18.0.0/24", 1)
	again.InventoryComplete()
	f.waitFor("the end of what is gone", "show bgp ipv4 unicast 203.0.113.128/25", "not in table")
	if out := f.vtysh("show bgp ipv4 unicast 203.0.113.0/24"); !strings.Contains(out, "10.77.0.1 from 10.77.0.1") || strings.Contains(out, "tale") {
		t.Error(out)
	}
}

// TestGoBGPRestart: both roles against GoBGP.
func TestGoBGPRestart(t *testing.T) {
	l := newLAN(t)
	gr := GracefulRestart{Enabled: true, RestartTime: 2 * time.Minute}
	peer := PeerConfig{Addr: netip.MustParseAddr("10.77.0.4")}
	r := startReal(t, l.hub, Config{GracefulRestart: gr})
	r.must(r.AddPeer(peer))
	r.originate("203.0.113.0/24", "203.0.113.128/25")
	g := startGoBGP(l, 4, `
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "10.77.0.1"
 [neighbors.timers.config]
  connect-retry = 1
 [neighbors.graceful-restart.config]
  enabled = true
  restart-time = 120
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
  [neighbors.afi-safis.mp-graceful-restart.config]
   enabled = true
`)
	r.waitState("10.77.0.4", Established)
	g.gobgp("global", "rib", "add", "198.19.0.0/24")
	r.waitPaths("198.19.0.0/24", 1)
	g.kill()
	nstest.Wait(t, 10*time.Second, "stale", func() bool { p := r.watchPaths("198.19.0.0/24"); return len(p) == 1 && p[0].Stale })
	// It forgets what was added by hand: End-of-RIB takes the path.
	g.arg = append(g.arg, "-r")
	g.start()
	r.waitPaths("198.19.0.0/24", 0)
	r.waitState("10.77.0.4", Established)
	waitText(t, "our route", "203.0.113.128/25", func() string { return g.gobgp("global", "rib") })

	r.stop()
	waitText(t, "our route, stale", "S*>", func() string { return g.gobgp("global", "rib") })
	gr.Restarting, gr.ForwardingPreserved = true, true
	again := startReal(t, l.hub, Config{GracefulRestart: gr})
	again.must(again.AddPeer(peer))
	again.originate("203.0.113.0/24")
	again.InventoryComplete()
	again.waitState("10.77.0.4", Established)
	nstest.Wait(t, 15*time.Second, "the end of what is gone", func() bool {
		out := g.gobgp("global", "rib")
		return strings.Contains(out, "203.0.113.0/24") && !strings.Contains(out, "203.0.113.128/25") && !strings.Contains(out, "S*>")
	})
}
