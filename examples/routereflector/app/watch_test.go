package app

import (
	"context"
	"log/slog"
	"net/netip"
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

// watched returns a reflector with one client that has announced a prefix, and the fake BFD
// session that the reflector has added for it.
func watched(t *testing.T) (*bgp.Speaker, *bfdtest.Service, bfd.Key) {
	t.Helper()
	network, service := &bgptest.Network{}, &bfdtest.Service{}
	hub, addr := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	gr := bgp.GracefulRestart{Enabled: true}
	speaker := func(a netip.Addr) *bgp.Speaker {
		s, err := bgp.New(bgp.Config{AS: 65000, RouterID: a, Listen: []netip.AddrPort{netip.AddrPortFrom(a, bgp.Port)},
			Listener: network.Listen, Dialer: network.Dialer(a), GracefulRestart: gr})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	reflector, client := speaker(hub), speaker(addr)
	o, clients := options{}, netip.MustParsePrefix("192.0.2.0/24")
	w, err := newWatch(o, reflector, slog.New(slog.DiscardHandler))
	if err == nil {
		err = reflector.AddRange(bgp.RangeConfig{Prefix: clients, Template: template(o, clients)})
	}
	if err == nil {
		err = client.AddPeer(bgp.PeerConfig{Addr: hub, HoldTime: time.Hour})
	}
	if err == nil {
		err = client.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("203.0.113.2/32")})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.bfd = service
	ctx, cancel := context.WithCancel(t.Context())
	kill := []func() error{bgptest.Run(reflector), bgptest.Run(client), bgptest.Run(service)}
	events := reflector.Watch()
	go func() { _ = w.follow(ctx, events) }()
	go func() { _ = w.followBFD(ctx) }()
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
	return reflector, service, all[0].Key
}
