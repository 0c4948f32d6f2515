package rib

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// typicalAttrs are those of targets.md: what an iBGP session usually carries.
func typicalAttrs(n int) wire.PathAttrs {
	return wire.PathAttrs{
		ASPath: []uint32{65010, uint32(64000 + n%500)}, LocalPref: ptr(100),
		Communities:      []wire.Community{wire.NewCommunity(65000, 1), wire.NewCommunity(uint16(n>>16), uint16(n))},
		OriginatorID:     ip("9.9.9.9"),
		ClusterList:      []netip.Addr{ip("8.8.8.8")},
		LargeCommunities: []wire.LargeCommunity{{Global: 65000, Local1: 1, Local2: 2}},
	}
}

func prefix4(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(i)<<8)
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

// bodies encodes n routes, per of them in each UPDATE, with sets distinct attribute sets.
func bodies(n, per, sets int) (list [][]byte) {
	b := wire.Builder{AS4: true}
	all := make([]wire.Attrs, sets)
	for i := range all {
		a := typicalAttrs(i)
		all[i] = a.Append(nil)
	}
	nh := wire.NextHop{Addr: ip("192.0.2.1")}
	for i, k := 0, 0; i < n; k++ {
		b.Reach(nil, wire.IPv4Unicast, all[k%sets], nh)
		for j := 0; j < per && i < n && b.Add(wire.NLRI{Prefix: prefix4(i)}); j++ {
			i++
		}
		list = append(list, b.Finish()[wire.HeaderLen:])
	}
	return list
}

func benchTable(tb testing.TB, peers int) (*Table, []*In) {
	t, err := New(Config{AS: 65000, RouterID: ip("10.0.0.1")})
	if err != nil {
		tb.Fatal(err)
	}
	var ins []*In
	for i := range peers {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		in, err := t.NewIn(PeerConfig{Addr: a, RouterID: a, AS: 65000, Client: true})
		if err != nil {
			tb.Fatal(err)
		}
		ins = append(ins, in)
	}
	return t, ins
}

func openAll(tb testing.TB, ins []*In) (outs []*Out) {
	for _, in := range ins {
		o, err := in.NewOut(OutConfig{AS4: true, Families: wire.Families(families[:]...),
			NextHop4: wire.NextHop{Addr: ip("10.0.0.1")}})
		if err != nil {
			tb.Fatal(err)
		}
		outs = append(outs, o)
	}
	return outs
}

func feed(in *In, list [][]byte) {
	var u wire.Update
	for _, body := range list {
		if err := u.Parse(body, wire.Options{AS4: true, IBGP: true}); err == nil {
			_ = in.Update(&u)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkReceive reports what a route costs, parsing included, and the octets of heap that
// it leaves.
func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		name         string
		n, per, sets int
	}{
		{"1M packed", 1e6, 700, 100},
		{"500k single", 500e3, 1, 100},
		{"100k with 100k sets", 100e3, 1, 100e3},
	} {
		list := bodies(c.n, c.per, c.sets)
		b.Run(c.name, func(b *testing.B) {
			before := heap()
			var t *Table
			var outs []*Out
			for b.Loop() {
				var ins []*In
				t, ins = benchTable(b, 1)
				outs = openAll(b, ins)
				feed(ins[0], list)
				buf := make([]byte, 65536)
				for outs[0].Fill(buf) > 0 {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.n), "ns/route")
			b.ReportMetric(float64(heap()-before)/float64(c.n), "B/route")
			runtime.KeepAlive(t)
		})
	}
}

// BenchmarkImport is 100k routes in single UPDATEs through a policy that changes their attributes.
func BenchmarkImport(b *testing.B) {
	const n = 100e3
	list := bodies(n, 1, 50)
	policy := Chain(OnLink(pfx("192.0.2.0/24")), AddCommunity(wire.NewCommunity(65000, 90)), SetLocalPref(200))
	b.ReportAllocs()
	for b.Loop() {
		_, ins := benchTable(b, 1)
		if err := ins[0].Configure(PeerConfig{Addr: ip("10.0.0.0"), AS: 65000, Import: policy}); err != nil {
			b.Fatal(err)
		}
		feed(ins[0], list)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
}

// BenchmarkReflect feeds 100k routes from one client to others that read all they get.
func BenchmarkReflect(b *testing.B) {
	const n = 100e3
	list := bodies(n, 700, 100)
	buf := make([]byte, 65536)
	for _, sinks := range []int{1, 8} {
		b.Run(map[int]string{1: "1 sink", 8: "8 sinks"}[sinks], func(b *testing.B) {
			var updates uint64
			for b.Loop() {
				_, ins := benchTable(b, 1+sinks)
				outs := openAll(b, ins)
				for i := 0; i < len(list); i += 8 {
					feed(ins[0], list[i:min(i+8, len(list))])
					for _, o := range outs {
						for o.Fill(buf) > 0 {
						}
					}
				}
				updates = outs[1].Counters().Updates
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
			b.ReportMetric(float64(updates), "updates")
		})
	}
}

// BenchmarkFleet is 200 clients that announce 50 routes each to all.
func BenchmarkFleet(b *testing.B) {
	all := bodies(200*50, 50, 200)
	buf := make([]byte, 65536)
	for b.Loop() {
		_, ins := benchTable(b, 200)
		outs := openAll(b, ins)
		for i, in := range ins {
			feed(in, all[i:i+1])
			for _, o := range outs {
				for o.Fill(buf) > 0 {
				}
			}
		}
	}
}

// BenchmarkWithdraw takes 100k routes away again by ending their session.
func BenchmarkWithdraw(b *testing.B) {
	const n = 100e3
	list := bodies(n, 700, 100)
	buf := make([]byte, 65536)
	for b.Loop() {
		b.StopTimer()
		_, ins := benchTable(b, 2)
		outs := openAll(b, ins)
		feed(ins[0], list)
		for outs[1].Fill(buf) > 0 {
		}
		b.StartTimer()
		ins[0].Drop(wire.IPv4Unicast)
		for outs[1].Fill(buf) > 0 {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
}
