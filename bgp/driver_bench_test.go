package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// sink is a Transport, and all its connections, that nothing comes of.
type sink struct {
	now   time.Time
	dials []*Attempt
	sent  []*sinkConn // since the last look
}

type sinkConn struct {
	k             *sink
	local, remote netip.AddrPort
}

func (k *sink) Now() time.Time    { return k.now }
func (k *sink) Dial(a *Attempt)   { k.dials = append(k.dials, a) }
func (k *sink) Cancel(a *Attempt) {}

func (c *sinkConn) LocalAddr() netip.AddrPort  { return c.local }
func (c *sinkConn) RemoteAddr() netip.AddrPort { return c.remote }
func (c *sinkConn) Send([]byte)                { c.k.sent = append(c.k.sent, c) }
func (c *sinkConn) Close(final []byte, patience time.Duration) {
}

// written reports everything as written.
func (k *sink) written(d *Driver) {
	for len(k.sent) > 0 {
		sent := k.sent
		k.sent = nil
		for _, c := range sent {
			d.Sent(c, nil)
		}
	}
}

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
		c := &sinkConn{k, netip.AddrPortFrom(addr1, Port), netip.AddrPortFrom(remote, 40000)}
		if conns[i] = c; !d.Accept(c) {
			tb.Fatal("not taken")
		}
		d.Input(c, openOf(remote))
		d.Input(c, wire.AppendKeepalive(nil))
		k.written(d)
	}
	for _, p := range s.Peers() {
		if p.State != Established {
			tb.Fatalf("%v: %v: %v", p.Key, p.State, p.LastError)
		}
	}
	return k, s, conns
}

// openOf is the OPEN of a peer.
func openOf(id netip.Addr) []byte {
	c := openConfig(&Config{AS: 65000, RouterID: id}, &PeerConfig{HoldTime: 90 * time.Second, Families: []wire.Family{wire.IPv4Unicast}})
	o := c.Open()
	return o.Append(nil)
}

// BenchmarkDriverKeepalive is what a KEEPALIVE costs the speaker that receives it, and the one
// that sends it, Deadline and the report that it was written included.
func BenchmarkDriverKeepalive(b *testing.B) {
	for _, n := range []int{4, 4000} {
		b.Run(fmt.Sprint("peers=", n), func(b *testing.B) {
			k, s, conns := drivenHub(b, n)
			d := s.Driver()
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
