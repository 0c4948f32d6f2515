package wire

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

// typical are iBGP attributes as a reflector sees them.
func typical() Attrs {
	lp := uint32(100)
	p := PathAttrs{ASPath: []uint32{64512, 4200000001}, LocalPref: &lp,
		Communities:  []Community{NewCommunity(65000, 90), NewCommunity(65000, 20)},
		OriginatorID: netip.MustParseAddr("10.0.0.1"), ClusterList: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
		LargeCommunities: []LargeCommunity{{65000, 1, 2}}}
	return p.Append(nil)
}

var (
	hop4 = NextHop{Addr: netip.MustParseAddr("192.0.2.1")}
	hop6 = NextHop{Addr: netip.MustParseAddr("2001:db8::1"), LinkLocal: netip.MustParseAddr("fe80::1")}
	ibgp = Options{AS4: true, IBGP: true}
)

func prefixes4(n int) []NLRI {
	out := make([]NLRI, n)
	for i := range out {
		out[i] = NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24), PathID: uint32(i)}
	}
	return out
}

func prefixes6(n int) []NLRI {
	out := make([]NLRI, n)
	for i := range out {
		out[i] = NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 48+i%81).Masked(), PathID: uint32(i)}
	}
	return out
}

func plain(in []NLRI) []NLRI {
	out := slices.Clone(in)
	for i := range out {
		out[i].PathID = 0
	}
	return out
}

// build packs nn into as many messages as it takes.
func build(tb testing.TB, b *Builder, f Family, attrs Attrs, nh NextHop, nn []NLRI) (messages [][]byte) {
	tb.Helper()
	for len(nn) > 0 {
		if nh.Addr.IsValid() {
			b.Reach(nil, f, attrs, nh)
		} else {
			b.Unreach(nil, f)
		}
		i := 0
		for i < len(nn) && b.Add(nn[i]) {
			i++
		}
		if i == 0 {
			tb.Fatal("message is full at once")
		}
		nn = nn[i:]
		messages = append(messages, b.Finish())
	}
	return messages
}

func TestUpdateRoundTrip(t *testing.T) {
	for _, tc := range []struct {
		name    string
		f       Family
		nh      NextHop
		nn      []NLRI
		addPath bool
		ext     bool
		max     int
	}{
		{"v4", IPv4Unicast, hop4, prefixes4(3000), false, false, 0},
		{"v4 add-path", IPv4Unicast, hop4, prefixes4(3000), true, false, 0},
		{"v4 over v6", IPv4Unicast, hop6, prefixes4(3000), false, true, 0},
		{"v6", IPv6Unicast, hop6, prefixes6(3000), false, false, 0},
		{"v6 add-path extended", IPv6Unicast, hop6, prefixes6(20000), true, false, MaxExtendedLen},
		{"v4 withdraw", IPv4Unicast, NextHop{}, prefixes4(3000), false, false, 0},
		{"v6 withdraw", IPv6Unicast, NextHop{}, prefixes6(3000), true, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := Builder{AS4: true, Max: tc.max}
			o := ibgp
			o.ExtendedNextHop = tc.ext
			want := plain(tc.nn)
			if tc.addPath {
				b.AddPath, o.AddPath, want = Families(tc.f), Families(tc.f), tc.nn
			}
			max := tc.max
			if max == 0 {
				max = MaxLen
			}
			var got []NLRI
			for i, m := range build(t, &b, tc.f, typical(), tc.nh, tc.nn) {
				h, err := ParseHeader(m, max)
				if err != nil || h.Len != len(m) || h.Type != TypeUpdate {
					t.Fatal(h, err)
				}
				if i == 0 && len(m) < max-40 {
					t.Errorf("first message has only %d octets", len(m))
				}
				u, err := ParseUpdate(m[HeaderLen:], o)
				if err != nil {
					t.Fatal(err)
				}
				list, nh := u.Unreach(tc.f), NextHop{}
				if tc.nh.Addr.IsValid() {
					if list, nh = u.Reach(tc.f), u.NextHop; u.NLRI.Empty() {
						nh = u.MPNextHop
					}
					if a := u.AppendAttrs(nil); !bytes.Equal(a, typical()) {
						t.Errorf("attributes % x", a)
					}
				}
				if nh != tc.nh {
					t.Errorf("next hop %v", nh)
				}
				for n, err := range list {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, n)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d NLRI became %d", len(want), len(got))
			}
		})
	}
}

func TestEndOfRIB(t *testing.T) {
	for _, f := range []Family{IPv4Unicast, IPv6Unicast} {
		m := AppendEndOfRIB(nil, f)
		u, err := ParseUpdate(m[HeaderLen:], ibgp)
		if got, ok := u.EndOfRIB(); err != nil || !ok || got != f {
			t.Error(f, got, ok, err)
		}
	}
}

// sink keeps results alive.
var sink int

func one(tb testing.TB) []byte {
	return build(tb, &Builder{AS4: true}, IPv4Unicast, typical(), hop4, prefixes4(1))[0][HeaderLen:]
}

func packed(tb testing.TB) ([]byte, int) {
	m := build(tb, &Builder{AS4: true}, IPv4Unicast, typical(), hop4, prefixes4(3000))[0][HeaderLen:]
	u, _ := ParseUpdate(m, ibgp)
	n := 0
	for range u.Reach(IPv4Unicast) {
		n++
	}
	return m, n
}

func BenchmarkParseOne(b *testing.B) {
	m := one(b)
	var u Update
	var scratch [1024]byte
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Parse(m, ibgp); err != nil {
			b.Fatal(err)
		}
		sink += len(u.AppendAttrs(scratch[:0]))
		for n := range u.NLRI.All() {
			sink += n.Prefix.Bits()
		}
	}
}

func BenchmarkParsePacked(b *testing.B) {
	m, count := packed(b)
	var u Update
	b.ReportAllocs()
	for b.Loop() {
		if err := u.Parse(m, ibgp); err != nil {
			b.Fatal(err)
		}
		for n := range u.NLRI.All() {
			sink += n.Prefix.Bits()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/nlri")
}

func BenchmarkEncodeOne(b *testing.B) {
	attrs, n := typical(), prefixes4(1)[0]
	buf := make([]byte, MaxLen)
	bl := Builder{AS4: true}
	b.ReportAllocs()
	for b.Loop() {
		bl.Reach(buf[:0], IPv4Unicast, attrs, hop4)
		bl.Add(n)
		sink += len(bl.Finish())
	}
}

func BenchmarkEncodePacked(b *testing.B) {
	attrs, nn := typical(), prefixes4(990)
	buf := make([]byte, MaxLen)
	bl := Builder{AS4: true}
	b.ReportAllocs()
	for b.Loop() {
		bl.Reach(buf[:0], IPv4Unicast, attrs, hop4)
		for _, n := range nn {
			if !bl.Add(n) {
				b.Fatal("full")
			}
		}
		sink += len(bl.Finish())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(nn)), "ns/nlri")
}
