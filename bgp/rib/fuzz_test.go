package rib

import (
	"net/netip"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// FuzzUpdate feeds the table with whatever parses, interleaved with sessions that end, and looks
// at what it sends: it must parse, and nothing may be left in the end.
func FuzzUpdate(f *testing.F) {
	attrs := typicalAttrs(7)
	b := wire.Builder{AS4: true}
	b.Reach(nil, wire.IPv4Unicast, attrs.Append(nil), wire.NextHop{Addr: ip("192.0.2.1")})
	b.Add(wire.NLRI{Prefix: pfx("10.1.0.0/16")})
	first := b.Finish()[wire.HeaderLen:]
	b.Reach(nil, wire.IPv6Unicast, attrs.Append(nil), wire.NextHop{Addr: ip("2001:db8::1"), LinkLocal: ip("fe80::1")})
	b.Add(wire.NLRI{Prefix: pfx("2001:db8:1::/48")})
	second := b.Finish()[wire.HeaderLen:]
	b.Unreach(nil, wire.IPv4Unicast)
	b.Add(wire.NLRI{Prefix: pfx("10.1.0.0/16")})
	f.Add(first, second, uint8(0))
	f.Add(second, b.Finish()[wire.HeaderLen:], uint8(1))
	f.Add(first, first, uint8(2))
	f.Fuzz(func(t *testing.T, one, two []byte, how uint8) {
		tab, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
		if err != nil {
			t.Fatal(err)
		}
		w := tab.Watch(WatchConfig{AllPaths: true})
		var ins []*In
		var sinks []*sink
		for i := range 3 {
			a := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
			in, err := tab.NewIn(PeerConfig{Addr: a, RouterID: a, AS: 65000 + uint32(i&1), Client: true})
			if err != nil {
				t.Fatal(err)
			}
			c := OutConfig{AS4: true, Families: wire.Families(families[:]...), ExtendedMessages: i == 2, LongLived: i == 2,
				ExtendedNextHop: true, NextHop4: wire.NextHop{Addr: a}}
			if i == 2 {
				c.AddPath = c.Families
			}
			out, err := in.NewOut(c)
			if err != nil {
				t.Fatal(err)
			}
			ins, sinks = append(ins, in), append(sinks, newSink(t, out, c.AddPath, 65536))
		}
		opt := wire.Options{AS4: how&1 == 0, IBGP: how&2 == 0, ExtendedNextHop: true}
		if how&4 != 0 {
			opt.AddPath = wire.Families(families[:]...)
		}
		changes := make([]Change, 4)
		for i, body := range [][]byte{one, two, one} {
			var u wire.Update
			in := ins[i%2]
			switch e, _ := u.Parse(body, opt).(*wire.Error); {
			case e == nil || e.Disposition < wire.TreatAsWithdraw:
				if err := in.Update(&u); err != nil {
					t.Fatal(err)
				}
			case e.Disposition == wire.TreatAsWithdraw:
				in.TreatAsWithdraw(&u)
			}
			for _, s := range sinks {
				s.drain()
			}
			w.Next(changes)
			for _, fam := range families {
				if how&8 != 0 {
					in.MarkStale(fam)
				}
				if how&16 != 0 {
					in.MarkLongLived(fam)
				}
			}
		}
		for i, in := range ins {
			in.Close()
			sinks[i].drain()
		}
		for _, s := range sinks {
			s.drain()
			if len(s.routes) != 0 {
				t.Errorf("left at a peer: %v", s.routes)
			}
			s.out.Close()
		}
		w.Close()
		if s := tab.Stats(); s != (Stats{}) {
			t.Errorf("left over: %+v", s)
		}
	})
}
