package bgp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// pair is two speakers with a session of both families.
func pair(t *testing.T, gr GracefulRestart) (n *bgptest.Network, a, b *node) {
	n = &bgptest.Network{}
	a, b = run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr})
	a.peer(PeerConfig{Addr: addr2, Families: bothFamilies})
	b.peer(PeerConfig{Addr: addr1, Families: bothFamilies})
	settle(time.Second)
	a.mustBe(addr2, Established)
	return n, a, b
}

var key2 = PeerKey{Addr: addr2}

// TestSoftUpdate changes policies without a reset, in both directions.
func TestSoftUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{})
		a.originate("192.0.2.0/24", "198.51.100.0/24")
		b.originate("203.0.113.0/24", "203.0.113.128/25")
		settle(time.Second)
		exact := func(s string) rib.Match {
			return func(r *rib.Route) bool { return r.Prefix == netip.MustParsePrefix(s) }
		}
		c := PeerConfig{Addr: addr2, Families: bothFamilies, Description: "changed"}
		c.Import = rib.If(exact("203.0.113.128/25"), rib.RejectAll)
		c.Export = rib.If(exact("198.51.100.0/24"), rib.RejectAll)
		if resets, err := a.Resets(c); resets || err != nil {
			t.Errorf("it would be reset, %v", err)
		}
		if err := a.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		a.has("203.0.113.0/24", 1)
		a.has("203.0.113.128/25", 0)
		b.has("192.0.2.0/24", 1)
		b.has("198.51.100.0/24", 0)
		st, _ := a.Peer(key2)
		if st.Established != 1 || st.State != Established || st.Description != "changed" {
			t.Errorf("%+v", st)
		}
		// And back.
		c.Import, c.Export = nil, nil
		_ = a.UpdatePeer(c)
		settle(time.Second)
		a.has("203.0.113.128/25", 1)
		b.has("198.51.100.0/24", 1)
	})
}

// TestHardUpdate changes what only an OPEN can say.
func TestHardUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{Enabled: true})
		b.originate("203.0.113.0/24")
		settle(time.Second)
		c := PeerConfig{Addr: addr2, Families: bothFamilies, HoldTime: 9 * time.Second}
		if resets, err := a.Resets(c); !resets || err != nil {
			t.Errorf("it would not be reset, %v", err)
		}
		if err := a.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		settle(time.Millisecond)
		a.has("203.0.113.0/24", 1) // graceful: the N bit is there
		settle(2 * time.Second)
		st, _ := a.Peer(key2)
		if st.Established != 2 || st.Negotiated.HoldTime != 9*time.Second || st.Restart != RestartNone {
			t.Errorf("%+v", st)
		}
		// The new connection may be faster than what the old one said at its end.
		if last := mustPeer(t, b, addr1); !errors.Is(last.LastError, errReplaced) && last.LastReceived.Received.Subcode != wire.SubConfigChanged {
			t.Errorf("%v", last.LastReceived)
		}
		// A peer without a session just begins again.
		b.kill()
		settle(time.Second)
		if resets, err := a.Resets(PeerConfig{Addr: addr2, HoldTime: 30 * time.Second}); resets || err != nil {
			t.Errorf("there is no session: %v, %v", resets, err)
		}
		if err := a.UpdatePeer(PeerConfig{Addr: addr2, HoldTime: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestEndOfRIBOfSession: the status says of the session that there is whether its End-of-RIB
// came, not of the one before.
func TestEndOfRIBOfSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t, GracefulRestart{Enabled: true})
		if st := mustPeer(t, a, addr2); st.Families[0].EndOfRIB.IsZero() {
			t.Fatalf("%+v", st)
		}
		b.kill()
		settle(time.Second)
		b = run(t, n, addr2, Config{GracefulRestart: GracefulRestart{Enabled: true, Restarting: true}})
		b.peer(PeerConfig{Addr: addr1, Families: bothFamilies})
		settle(time.Second)
		if st := mustPeer(t, a, addr2); st.State != Established || !st.Families[0].EndOfRIB.IsZero() {
			t.Errorf("%v, End-of-RIB at %v", st.State, st.Families[0].EndOfRIB)
		}
		b.InventoryComplete()
		settle(time.Second)
		if st := mustPeer(t, a, addr2); st.Families[0].EndOfRIB.IsZero() {
			t.Errorf("%+v", st)
		}
	})
}

