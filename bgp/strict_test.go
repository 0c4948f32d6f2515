package bgp

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

var strictMode = fsm.StrictConfig{Enabled: true}

// strictPair is two speakers whose session waits for BFD. The first takes whoever comes from the
// second's network if it has a range.
func strictPair(t *testing.T, n *bgptest.Network, ranged bool) (a, b *node) {
	t.Helper()
	a, b = run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
	if ranged {
		if err := a.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{BFDStrict: strictMode}}); err != nil {
			t.Fatal(err)
		}
	} else {
		a.peer(PeerConfig{Addr: addr2, BFDStrict: strictMode})
	}
	b.peer(PeerConfig{Addr: addr1, BFDStrict: strictMode})
	settle(time.Second)
	return a, b
}

// waits returns the wait of a peer for BFD.
func (n *node) waits(addr netip.Addr) *BFDWait {
	n.t.Helper()
	st, err := n.Peer(PeerKey{Addr: addr})
	if err != nil {
		n.t.Fatal(err)
	}
	return st.BFDWait
}

// waitEvents returns what the events that a watcher has say of waits: each begin and end.
func (n *node) waitEvents(w *Watcher) (out []bool) {
	for _, e := range drain(n.t, w) {
		if e.Kind == EventBFDWait {
			out = append(out, e.BFDWait != nil)
		}
	}
	return out
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// TestStrict: in strict mode a session waits for BFD, says so, and ends at once when BFD goes Down;
// a peer of a range is no exception.
func TestStrict(t *testing.T) {
	for name, ranged := range map[string]bool{"configured": false, "range": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := strictPair(t, &bgptest.Network{}, ranged)
				begin := time.Now()
				settle(time.Minute)
				a.mustBe(addr2, OpenSent)
				b.mustBe(addr1, OpenSent)
				w := a.waits(addr2)
				if w == nil || begin.Sub(w.Since) > 2*time.Second || w.Since.After(begin) || w.Until.Sub(w.Since) != 90*time.Second || !w.HeldDown.IsZero() {
					t.Errorf("%+v", w)
				}
				st, _ := a.Peer(PeerKey{Addr: addr2})
				if st.Local.Addr() != addr1 || st.Remote.Addr() != addr2 || st.RouterID != addr2 {
					t.Errorf("%v to %v, router id %v", st.Local, st.Remote, st.RouterID)
				}
				// An event when it began, and one for who asks now.
				if got, fresh := a.waitEvents(a.events), a.waitEvents(a.Watch()); len(got) == 0 || !got[len(got)-1] || len(fresh) != 1 || !fresh[0] {
					t.Errorf("events %v, snapshot %v", got, fresh)
				}
				for _, n := range []*node{a, b} {
					key := PeerKey{Addr: map[bool]netip.Addr{true: addr2, false: addr1}[n == a]}
					n.must(n.PathUp(key))
				}
				synctest.Wait()
				a.mustBe(addr2, Established)
				b.mustBe(addr1, Established)
				if got := a.waitEvents(a.events); len(got) != 1 || got[0] || a.waits(addr2) != nil || len(a.waitEvents(a.Watch())) != 0 {
					t.Errorf("the wait is over: %v, %v", got, a.waits(addr2))
				}
				st, _ = a.Peer(PeerKey{Addr: addr2})
				if !st.Negotiated.BFDStrict {
					t.Error("strict mode is not negotiated")
				}
				// BFD goes Down: the session has ended when PathDown returns.
				settle(time.Minute)
				a.must(a.PathDown(PeerKey{Addr: addr2}, PathFailureBFDDown))
				if a.state(addr2) == Established {
					t.Error("the session goes on")
				}
				b.must(b.PathDown(PeerKey{Addr: addr1}, PathFailureBFDDown))
				settle(10 * time.Minute)
				if a.state(addr2) == Established || b.state(addr1) == Established {
					t.Error("a session without BFD")
				}
				if p, err := a.Peer(PeerKey{Addr: addr2}); !ranged && (err != nil || p.LastError == nil) {
					t.Errorf("%v, %v", p.LastError, err)
				}
			})
		})
	}
}

