package rib

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

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

// BenchmarkRestart is what a peer of 100k routes that restarts costs, the only one, with somebody who watches: the
// watcher is told twice of each, that it is stale and that it is fresh again.
func BenchmarkRestart(b *testing.B) {
	const n = 100e3
	list, changes, told := bodies(n, 700, 100), make([]Change, 256), 0
	t, ins := benchTable(b, 1)
	w := t.Watch(WatchConfig{AllPaths: true})
	read := func() {
		for k := w.Next(changes); k > 0; k = w.Next(changes) {
			told += k
		}
	}
	feed(ins[0], list)
	read()
	told = 0
	for b.Loop() {
		ins[0].MarkStale(wire.IPv4Unicast)
		read()
		feed(ins[0], list)
		read()
		ins[0].EndOfRIB(wire.IPv4Unicast)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
	b.ReportMetric(float64(told)/float64(b.N)/n, "changes/route")
}

// guestPrefix is the host route of guest i.
func guestPrefix(f wire.Family, i int) netip.Prefix {
	if f == wire.IPv6Unicast {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(a[8:], uint32(i))
		return netip.PrefixFrom(netip.AddrFrom16(a), 128)
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

// guests encodes what host n of a fabric announces: a host route for each of its guests, all
// with the same attributes.
func guests(f wire.Family, n, each int, fabric byte) (list [][]byte) {
	b := wire.Builder{AS4: true}
	a := wire.PathAttrs{LocalPref: ptr(100), Communities: []wire.Community{wire.NewCommunity(65000, 1)}}
	nh := wire.NextHop{Addr: netip.AddrFrom4([4]byte{10, fabric, byte(n >> 8), byte(n)})}
	if f == wire.IPv6Unicast {
		nh.Addr = netip.AddrFrom16([16]byte{0xfd, fabric, 14: byte(n >> 8), 15: byte(n)})
	}
	attrs := a.Append(nil)
	for i := 0; i < each; {
		b.Reach(nil, f, attrs, nh)
		for i < each && b.Add(wire.NLRI{Prefix: guestPrefix(f, n*each+i)}) {
			i++
		}
		list = append(list, b.Finish()[wire.HeaderLen:])
	}
	return list
}

// fleets are the sizes of docs/scale.md: hosts, and the guests of each.
var fleets = []struct {
	name        string
	hosts, each int
	family      wire.Family
}{
	{"8000 x 125 IPv4", 8000, 125, wire.IPv4Unicast},
	{"8000 x 125 IPv6", 8000, 125, wire.IPv6Unicast},
	{"8000 x 625 IPv4", 8000, 625, wire.IPv4Unicast},
}

// BenchmarkReflectorScale is a reflector of a fleet with one reader, and then a client that
// comes late: what a route costs to receive and reflect, the octets of heap that it leaves, the
// octets on the wire of the whole table, and what it costs to encode.
func BenchmarkReflectorScale(b *testing.B) {
	for _, c := range fleets {
		b.Run(c.name, func(b *testing.B) {
			n := float64(c.hosts * c.each)
			buf := make([]byte, 65536)
			all := make([][][]byte, c.hosts)
			for i := range all {
				all[i] = guests(c.family, i, c.each, 1)
			}
			before := heap()
			var t *Table
			var receive, late time.Duration
			var octets, updates int
			for b.Loop() {
				var ins []*In
				t, ins = benchTable(b, c.hosts+2)
				out := openAll(b, ins[c.hosts:c.hosts+1])[0]
				start := time.Now()
				for i := range c.hosts {
					feed(ins[i], all[i])
					for out.Fill(buf) > 0 {
					}
				}
				receive += time.Since(start)
				start = time.Now()
				out = openAll(b, ins[c.hosts+1:])[0]
				octets = 0
				for k := 1; k > 0; octets += k {
					k = out.Fill(buf)
				}
				late += time.Since(start)
				updates = int(out.Counters().Updates)
			}
			b.ReportMetric(float64(receive.Nanoseconds())/float64(b.N)/n, "ns/route")
			b.ReportMetric(float64(heap()-before)/n, "B/route")
			b.ReportMetric(float64(late.Nanoseconds())/float64(b.N)/n, "late-ns/route")
			b.ReportMetric(float64(octets)/n, "wire-B/route")
			b.ReportMetric(float64(updates), "updates")
			runtime.KeepAlive(t)
		})
	}
}

// BenchmarkHypervisorScale is a host of a fleet that hears every guest's route from the
// reflectors of two fabrics, and reads what goes into its kernel.
func BenchmarkHypervisorScale(b *testing.B) {
	for _, c := range fleets {
		b.Run(c.name, func(b *testing.B) {
			n := float64(c.hosts * c.each)
			changes := make([]Change, 256)
			var all [2][][][]byte
			for fabric := range all {
				for i := range c.hosts {
					all[fabric] = append(all[fabric], guests(c.family, i, c.each, byte(fabric+1)))
				}
			}
			before := heap()
			var t *Table
			for b.Loop() {
				var ins []*In
				t, ins = benchTable(b, 2)
				w := t.Watch(WatchConfig{})
				for fabric, in := range ins {
					for i := range c.hosts {
						feed(in, all[fabric][i])
						for w.Next(changes) > 0 {
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
			b.ReportMetric(float64(heap()-before)/n, "B/route")
			b.ReportMetric(float64(t.Stats().Paths)/n, "paths/route")
			runtime.KeepAlive(t)
		})
	}
}
