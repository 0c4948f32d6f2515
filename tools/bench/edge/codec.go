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
	data, buf := p.Append(nil), make([]byte, 0, 64)
	nanos := func(f func()) (float64, int64) {
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
		return float64(r.T.Nanoseconds()) / float64(r.N), r.AllocsPerOp()
	}
	var q arp.Packet
	parse, a1 := nanos(func() { q, _ = arp.Parse(data) })
	build, a2 := nanos(func() { buf = q.Append(buf[:0]) })
	var l layers.ARP
	theirs, _ := nanos(func() { _ = l.DecodeFromBytes(data, gopacket.NilDecodeFeedback) })
	sb := gopacket.NewSerializeBuffer()
	theirBuild, _ := nanos(func() { _ = sb.Clear(); _ = l.SerializeTo(sb, gopacket.SerializeOptions{}) })
	b.add("ARP parse", "gopacket", fmt.Sprintf("%.1f ns", theirs), "", true)
	b.add("ARP parse", "hyperfib", fmt.Sprintf("%.1f ns, %d allocations, %.2f of gopacket's", parse, a1, parse/theirs), "0 allocations; a third of gopacket's", a1 == 0 && parse < theirs/3)
	b.add("ARP build", "gopacket", fmt.Sprintf("%.1f ns", theirBuild), "", true)
	b.add("ARP build", "hyperfib", fmt.Sprintf("%.1f ns, %d allocations, %.2f of gopacket's", build, a2, build/theirBuild), "0 allocations; a third of gopacket's", a2 == 0 && build < theirBuild/3)
	return nil
}
