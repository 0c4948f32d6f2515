package bgp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
)

// TestPeerListen: a speaker listens for a peer as long as it has it, lets in nobody else, and tries
// again where it cannot listen.
func TestPeerListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		refuse := errors.New("no such address")
		var refusing atomic.Bool
		refusing.Store(true)
		s, err := New(Config{AS: 65000, RouterID: addr1, Dialer: n.Dialer(addr1), Listener: func(ctx context.Context, a netip.AddrPort) (net.Listener, error) {
			if refusing.Load() {
				return nil, refuse
			}
			return n.Listen(ctx, a)
		}})
		if err != nil {
			t.Fatal(err)
		}
		w := s.Watch()
		defer w.Close()
		listen := func() (list []error) {
			buf := make([]Event, 64)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for {
				k, err := w.Next(ctx, buf)
				for _, e := range buf[:k] {
					if e.Kind == EventListen {
						list = append(list, e.Err)
					}
				}
				if k == 0 || err != nil {
					return list
				}
			}
		}
		c := PeerConfig{Addr: addr2, LocalAddr: addr1, Passive: true, Listen: true}
		if err := s.AddPeer(c); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		settle(time.Millisecond)
		if got := listen(); len(got) != 1 || !errors.Is(got[0], refuse) {
			t.Errorf("events %v, want one that says %v", got, refuse)
		}
		dial := func(from netip.Addr) error {
			nc, err := n.Dialer(from)(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(addr1, Port))
			if err != nil {
				return err
			}
			defer nc.Close()
			_ = nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := nc.Read(make([]byte, 1)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		}
		if dial(addr2) == nil {
			t.Error("a listener is open")
		}
		failure := func() *ListenError {
			t.Helper()
			one, err := s.Peer(c.Key())
			if all := s.Peers(); err != nil || len(all) != 1 || all[0].ListenError != one.ListenError {
				t.Errorf("Peer: %v, %v; Peers: %v", one.ListenError, err, all)
			}
			return one.ListenError
		}
		since := time.Now().Add(-time.Millisecond)
		settle(5 * time.Second) // it is tried again after 1 s and 3 s
		if e := failure(); e == nil || e.Addr != netip.AddrPortFrom(addr1, Port) || !errors.Is(e, refuse) || !since.Add(50*time.Millisecond).After(e.Since) {
			t.Errorf("the peer's status says %+v, want that it cannot be listened since %v", e, since)
		}
		refusing.Store(false)
		settle(5 * time.Second) // and after 7 s
		if e := failure(); e != nil {
			t.Errorf("the peer's status says %v, and it is listened for it", e)
		}
		if got := listen(); len(got) != 1 || got[0] != nil {
			t.Errorf("events %v, want one without an error", got)
		}
		if err := dial(addr2); err != nil {
			t.Errorf("the peer is not let in: %v", err)
		}
		if got := s.ListenAddrs(); len(got) != 1 || got[0] != netip.AddrPortFrom(addr1, Port) {
			t.Errorf("it listens at %v", got)
		}
		if dial(netip.MustParseAddr("192.0.2.99")) == nil {
			t.Error("a stranger is let in")
		}
		c.Listen = false
		if err := s.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		if dial(addr2) == nil {
			t.Error("a listener is open for a peer that does not want it")
		}
		c.Listen = true
		if err := s.UpdatePeer(c); err != nil {
			t.Fatal(err)
		}
		if err := dial(addr2); err != nil {
			t.Errorf("the peer is not let in again: %v", err)
		}
		if err := s.RemovePeer(c.Key()); err != nil {
			t.Fatal(err)
		}
		settle(time.Millisecond)
		if dial(addr2) == nil || len(s.ListenAddrs()) > 0 {
			t.Error("a listener is open for a peer that is gone")
		}
		for _, bad := range []PeerConfig{{Addr: addr2, Listen: true}, {Addr: addr2, LocalAddr: netip.IPv4Unspecified(), Listen: true}} {
			if s.AddPeer(bad) == nil {
				t.Errorf("%+v is taken", bad)
			}
		}
		if s.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Template: PeerConfig{LocalAddr: addr1, Listen: true}}) == nil {
			t.Error("a range is taken that listens")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestListenErrorPeers: a key that cannot be set keeps out whom it is for, an address that cannot be listened at everybody,
// and TTL security that cannot be set nobody.
func TestListenErrorPeers(t *testing.T) {
	at := netip.AddrPortFrom(addr1, Port)
	s, err := New(Config{AS: 65000, RouterID: addr1, Listen: []netip.AddrPort{at}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []PeerConfig{{Addr: addr2, MD5Key: "key"}, {Addr: addr3}} {
		if err := s.AddPeer(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		e    *ListenError
		want [2]bool
	}{
		{&ListenError{Addr: at, Err: errors.ErrUnsupported}, [2]bool{true, true}},
		{&ListenError{Addr: at, Peers: hostPrefix(addr2), Err: errors.ErrUnsupported}, [2]bool{true, false}},
		{&ListenError{Addr: at, Err: errors.ErrUnsupported, open: true}, [2]bool{}},
	} {
		s.listeners.failed = []*ListenError{test.e}
		for i, addr := range []netip.Addr{addr2, addr3} {
			p, err := s.Peer(PeerKey{Addr: addr})
			if got := p.ListenError != nil; err != nil || got != test.want[i] {
				t.Errorf("%+v: kept out is %v: %v, %v", *test.e, addr, got, err)
			}
		}
	}
}
