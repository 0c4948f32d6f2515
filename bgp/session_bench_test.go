package bgp

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// BenchmarkSession is two speakers in goroutines: one sends 20,000 routes again, one route an
// attribute set, until the other has them; and then a single route that goes there and is gone.
func BenchmarkSession(b *testing.B) {
	n := &bgptest.Network{}
	speakers := [2]*Speaker{}
	for i, addr := range []netip.Addr{addr1, addr2} {
		s, err := New(Config{AS: 65000, RouterID: addr, Listener: n.Listen, Dialer: n.Dialer(addr), Listen: []netip.AddrPort{netip.AddrPortFrom(addr, Port)}})
		if err != nil {
			b.Fatal(err)
		}
		defer bgptest.Run(s)()
		speakers[i] = s
	}
	const routes = 20_000
	for i := range uint32(routes) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 100<<24|i)
		p := rib.LocalPath{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 32)}
		p.Attrs.Communities = append(p.Attrs.Communities, wire.Community(i))
		if err := speakers[0].Originate(p); err != nil {
			b.Fatal(err)
		}
	}
	for i, peer := range []netip.Addr{addr2, addr1} {
		for speakers[i].AddPeer(PeerConfig{Addr: peer}) != nil { // until it runs
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	watcher := speakers[1].WatchRoutes(rib.WatchConfig{})
	changes := make([]rib.Change, 64)
	// upTo reads changes until the last prefix has as many paths as asked for.
	upTo := func(prefix netip.Prefix, paths int) {
		for {
			k, err := watcher.Next(ctx, changes)
			if err != nil {
				b.Fatal(err)
			}
			for _, c := range changes[:k] {
				if c.Prefix == prefix && len(c.Paths) == paths {
					return
				}
			}
		}
	}
	mark := netip.MustParsePrefix("200.0.0.0/24")
	b.Run("resend", func(b *testing.B) {
		for range b.N {
			if err := speakers[0].Resend(PeerKey{Addr: addr2}); err != nil {
				b.Fatal(err)
			}
			before := updatesOf(b, speakers[1])
			for updatesOf(b, speakers[1]) < before+routes {
				time.Sleep(50 * time.Microsecond)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/routes, "ns/route")
	})
	b.Run("flap", func(b *testing.B) {
		for range b.N {
			_ = speakers[0].Originate(rib.LocalPath{Prefix: mark})
			upTo(mark, 1)
			_ = speakers[0].Withdraw(mark, 0)
			upTo(mark, 0)
		}
	})
}

// updatesOf is how many UPDATEs a speaker has had from its peer.
func updatesOf(b *testing.B, s *Speaker) int {
	st, err := s.Peer(PeerKey{Addr: addr1})
	if err != nil {
		b.Fatal(err)
	}
	return int(st.Received.Update)
}
