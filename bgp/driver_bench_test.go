package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// drivenHub is a driven speaker with n sessions.
func drivenHub(tb testing.TB, n int) (*sink, *Speaker, []*sinkConn) {
	tb.Helper()
	k := &sink{now: scenario.Epoch}
	s, err := New(Config{AS: 65000, RouterID: addr1, Transport: k, Random: func() float64 { return 0 }, MaxPending: n})
	if err != nil {
		tb.Fatal(err)
	}
	d := s.Driver()
	if err := d.Start(); err != nil {
		tb.Fatal(err)
	}
	if err := s.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/8"), MaxPeers: n, Template: PeerConfig{RouteReflectorClient: true}}); err != nil {
		tb.Fatal(err)
	}
	conns := make([]*sinkConn, n)
	for i := range conns {
		remote := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		c := k.conn(remote)
		if conns[i] = c; !d.Accept(c) {
			tb.Fatal("not taken")
		}
		d.Input(c, openOf(remote, wire.IPv4Unicast))
		d.Input(c, wire.AppendKeepalive(nil))
		for len(k.sent) > 0 {
			k.written(d)
		}
	}
	for _, p := range s.Peers() {
		if p.State != Established {
			tb.Fatalf("%v: %v: %v", p.Key, p.State, p.LastError)
		}
	}
	return k, s, conns
}

// openOf is the OPEN of a peer.
func openOf(id netip.Addr, f wire.Family) []byte {
	c := openConfig(&Config{AS: 65000, RouterID: id}, &PeerConfig{HoldTime: 90 * time.Second, Families: []wire.Family{f}})
	o := c.Open()
	return o.Append(nil)
}

// TestDriverAllocates: a KEEPALIVE costs no allocation.
func TestDriverAllocates(t *testing.T) {
	k, s, conns := drivenHub(t, 100)
	keepalive := wire.AppendKeepalive(nil)
	i := 0
	if got := testing.AllocsPerRun(100, func() {
		k.now = k.now.Add(time.Millisecond)
		s.Driver().Input(conns[i%len(conns)], keepalive)
		i++
	}); got != 0 {
		t.Errorf("%v allocations a KEEPALIVE", got)
	}
}

// BenchmarkDriverKeepalive is what a KEEPALIVE costs the speaker that receives it, and the one
// that sends it, Deadline and the report that it was written included.
func BenchmarkDriverKeepalive(b *testing.B) {
	for _, n := range []int{4, 4000} {
		b.Run(fmt.Sprint("peers=", n), func(b *testing.B) {
			k, s, conns := drivenHub(b, n)
			d := s.Driver()
			for _, c := range conns {
				c.quiet = true
			}
			keepalive := wire.AppendKeepalive(nil)
			b.Run("receive", func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					k.now = k.now.Add(time.Microsecond)
					d.Input(conns[i%n], keepalive)
					_ = d.Deadline()
					k.now = k.now.Add(-time.Microsecond)
				}
			})
			b.Run("send", func(b *testing.B) {
				b.ReportAllocs()
				for sent := 0; sent < b.N; {
					at := d.Deadline()
					if at.Sub(k.now) > time.Second { // the peers send, too
						b.StopTimer()
						for _, c := range conns {
							d.Input(c, keepalive)
						}
						b.StartTimer()
					}
					k.now = at
					d.Advance(at)
					sent += len(k.sent)
					k.written(d)
				}
			})
		})
	}
}
