package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/fsm"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// calls are all methods that concern a peer or range.
func calls(s *Speaker) map[string]func() error {
	r := RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24")}
	return map[string]func() error{
		"AddPeer":    func() error { return s.AddPeer(PeerConfig{Addr: addr3}) },
		"UpdatePeer": func() error { return s.UpdatePeer(PeerConfig{Addr: addr2}) },
		"RemovePeer": func() error { return s.RemovePeer(key2) },
		"AddRange":   func() error { return s.AddRange(r) },
		"UpdateRange": func() error {
			r := r
			r.Template.Description = "new"
			return s.UpdateRange(r)
		},
		"RemoveRange":  func() error { return s.RemoveRange(r.Prefix) },
		"PathDown":     func() error { return s.PathDown(key2, PathFailureBFDDown) },
		"PathUp":       func() error { return s.PathUp(key2) },
		"PeerReturned": func() error { return s.PeerReturned(key2) },
		"Refresh":      func() error { return s.Refresh(key2) },
		"Resend":       func() error { return s.Resend(key2) },
		"Reset":        func() error { return s.Reset(key2, "", false) },
	}
}

// TestAfterRun: whatever is called after the end returns, and says that it is too late.
func TestAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := pair(t, GracefulRestart{})
		a.kill()
		for name, call := range calls(a.Speaker) {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := a.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if n := a.LinkDown("eth0"); n != 0 {
			t.Errorf("LinkDown: %d", n)
		}
		a.Shutdown("")
		a.InventoryComplete()
		if st, err := a.Peer(key2); err != nil || st.Established != 1 || len(a.Peers()) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// TestConcurrentCalls calls everything from the start to the end, at once, for the race
// detector and for whatever waits for ever.
func TestConcurrentCalls(t *testing.T) {
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			n := &bgptest.Network{}
			b := run(t, n, addr2, Config{})
			b.peer(PeerConfig{Addr: addr1})
			s, err := New(Config{AS: 65000, RouterID: addr1, Listen: []netip.AddrPort{netip.AddrPortFrom(addr1, Port)}, Listener: n.Listen, Dialer: n.Dialer(addr1)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			all := calls(s)
			all["AddPeer 2"] = func() error { return s.AddPeer(PeerConfig{Addr: addr2}) }
			all["UpdatePeer 2"] = func() error {
				return s.UpdatePeer(PeerConfig{Addr: addr2, HoldTime: 9 * time.Second, Import: rib.AcceptAll})
			}
			all["RemovePeer 3"] = func() error { return s.RemovePeer(PeerKey{Addr: addr3}) }
			all["Peers"] = func() error { s.Peers(); return nil }
			all["LinkDown"] = func() error { s.LinkDown("eth0"); return nil }
			all["Watch"] = func() error {
				sub := s.Watch()
				defer sub.Close()
				_, err := sub.Next(ctx, make([]Event, 1))
				return err
			}
			for _, call := range all {
				wg.Go(func() {
					for ctx.Err() == nil {
						_ = call()
						time.Sleep(time.Millisecond)
					}
					_ = call()
				})
			}
			time.Sleep(5 * time.Millisecond)
			wg.Go(func() {
				if err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(100 * time.Millisecond)
			cancel()
			wg.Wait()
		})
	}
}

// staleTime is how long a peer's paths would stay stale after it came back.
func staleTime(p *peer) time.Duration {
	h, now := p.paths.help, time.Now()
	n := fsm.Negotiated{Families: wire.Families(wire.IPv4Unicast), GracefulRestart: true}
	n.Remote.GracefulRestart = &wire.GracefulRestart{Families: []wire.RestartFamily{{Family: wire.IPv4Unicast, ForwardingPreserved: true}}}
	h.Lost(now, &n, true)
	h.Up(now, &n)
	return h.Deadline().Sub(now)
}

// TestUpdateBeforeRun: what is configured before Run counts in it.
func TestUpdateBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		s, err := New(Config{AS: 65000, RouterID: addr1, Listen: []netip.AddrPort{netip.AddrPortFrom(addr1, Port)}, Listener: n.Listen, Dialer: n.Dialer(addr1)})
		if err != nil {
			t.Fatal(err)
		}
		stale := &GracefulRestart{Enabled: true, StaleTime: 7 * time.Second}
		if err := errors.Join(s.AddPeer(PeerConfig{Addr: addr2}), s.UpdatePeer(PeerConfig{Addr: addr2, Passive: true, GracefulRestart: stale})); err != nil {
			t.Fatal(err)
		}
		if p, _ := s.find(key2); staleTime(p) != 7*time.Second {
			t.Errorf("stale time %v", staleTime(p))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		settle(time.Minute)
		if st, _ := s.Peer(key2); len(n.Dials()) > 0 || st.State != Active {
			t.Errorf("a passive peer dialled %d times, and is %v", len(n.Dials()), st.State)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRunAgain: a Run that could not begin can be called again, and calls meanwhile return.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		fail := true
		s, err := New(Config{AS: 65000, RouterID: addr1, Listen: []netip.AddrPort{netip.AddrPortFrom(addr1, Port)}, Dialer: n.Dialer(addr1),
			Listener: func(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
				if fail {
					return brokenListener{}, nil
				}
				return n.Listen(ctx, addr)
			}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddPeer(PeerConfig{Addr: addr2, MD5Key: "key"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); !errors.Is(err, errBroken) {
			t.Fatalf("%v", err)
		}
		if err := s.PathUp(key2); !errors.Is(err, ErrStopped) {
			t.Errorf("PathUp: %v", err)
		}
		fail = false
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		settle(time.Second)
		if err := s.PathUp(key2); err != nil {
			t.Errorf("PathUp: %v", err)
		}
		if err := s.Run(t.Context()); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Run: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

var errBroken = errors.New("no socket options today")

// brokenListener is one of the kernel's that takes no socket options.
type brokenListener struct{ net.Listener }

func (brokenListener) Close() error { return nil }

func (brokenListener) SyscallConn() (syscall.RawConn, error) { return nil, errBroken }

// TestImportWithoutRefresh: a new import policy for a peer that cannot send its routes
// again begins another session.
func TestImportWithoutRefresh(t *testing.T) {
	for name, change := range map[string]func(*PeerConfig){
		"import policy": func(c *PeerConfig) { c.Import = rib.RejectAll },
		"own AS":        func(c *PeerConfig) { c.AllowOwnAS = 1 },
		"description":   func(c *PeerConfig) { c.Description = "new" },
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &bgptest.Network{}
			a := run(t, n, addr1, Config{})
			c := PeerConfig{Addr: addr2, Passive: true}
			a.peer(c)
			p := raw(t, n, addr2)
			p.establish(addr2) // without route refresh
			got := make(chan wire.Notification, 1)
			go func() { got <- p.notification() }()
			settle(time.Second)
			change(&c)
			if err := a.UpdatePeer(c); err != nil {
				t.Fatal(err)
			}
			settle(2 * time.Second)
			want := map[bool]int{true: 1, false: 0}[name != "description"]
			if len(got) != want || want == 1 && (<-got).Subcode != wire.SubConfigChanged {
				t.Errorf("%s: %d NOTIFICATIONs, want %d", name, len(got), want)
			}
			p.Close()
		})
	}
}

// TestAllowOwnAS lets a path through that has come through our AS.
func TestAllowOwnAS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, GracefulRestart{})
		path := rib.LocalPath{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Attrs: wire.PathAttrs{ASPath: []uint32{64512, 65000}}}
		if err := b.Table().Originate(path); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		a.has("192.0.2.0/24", 0)
		if err := a.UpdatePeer(PeerConfig{Addr: addr2, Families: bothFamilies, AllowOwnAS: 1}); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		a.has("192.0.2.0/24", 1)
		if st := mustPeer(t, a, addr2); st.Established != 1 {
			t.Errorf("%d sessions", st.Established)
		}
	})
}

// TestDisplaced: a peer that is configured takes the place of a dynamic one at the same
// address, whichever of our addresses it is configured with, and however often that one calls.
func TestDisplaced(t *testing.T) {
	for _, local := range []netip.Addr{{}, addr1} {
		synctest.Test(t, func(t *testing.T) {
			n := &bgptest.Network{}
			a := run(t, n, addr1, Config{})
			if err := a.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24")}); err != nil {
				t.Fatal(err)
			}
			b := run(t, n, addr2, Config{})
			b.peer(PeerConfig{Addr: addr1})
			settle(time.Second)
			a.mustBe(addr2, Established)
			ctx, cancel := context.WithCancel(t.Context())
			for range 3 { // it calls all the time
				go func() {
					for ctx.Err() == nil {
						if c, err := n.Dialer(everybody)(ctx, netip.AddrPortFrom(addr2, 50000), netip.AddrPortFrom(addr1, Port)); err == nil {
							go io.Copy(io.Discard, c)
							time.Sleep(50 * time.Microsecond)
							c.Close()
						}
					}
				}()
			}
			for range 10 {
				time.Sleep(time.Millisecond)
				c := PeerConfig{Addr: addr2, LocalAddr: local, Passive: true, Description: "configured"}
				if err := a.AddPeer(c); err != nil {
					t.Fatal(err)
				}
				if peers := a.Peers(); len(peers) != 1 || peers[0].Dynamic || peers[0].Description != "configured" {
					t.Fatalf("%+v", peers)
				}
				time.Sleep(time.Millisecond)
				if err := a.RemovePeer(c.Key()); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			a.peer(PeerConfig{Addr: addr2, LocalAddr: local, Passive: true})
			settle(time.Minute)
			if peers := a.Peers(); len(peers) != 1 || peers[0].Dynamic || peers[0].State != Established {
				t.Errorf("%+v", peers)
			}
		})
	}
}

// TestUpdateRange: a template with our address is as soft as any, and of several updates at
// once the last counts for all peers.
func TestUpdateRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		r := RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Template: PeerConfig{LocalAddr: addr1}}
		if err := a.AddRange(r); err != nil {
			t.Fatal(err)
		}
		b.peer(PeerConfig{Addr: addr1})
		settle(time.Second)
		a.mustBe(addr2, Established)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				r := r
				r.Template.Description = fmt.Sprint("the new ", i)
				if err := a.UpdateRange(r); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		st := mustPeer(t, a, addr2)
		if got := a.peers.ranges[0].template.Description; st.Established != 1 || st.State != Established || st.Description != got {
			t.Errorf("%d sessions, %q, the range has %q", st.Established, st.Description, got)
		}
		// Who calls another of our addresses is none of it.
		r.Template.LocalAddr = addr3
		if err := errors.Join(a.UpdateRange(r), a.RemovePeer(key2)); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if peers := a.Peers(); len(peers) != 0 {
			t.Errorf("%+v", peers)
		}
	})
}