// TestStrictRange: a program that answers EventBFDWait brings up the peer of a range whose BFD is Up
// already, as when only its BGP has restarted.
func TestStrictRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := strictPair(t, n, true)
		added := false
		for _, e := range drain(t, a.events) {
			added = added || e.Kind == EventAdded
			if e.Kind == EventBFDWait && e.BFDWait != nil {
				if !added {
					t.Error("the peer waits before it is added")
				}
				a.must(a.PathUp(e.Peer))
			}
		}
		b.must(b.PathUp(PeerKey{Addr: addr1}))
		settle(time.Second)
		a.mustBe(addr2, Established)
		b.kill() // without graceful restart nothing is left of it
		settle(time.Second)
		removed := 0
		for _, e := range drain(t, a.events) {
			if e.Kind == EventRemoved {
				removed++
			}
		}
		if removed != 1 {
			t.Errorf("removed %d times", removed)
		}
		b = run(t, n, addr2, Config{})
		b.peer(PeerConfig{Addr: addr1, BFDStrict: strictMode})
		b.must(b.PathUp(PeerKey{Addr: addr1}))
		settle(time.Second)
		if w := a.waits(addr2); w == nil || time.Since(w.Since) > 2*time.Second {
			t.Errorf("%+v", w)
		}
		for _, e := range drain(t, a.events) {
			if e.Kind == EventBFDWait && e.BFDWait != nil {
				a.must(a.PathUp(e.Peer))
			}
		}
		settle(time.Second)
		a.mustBe(addr2, Established)
		b.mustBe(addr1, Established)
	})
}

// TestStrictRangeFlaps: a peer of a range is forgotten with its session, and its flaps are not, for a
// minute.
func TestStrictRangeFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := strictPair(t, &bgptest.Network{}, true)
		keyA, keyB := PeerKey{Addr: addr1}, PeerKey{Addr: addr2}
		for range 3 {
			a.must(a.PathUp(keyB))
			b.must(b.PathUp(keyA))
			settle(5 * time.Second)
			a.mustBe(addr2, Established)
			a.must(a.PathDown(keyB, PathFailureBFDDown))
			b.must(b.PathDown(keyA, PathFailureBFDDown))
			settle(time.Second)
		}
		a.must(a.PathUp(keyB))
		settle(time.Second)
		if w := a.waits(addr2); w == nil || time.Until(w.HeldDown) != 3*time.Second {
			t.Errorf("%+v", w)
		}
		a.must(a.PathDown(keyB, PathFailureBFDDown))
		b.kill()
		settle(time.Second)
		if _, err := a.Peer(keyB); err != nil {
			t.Error(err)
		}
		settle(time.Minute)
		if _, err := a.Peer(keyB); !errors.Is(err, ErrNoPeer) {
			t.Error(err)
		}
	})
}

// TestStrictPlain: a peer that does not offer strict mode gets an ordinary session, unless it is
// required, and BFD that either side has taken down on purpose is waited for by nobody.
func TestStrictPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		strict, key := PeerConfig{Addr: addr2, BFDStrict: strictMode}, PeerKey{Addr: addr2}
		a.peer(strict)
		b.peer(PeerConfig{Addr: addr1})
		settle(time.Second)
		a.mustBe(addr2, Established)
		strict.BFDStrict.Required = true
		a.must(a.UpdatePeer(strict)) // of no effect on the session that there is
		settle(time.Second)
		a.mustBe(addr2, Established)
		a.must(a.Reset(key, "", false))
		settle(100 * time.Second)
		st, _ := a.Peer(key)
		if st.Established != 1 || st.State == Established || st.LastError == nil {
			t.Errorf("%v, %d sessions, %v", st.State, st.Established, st.LastError)
		}
		if e := st.LastError; !errors.Is(e, errNoBFD) && (e.Received == nil || e.Received.Code != wire.CodeHoldTimer) {
			t.Error(e)
		}
		// Not required any more: a connection that waits begins anew, with Cease/Other
		// Configuration Change, and gets its session.
		strict.BFDStrict.Required = false
		a.must(a.UpdatePeer(strict))
		settle(time.Second)
		a.mustBe(addr2, Established)
		strict.BFDStrict.Required = true
		a.must(a.UpdatePeer(strict))
		a.must(a.Reset(key, "", false))
		settle(time.Second)
		a.mustBe(addr2, OpenSent)
		a.must(a.PathDown(key, PathFailureBFDRemoteAdminDown))
		settle(time.Second)
		a.mustBe(addr2, Established)
	})
}

