package arp

import (
	"net/netip"
	"testing"
)

var (
	sinkPacket Packet
	sinkBytes  []byte
)

func BenchmarkParse(b *testing.B) {
	buf := NewRequest(MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.3")).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		sinkPacket, _ = Parse(buf)
	}
}

func BenchmarkAppend(b *testing.B) {
	p := NewRequest(MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.3"))
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		sinkBytes = p.Append(buf[:0])
	}
}
