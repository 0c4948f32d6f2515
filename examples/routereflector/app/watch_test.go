package app

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bfd/bfdtest"
	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
)

// TestWatch: what becomes of a client's session and of its only path when BFD says
// something about it, in virtual time.
func TestWatch(t *testing.T) {
	for name, tc := range map[string]struct {
		say         func(s *bfdtest.Service, k bfd.Key) error
		ends, stays bool // the session; the path
	}{
		"the path has failed": {func(s *bfdtest.Service, k bfd.Key) error {
			_ = s.Change(k, func(st *bfd.Status) { st.RemoteC = true })
			return s.Down(k, bfd.ReasonExpired)
		}, true, false},
		"it may be the control plane": {func(s *bfdtest.Service, k bfd.Key) error { return s.Down(k, bfd.ReasonExpired) }, true, true},
		"on purpose":                  {func(s *bfdtest.Service, k bfd.Key) error { return s.Down(k, bfd.ReasonRemoteAdminDown) }, false, true},
		"nothing new":                 {func(s *bfdtest.Service, k bfd.Key) error { return s.Up(k) }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				speaker, service, key := watched(t)
				prefix := netip.MustParsePrefix("203.0.113.2/32")
				if n := len(speaker.Table().Lookup(prefix)); n != 1 {
					t.Fatalf("%d paths at first", n)
				}
				if err := service.Up(key); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if err := tc.say(service, key); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				st, err := speaker.Peer(bgp.PeerKey{Addr: key.Peer})
				if ended := err != nil || st.State != bgp.Established; ended != tc.ends {
					t.Errorf("the session has ended: %v, want %v", ended, tc.ends)
				}
				if stays := len(speaker.Table().Lookup(prefix)) == 1; stays != tc.stays {
					t.Errorf("the path stays: %v, want %v", stays, tc.stays)
				}
			})
		})
	}
}

// TestWatchRestarted: what the command does about a BFD session that the client has restarted, in
// virtual time: its loop looks at the clock by itself.
func TestWatchRestarted(t *testing.T) {
	for name, back := range map[string]bool{"up in time": true, "not up in time": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				speaker, service, key := watched(t)
				at := func(want bool) {
					t.Helper()
					synctest.Wait()
					st, err := speaker.Peer(bgp.PeerKey{Addr: key.Peer})
					if got := err == nil && st.State == bgp.Established; got != want {
						t.Errorf("Established: %v, want %v", got, want)
					}
				}
				for _, f := range []func(bfd.Key) error{service.Up, func(k bfd.Key) error { return service.Down(k, bfd.ReasonNeighborDown) }} {
					if err := f(key); err != nil {
						t.Fatal(err)
					}
					at(true)
				}
				time.Sleep(3*time.Second - 1)
				at(true)
				if back {
					if err := service.Up(key); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Nanosecond)
				at(back)
			})
		})
	}
}

// TestRestartKeepsPaths: the stale path of a client that restarts, with its BFD session, stays beside
// another client's path to the same prefix. It goes when the BFD session does not come up.
func TestRestartKeepsPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, service := &bgptest.Network{}, &bfdtest.Service{}
		core := newTestCore(t, network, CoreConfig{BFD: service})
		restarts, stays := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
		kill := bgptest.Run(newClient(t, network, restarts))
		others := []func() error{bgptest.Run(core.Speaker()), bgptest.Run(newClient(t, network, stays)), bgptest.Run(service)}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = core.follow(ctx) }()
		go func() { _ = core.followBFD(ctx, service) }()
		time.Sleep(time.Second)
		paths := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if n := len(core.Speaker().Table().Lookup(netip.MustParsePrefix("203.0.113.2/32"))); n != want {
				t.Errorf("%s: %d paths, want %d", when, n, want)
			}
		}
		key := bfd.Key{Peer: restarts, Local: hub}.Normal()
		if err := service.Up(key); err != nil {
			t.Fatal(err)
		}
		paths("at first", 2)
		if err := kill(); err != nil {
			t.Fatal(err)
		}
		paths("after the client has gone", 2)
		if err := service.Down(key, bfd.ReasonNeighborDown); err != nil {
			t.Fatal(err)
		}
		paths("after its BFD session has restarted", 2)
		time.Sleep(3 * time.Second)
		paths("after that has not come up", 1)
		cancel()
		for _, k := range others {
			if err := k(); err != nil {
				t.Error(err)
			}
		}
	})
}

// watched returns a reflector with one client that has announced a prefix, and the fake BFD
// session that the reflector has added for it.
func watched(t *testing.T) (*bgp.Speaker, *bfdtest.Service, bfd.Key) {
	t.Helper()
	network, service := &bgptest.Network{}, &bfdtest.Service{}
	addr := netip.MustParseAddr("192.0.2.2")
	core := newTestCore(t, network, CoreConfig{BFD: service})
	ctx, cancel := context.WithCancel(t.Context())
	kill := []func() error{bgptest.Run(core.Speaker()), bgptest.Run(newClient(t, network, addr)), bgptest.Run(service)}
	go func() { _ = core.follow(ctx) }()
	go func() { _ = core.followBFD(ctx, service) }()
	t.Cleanup(func() {
		cancel()
		for _, k := range kill {
			if err := k(); err != nil {
				t.Error(err)
			}
		}
	})
	time.Sleep(time.Second)
	synctest.Wait()
	all, err := service.Sessions()
	if err != nil || len(all) != 1 || all[0].Peer != addr || all[0].Local != hub {
		t.Fatalf("BFD sessions: %v, %v", all, err)
	}
	return core.Speaker(), service, all[0].Key
}

// hub is the address of the reflectors of tests.
var hub = netip.MustParseAddr("192.0.2.1")

// newTestCore returns a reflector on a network in memory, with BFD and with args on its
// command line.
func newTestCore(t *testing.T, network *bgptest.Network, c CoreConfig, args ...string) *Core {
	t.Helper()
	c.Args = append(strings.Fields("-as 65000 -router-id 192.0.2.1 -listen 192.0.2.1:179 -clients 192.0.2.0/24 -bfd 100ms,3 -cold"), args...)
	c.BGP = func(b *bgp.Config) { b.Listener, b.Dialer = network.Listen, network.Dialer(hub) }
	core, err := NewCore(c)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// newClient returns a client at addr that announces a prefix.
func newClient(t *testing.T, network *bgptest.Network, addr netip.Addr) *bgp.Speaker {
	t.Helper()
	s, err := bgp.New(bgp.Config{AS: 65000, RouterID: addr, Dialer: network.Dialer(addr), GracefulRestart: bgp.GracefulRestart{Enabled: true}})
	if err == nil {
		err = s.AddPeer(bgp.PeerConfig{Addr: hub, HoldTime: time.Hour})
	}
	if err == nil {
		err = s.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.2/32")})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}
