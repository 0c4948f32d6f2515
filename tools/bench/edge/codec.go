package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/arp"
)

// codec compares parsing and building ARP with gopacket's reusable layers.
func codec(b *bench) error {
	p := arp.NewRequest(arp.MAC(guestMAC), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.3"))
	data, _ := p.AppendBinary(nil)
	buf := make([]byte, 0, 64)
	parse := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if q, err := arp.ParsePacket(data); err != nil || q.Op != arp.OpRequest {
				b.Fatal(err)
			}
		}
	})
	build := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = p.AppendBinary(buf[:0])
		}
	})
	var l layers.ARP
	theirs := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if l.DecodeFromBytes(data, gopacket.NilDecodeFeedback) != nil || l.Operation != layers.ARPRequest {
				b.Fatal(l)
			}
		}
	})
	sb := gopacket.NewSerializeBuffer()
	theirBuild := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_ = sb.Clear()
			if l.SerializeTo(sb, gopacket.SerializeOptions{}) != nil {
				b.Fatal(l)
			}
		}
	})
	nanos := func(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }
	compare := func(what string, ours, theirs testing.BenchmarkResult) {
		ratio, allocs := nanos(ours)/nanos(theirs), ours.AllocsPerOp()
		b.add(what, "gopacket", fmt.Sprintf("%.1f ns", nanos(theirs)), "", true)
		b.add(what, "hyperfib", fmt.Sprintf("%.1f ns, %d allocations, %.2f of gopacket's", nanos(ours), allocs, ratio), "0 allocations; half of gopacket's", allocs == 0 && ratio < 0.5)
	}
	compare("ARP parse", parse, theirs)
	compare("ARP build", build, theirBuild)
	return nil
}