// TestRefreshAndReset covers what an operator does to a session.
func TestRefreshAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{Enabled: true})
		b.originate("203.0.113.0/24")
		settle(time.Second)
		before, _ := a.Peer(key2)
		if err := errors.Join(a.Refresh(key2), a.Resend(key2)); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		after, _ := a.Peer(key2)
		if after.Sent.RouteRefresh != before.Sent.RouteRefresh+2 || after.Received.Update <= before.Received.Update || after.Received.RouteRefresh < 4 {
			t.Errorf("before %+v, after %+v", before.Received, after.Received)
		}
		if err := a.Reset(key2, "just so", true); err != nil {
			t.Fatal(err)
		}
		settle(2 * time.Second)
		a.mustBe(addr2, Established)
		if c, _ := a.Peer(key2); c.Families[0].Dropped[rib.ReasonSessionEnded] != 1 {
			t.Errorf("a hard reset drops paths: %+v", c.Families[0])
		}
		st, _ := b.Peer(PeerKey{Addr: addr1})
		if !strings.Contains(st.LastReceived.Error(), "just so") || !st.LastReceived.Received.IsHardReset() {
			t.Errorf("%v", st.LastReceived)
		}
		a.Shutdown("good night")
		settle(5 * time.Second)
		st, _ = b.Peer(PeerKey{Addr: addr1})
		if !strings.Contains(st.LastReceived.Error(), "good night") {
			t.Errorf("%v", st.LastReceived)
		}
		if err := a.Refresh(key2); !errors.Is(err, ErrNotEstablished) {
			t.Error(err)
		}
	})
}

// TestPeersComeAndGo adds and removes at run time.
func TestPeersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{Enabled: true})
		b.originate("203.0.113.0/24")
		settle(time.Second)
		if err := a.AddPeer(PeerConfig{Addr: addr2}); !errors.Is(err, ErrPeerExists) {
			t.Error(err)
		}
		for _, err := range []error{
			a.RemovePeer(PeerKey{Addr: addr3}), a.UpdatePeer(PeerConfig{Addr: addr3}), a.PathDown(PeerKey{Addr: addr3}, PathFailureBFDDown),
			a.PathUp(PeerKey{Addr: addr3}), a.PeerReturned(PeerKey{Addr: addr3}), a.RemoveRange(netip.MustParsePrefix("10.0.0.0/8")),
			a.UpdateRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/8")}),
		} {
			if !errors.Is(err, ErrNoPeer) {
				t.Error(err)
			}
		}
		if err := a.RemovePeer(key2); err != nil {
			t.Fatal(err)
		}
		a.has("203.0.113.0/24", 0)
		settle(time.Second)
		if len(a.Peers()) != 0 || b.state(addr1) == Established {
			t.Error("still there")
		}
		// It comes back as a member of a range.
		r := RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{Families: bothFamilies}}
		if err := a.AddRange(r); err != nil {
			t.Fatal(err)
		}
		if err := a.AddRange(r); !errors.Is(err, ErrPeerExists) {
			t.Error(err)
		}
		settle(5 * time.Second)
		a.mustBe(addr2, Established)
		if st, _ := a.Peer(key2); !st.Dynamic {
			t.Error("not dynamic")
		}
		if err := a.AddPeer(PeerConfig{Addr: addr2, Passive: true, Families: bothFamilies}); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		if st, _ := a.Peer(key2); st.Dynamic || st.State != Established {
			t.Errorf("%+v", st)
		}
		if err := a.RemovePeer(key2); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		a.mustBe(addr2, Established)
		r.Template.HoldTime = 30 * time.Second
		if err := a.UpdateRange(r); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		if st, _ := a.Peer(key2); st.Negotiated == nil || st.Negotiated.HoldTime != 30*time.Second {
			t.Errorf("%+v", st)
		}
		if err := a.RemoveRange(r.Prefix); err != nil {
			t.Fatal(err)
		}
		settle(5 * time.Second)
		if len(a.Peers()) != 0 {
			t.Errorf("%+v", a.Peers())
		}
	})
}

// TestBeforeRun configures a speaker that does not run.
func TestBeforeRun(t *testing.T) {
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddPeer(PeerConfig{Addr: addr2}); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdatePeer(PeerConfig{Addr: addr2, Description: "x"}); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Peer(key2); err != nil || st.Description != "x" || st.State != Idle {
		t.Errorf("%+v %v", st, err)
	}
	for _, err := range []error{s.PathDown(key2, PathFailureBFDDown), s.PathUp(key2), s.Refresh(key2), s.Reset(key2, "", false)} {
		if !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	}
	s.LinkDown("eth0")
	s.Shutdown("nobody hears this")
	if err := s.RemovePeer(key2); err != nil || len(s.Peers()) != 0 {
		t.Error(err, s.Peers())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err == nil {
		t.Error("ran twice")
	}
}

// TestNothingIsLeft is a life with all kinds of peers. synctest.Test does not
// return before every goroutine in it has ended.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t, GracefulRestart{Enabled: true})
		a.peer(PeerConfig{Addr: addr3}) // never answers
		raw(t, n, addr2).discard()
		settle(time.Second)
		a.kill()
		b.kill()
	})
}

