// Command codec compares bgp/wire with GoBGP 4.8's codec in one run: parsing and
// encoding UPDATEs with typical iBGP attributes, with one NLRI and full of them. Ours
// does the checks of RFC 7606, Section 3, and yields interned-ready attributes meanwhile. Start it
// as `.ci/bench codec`.
package main

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

var sink int

func typical() wire.Attrs {
	lp := uint32(100)
	return (&wire.PathAttrs{ASPath: []uint32{64512, 4200000001}, LocalPref: &lp,
		Communities:  []wire.Community{wire.NewCommunity(65000, 90), wire.NewCommunity(65000, 20)},
		OriginatorID: netip.MustParseAddr("10.0.0.1"), ClusterList: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
		LargeCommunities: []wire.LargeCommunity{{Global: 65000, Local1: 1, Local2: 2}}}).Append(nil)
}

// build makes an UPDATE of n prefixes, or of as many as fit.
func build(n int, buf []byte, b *wire.Builder, attrs wire.Attrs) ([]byte, int) {
	b.Reach(buf, wire.IPv4Unicast, attrs, wire.NextHop{Addr: netip.AddrFrom4([4]byte{192, 0, 2, 1})})
	i := 0
	for i < n && b.Add(wire.NLRI{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)}) {
		i++
	}
	return b.Finish(), i
}

// parseOurs reads a message, its attributes for interning, and every NLRI. (As a
// function literal it would allocate: Go 1.26 moves the body of a range over a
// function to the heap there.)
func parseOurs(m []byte, u *wire.Update, scratch []byte) {
	h, err := wire.ParseHeader(m, wire.MaxLen)
	if err == nil {
		err = u.Parse(m[wire.HeaderLen:h.Len], wire.Options{AS4: true, IBGP: true})
	}
	if err != nil {
		panic(err)
	}
	sink += len(u.AppendAttrs(scratch))
	for p := range u.NLRI.All() {
		sink += p.Prefix.Bits()
	}
}

// operation is something that both codecs do.
type operation struct {
	name       string
	must       float64 // ns per NLRI
	per        int     // NLRI per call
	ours, them func()
}

func operations() []operation {
	b := &wire.Builder{AS4: true}
	attrs, buf := typical(), make([]byte, wire.MaxLen)
	one, _ := build(1, nil, b, attrs)
	full, n := build(1<<16, nil, b, attrs)
	var u wire.Update
	scratch := make([]byte, 0, wire.MaxLen)
	parse := func(m []byte) func() { return func() { parseOurs(m, &u, scratch) } }
	theirs := func(m []byte) func() {
		return func() {
			msg, err := bgp.ParseBGPMessage(m)
			if err != nil {
				panic(err)
			}
			for _, p := range msg.Body.(*bgp.BGPUpdate).NLRI {
				sink += p.NLRI.Len()
			}
		}
	}
	encode := func(m []byte) func() {
		msg, err := bgp.ParseBGPMessage(m)
		if err != nil {
			panic(err)
		}
		return func() {
			out, err := msg.Serialize()
			if err != nil {
				panic(err)
			}
			sink += len(out)
		}
	}
	return []operation{
		{"parse, 1 NLRI", 250, 1, parse(one), theirs(one)},
		{"parse, a packed NLRI", 15, n, parse(full), theirs(full)},
		{"encode, 1 NLRI", 200, 1, func() { m, _ := build(1, buf[:0], b, attrs); sink += len(m) }, encode(one)},
		{"encode, a packed NLRI", 15, n, func() { m, _ := build(n, buf[:0], b, attrs); sink += len(m) }, encode(full)},
	}
}

func main() {
	failed := false
	fmt.Printf("%-22s %12s %12s %14s %8s\n", "", "hyperfib", "GoBGP 4.8", "allocs", "ratio")
	for _, o := range operations() {
		ours, them := 1e9, 1e9
		var a, b testing.BenchmarkResult
		for range 3 { // interleaved; the best counts
			a, b = run(o.ours), run(o.them)
			ours, them = min(ours, ns(a, o.per)), min(them, ns(b, o.per))
		}
		verdict := "ok"
		if ours > o.must || a.AllocsPerOp() > 0 {
			verdict, failed = fmt.Sprintf("MISSED: limit %g ns, 0 allocs", o.must), true
		}
		fmt.Printf("%-22s %9.1f ns %9.1f ns %4d vs %-6d %7.1fx  %s\n", o.name, ours, them, a.AllocsPerOp(), b.AllocsPerOp(), them/ours, verdict)
	}
	if failed {
		os.Exit(1)
	}
}

func run(f func()) testing.BenchmarkResult {
	return testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
}

func ns(r testing.BenchmarkResult, per int) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N) / float64(per)
}