// TestLinkLocalKey: our link-local address has its zone by itself.
func TestLinkLocalKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a := run(t, n, addr1, Config{Listen: nil})
		ours, peers := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
		var dialled netip.Addr
		a.env.cfg.Dialer = func(_ context.Context, local, _ netip.AddrPort) (net.Conn, error) {
			dialled = local.Addr()
			return nil, syscall.ECONNREFUSED
		}
		a.peer(PeerConfig{Addr: peers, LocalAddr: ours, Interface: "eth0"})
		settle(time.Second)
		if dialled != ours.WithZone("eth0") {
			t.Errorf("dials from %v", dialled)
		}
		for _, k := range []PeerKey{{peers.WithZone("eth0"), ours}, {peers.WithZone("eth0"), ours.WithZone("eth0")}} {
			if st, err := a.Peer(k); err != nil || st.Key.Local != ours {
				t.Errorf("%v: %+v, %v", k, st, err)
			}
		}
		a.Speaker.mu.Lock()
		p := a.owner(peers.WithZone("eth0"), ours.WithZone("eth0"))
		other := a.owner(peers.WithZone("eth1"), ours.WithZone("eth1"))
		a.Speaker.mu.Unlock()
		if p == nil || other != nil {
			t.Errorf("a connection on the link: %v, on another: %v", p, other)
		}
		if err := a.AddPeer(PeerConfig{Addr: netip.MustParseAddr("2001:db8::2"), LocalAddr: ours}); err == nil {
			t.Error("a link-local address without a link")
		}
	})
}