// TestStrictWire: the capability is code 74, without data, and only of a peer that is configured so.
// In the wait nothing is sent after the OPEN; the wait ends with Cease/BFD Down.
func TestStrictWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{})
		a.peer(PeerConfig{Addr: addr2, Passive: true, BFDStrict: fsm.StrictConfig{Enabled: true, HoldTime: 10 * time.Second}})
		a.peer(PeerConfig{Addr: addr3, Passive: true})
		open := func(addr netip.Addr) (*rawPeer, wire.Open) {
			p := raw(t, n, addr)
			kind, body := p.message()
			o, err := wire.ParseOpen(body)
			if kind != wire.TypeOpen || err != nil {
				t.Fatal(kind, err)
			}
			return p, o
		}
		if _, o := open(addr3); o.Capabilities.BFDStrict {
			t.Error("strict mode is offered, and not configured")
		}
		p, o := open(addr2)
		if !o.Capabilities.BFDStrict {
			t.Error("strict mode is not offered")
		}
		theirs := wire.Open{AS: 65000, HoldTime: 90 * time.Second, ID: addr2, Capabilities: wire.Capabilities{
			Families: []wire.Family{wire.IPv4Unicast}, AS4: true, BFDStrict: true}}
		p.send(theirs.Append(nil))
		p.send(wire.AppendKeepalive(nil))
		began := time.Now()
		kind, body := p.message()
		if d := time.Since(began); kind != wire.TypeNotification || d != 10*time.Second {
			t.Fatalf("%v after %v", kind, d)
		}
		if got, err := wire.ParseNotification(body); err != nil || got.Code != wire.CodeCease || got.Subcode != wire.SubBFDDown {
			t.Errorf("%v, %v", got, err)
		}
		st, _ := a.Peer(PeerKey{Addr: addr2})
		if !errors.Is(st.LastError, errNoBFD) || st.BFDWait != nil || st.Remote.IsValid() {
			t.Errorf("%v, waits %v, remote %v", st.LastError, st.BFDWait, st.Remote)
		}
		settle(5 * time.Second)
		// With BFD Up, from before, nothing is waited for.
		a.must(a.PathUp(PeerKey{Addr: addr2}))
		p, _ = open(addr2)
		p.send(theirs.Append(nil))
		p.send(wire.AppendKeepalive(nil))
		if kind, _ := p.message(); kind != wire.TypeKeepalive {
			t.Error(kind)
		}
		settle(time.Second)
		a.mustBe(addr2, Established)
	})
}

// TestStrictFlaps: a path that flaps has to be Up for longer and longer, and the status says until
// when; a program may say that it is Up as often as it likes.
func TestStrictFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := strictPair(t, &bgptest.Network{}, false)
		keyA, keyB := PeerKey{Addr: addr1}, PeerKey{Addr: addr2}
		for i, want := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			b.must(b.PathUp(keyA))
			up := time.Now()
			a.must(a.PathUp(keyB))
			a.must(a.PathUp(keyB))
			settle(500 * time.Millisecond)
			if w := a.waits(addr2); want > 0 && (w == nil || w.HeldDown.Sub(up) != want) || want == 0 && w != nil {
				t.Errorf("%d: %+v", i, w)
			}
			settle(time.Until(up.Add(want)) + 20*time.Millisecond)
			a.mustBe(addr2, Established)
			settle(5 * time.Second)
			a.must(a.PathDown(keyB, PathFailureBFDDown))
			settle(3 * time.Second)
			if a.state(addr2) == Established {
				t.Fatal("Established without BFD")
			}
		}
		// An operator knows better.
		a.must(a.PathUp(keyB))
		settle(time.Second)
		if a.state(addr2) == Established {
			t.Fatal("not held down")
		}
		a.must(a.RemovePeer(keyB))
		a.peer(PeerConfig{Addr: addr2, BFDStrict: strictMode})
		a.must(a.PathUp(keyB))
		settle(10 * time.Second)
		a.mustBe(addr2, Established)
	})
}

// TestStrictConfig: negative times are refused.
func TestStrictConfig(t *testing.T) {
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []fsm.StrictConfig{{HoldTime: -1}, {HoldDown: -1}} {
		if err := s.AddPeer(PeerConfig{Addr: addr2, BFDStrict: c}); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}