// TestLinkDown takes down what is behind an interface.
func TestLinkDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{GracefulRestart: GracefulRestart{Enabled: true}}), run(t, n, addr2, Config{GracefulRestart: GracefulRestart{Enabled: true}})
		a.peer(PeerConfig{Addr: addr2, Interface: "fabric0"})
		b.peer(PeerConfig{Addr: addr1, Passive: true})
		b.originate("203.0.113.0/24")
		settle(time.Second)
		a.has("203.0.113.0/24", 1)
		if k := a.LinkDown("other"); k != 0 {
			t.Errorf("%d peers behind another interface", k)
		}
		n.Refuse(everybody, true)
		if k := a.LinkDown("fabric0"); k != 1 {
			t.Errorf("%d peers", k)
		}
		a.has("203.0.113.0/24", 0)
		if st, _ := a.Peer(key2); !st.PathDown || !strings.Contains(st.LastError.Error(), "interface is down") {
			t.Errorf("%+v", st)
		}
		if err := a.PathUp(key2); err != nil {
			t.Fatal(err)
		}
		if st, _ := a.Peer(key2); st.PathDown {
			t.Error("still down")
		}
	})
}

// TestPeerReturned: a peer that had been away for so long that it is called seldom is called at once when it
// has shown itself. What BFD says of the path stays, and a session goes on.
func TestPeerReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		n.Refuse(everybody, true)
		a.peer(PeerConfig{Addr: addr2, ConnectRetry: time.Hour})
		b.peer(PeerConfig{Addr: addr1, Passive: true})
		settle(10 * time.Hour)
		n.Refuse(everybody, false)
		a.must(a.PathDown(key2, PathFailureBFDDown))
		settle(time.Second)
		if a.state(addr2) == Established {
			t.Fatal("it is called often: the test shows nothing")
		}
		a.must(a.PeerReturned(key2))
		settle(time.Second)
		a.mustBe(addr2, Established)
		if st, _ := a.Peer(key2); !st.PathDown {
			t.Error("the path is not down any more")
		}
		up, _ := a.Peer(key2)
		a.must(a.PeerReturned(key2))
		settle(time.Second)
		if st, _ := a.Peer(key2); st.State != Established || st.Since != up.Since {
			t.Errorf("%v since %v, want %v", st.State, st.Since, up.Since)
		}
	})
}

// TestTwoSessionsToOnePeer tells them apart by our own address.
func TestTwoSessionsToOnePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		local := netip.MustParseAddr("10.0.1.1")
		a.peer(PeerConfig{Addr: addr2, LocalAddr: addr1})
		a.peer(PeerConfig{Addr: addr2, LocalAddr: local})
		b.peer(PeerConfig{Addr: addr1, Passive: true})
		b.peer(PeerConfig{Addr: local, Passive: true})
		a.originate("192.0.2.0/24")
		settle(time.Second)
		for _, st := range a.Peers() {
			if st.State != Established {
				t.Errorf("%v: %v", st.Key, st.State)
			}
		}
		b.has("192.0.2.0/24", 2)
	})
}

// TestRestartTime: each peer keeps our routes for as long as we told it, and a change ends
// no session.
func TestRestartTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		gr := GracefulRestart{Enabled: true}
		a, b, c := run(t, n, addr1, Config{GracefulRestart: gr}), run(t, n, addr2, Config{GracefulRestart: gr}), run(t, n, addr3, Config{GracefulRestart: gr})
		short := PeerConfig{Addr: addr2, RestartTime: 10 * time.Second}
		a.peer(short)
		a.peer(PeerConfig{Addr: addr3})
		b.peer(PeerConfig{Addr: addr1, Passive: true})
		if err := c.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{RestartTime: 7 * time.Second}}); err != nil {
			t.Fatal(err)
		}
		a.originate("192.0.2.0/24")
		settle(time.Second)
		said := func(at *node, peer netip.Addr) (ours, theirs time.Duration) {
			n := mustPeer(t, at, peer).Negotiated
			return n.Local.GracefulRestart.Time, n.Remote.GracefulRestart.Time
		}
		if ours, theirs := said(a, addr3); ours != 120*time.Second || theirs != 7*time.Second {
			t.Errorf("to and from a client of a range: %v, %v", ours, theirs)
		}
		short.RestartTime = 30 * time.Second
		if err := a.UpdatePeer(short); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if ours, _ := said(a, addr2); ours != 10*time.Second || mustPeer(t, a, addr2).Established != 1 {
			t.Errorf("the session that was up: %v, %d sessions", ours, mustPeer(t, a, addr2).Established)
		}
		if err := a.Reset(key2, "", false); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if _, theirs := said(b, addr1); theirs != 30*time.Second {
			t.Errorf("the next session: %v", theirs)
		}
		a.kill()
		settle(29 * time.Second)
		b.has("192.0.2.0/24", 1)
		settle(2 * time.Second)
		b.has("192.0.2.0/24", 0)
		c.has("192.0.2.0/24", 1)
		settle(90 * time.Second)
		c.has("192.0.2.0/24", 0)
		for _, bad := range []time.Duration{-1, time.Millisecond, 4096 * time.Second} {
			if err := b.AddPeer(PeerConfig{Addr: addr3, RestartTime: bad}); err == nil {
				t.Errorf("restart time %v", bad)
			}
		}
	})
}