// TestKeyConflict: the kernel has one key an address and listener.
func TestKeyConflict(t *testing.T) {
	local := [2]netip.Addr{addr1, addr3}
	for name, c := range map[string]struct {
		listen []netip.Addr
		keys   [2]string
		ok     bool
	}{
		"one key":           {[]netip.Addr{netip.IPv4Unspecified()}, [2]string{"a", "a"}, true},
		"two keys":          {[]netip.Addr{netip.IPv4Unspecified()}, [2]string{"a", "b"}, false},
		"one without a key": {[]netip.Addr{netip.IPv4Unspecified()}, [2]string{"a", ""}, false},
		"a listener each":   {local[:], [2]string{"a", "b"}, true},
		"we only dial":      {nil, [2]string{"a", "b"}, true},
	} {
		cfg := Config{AS: 65000, RouterID: addr1}
		for _, a := range c.listen {
			cfg.Listen = append(cfg.Listen, netip.AddrPortFrom(a, Port))
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		first, second := PeerConfig{Addr: addr2, LocalAddr: local[0], MD5Key: c.keys[0]}, PeerConfig{Addr: addr2, LocalAddr: local[1], MD5Key: c.keys[0]}
		if err := s.AddPeer(first); err != nil {
			t.Fatal(err)
		}
		second.MD5Key = c.keys[1]
		if err := s.AddPeer(second); (err == nil) != c.ok {
			t.Errorf("%s: AddPeer: %v", name, err)
		}
		if c.ok {
			second.MD5Key = c.keys[0]
			if err := s.UpdatePeer(second); len(c.listen) != 1 && err != nil {
				t.Errorf("%s: UpdatePeer: %v", name, err)
			}
			second.MD5Key = "c"
			if err := s.UpdatePeer(second); (err == nil) != (len(c.listen) != 1) {
				t.Errorf("%s: UpdatePeer to a third key: %v", name, err)
			}
		}
	}
	a := netip.MustParseAddr
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	// The same two addresses on two links, as of VLANs of one interface: a listener each.
	for link, key := range map[string]string{"eth0": "a", "eth1": "b"} {
		if err := s.AddPeer(PeerConfig{Addr: a("fe80::2%" + link), LocalAddr: a("fe80::1%" + link), Listen: true, MD5Key: key}); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		peer, local, listener string
		want                  bool
	}{
		{"10.0.0.2", "10.0.0.1", "0.0.0.0", true},
		{"10.0.0.2", "10.0.0.1", "10.0.0.1", true},
		{"10.0.0.2", "10.0.0.3", "10.0.0.1", false},
		{"10.0.0.2", "10.0.0.1", "::", false},
		{"fe80::2", "fe80::1%eth0", "fe80::1%eth0", true},
		{"fe80::2", "fe80::1%eth0", "fe80::1%eth1", false},
		{"fe80::2", "fe80::1", "fe80::1%eth1", true},
	} {
		if got := reaches(a(c.peer), a(c.local), a(c.listener)); got != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// TestKeysInstalled: what the kernel has refused is tried again, and who needs it is not let in
// meanwhile.
func TestKeysInstalled(t *testing.T) {
	l, err := listen(t.Context(), &Config{MaxPending: 1}, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.nl.Close()
	// The kernel takes no IPv6 address on an IPv4 socket.
	good, bad := md5Key{hostPrefix(addr2), "key"}, md5Key{netip.MustParsePrefix("2001:db8::/64"), "key"}
	if err := l.apply(demand{keys: []md5Key{good}}); err != nil {
		t.Skipf("no TCP MD5: %v", err)
	}
	s, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil {
		t.Fatal(err)
	}
	host := newPeer(&s.env, s, PeerConfig{Addr: addr2, MD5Key: "key"}, nil).md5Key()
	client := newPeer(&s.env, s, PeerConfig{Addr: netip.MustParseAddr("2001:db8::2"), MD5Key: "key"}, &dynamicRange{prefix: bad.prefix}).md5Key()
	open := newPeer(&s.env, s, PeerConfig{Addr: addr3}, nil).md5Key()
	for range 2 {
		if failed := l.apply(demand{keys: []md5Key{good, bad}}); len(failed) != 1 || failed[0].Peers != bad.prefix || failed[0].Addr != l.addr || failed[0].Err == nil {
			t.Error("a key that the kernel refuses counts as installed")
		}
		if !l.guards(host) || l.guards(client) || !l.guards(open) {
			t.Errorf("guards %v, %v, %v", l.guards(host), l.guards(client), l.guards(open))
		}
	}
	changed := md5Key{good.prefix, "another"}
	if err := l.apply(demand{keys: []md5Key{changed}, minTTL: 255}); err != nil || len(l.keys) != 1 || l.keys[0] != changed || l.guards(host) {
		t.Errorf("%v, %v", l.keys, err)
	}
	if err := l.apply(demand{}); err != nil || len(l.keys) != 0 || l.minTTL != 0 {
		t.Errorf("%v, %v", l.keys, err)
	}
}
