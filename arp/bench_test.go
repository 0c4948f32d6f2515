package arp

import "testing"

func BenchmarkParse(b *testing.B) {
	buf := NewRequest(guestMAC, vm1, vm3).append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if p, err := ParsePacket(buf); err != nil || p.Op != OpRequest {
			b.Fatal(p, err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	buf := NewRequest(guestMAC, vm1, vm3).append(nil)
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		if err := p.decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p := NewRequest(guestMAC, vm1, vm3)
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = p.append(buf[:0])
	}
}

func BenchmarkEncode(b *testing.B) {
	p := NewRequest(guestMAC, vm1, vm3)
	buf := make([]byte, Len)
	b.ReportAllocs()
	for b.Loop() {
		p.encode(buf)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := conformancePolicy(7, hostMAC)
	guest := Guest{MAC: guestMAC, Router: hostMAC, Rate: -1}
	p.SetGuest(7, guest)
	f := NewRequest(guestMAC, vm1, vm3).On(7)
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(testTime, &f)
	}
}
