package ndp

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkSolicitation is everything the proxy does with a frame but the system calls:
// parse, check, decide, build. Its cost does not depend on the table.
func BenchmarkSolicitation(b *testing.B) {
	for _, n := range []int{1, 1000, 100000} {
		b.Run(fmt.Sprint(n, "_targets"), func(b *testing.B) {
			p := conformancePolicy(7, hostMAC)
			p.SetGuest(7, Guest{Router: hostMAC, Source: gateway, Rate: -1})
			a := netip.MustParseAddr("2001:db8:1::")
			for range n {
				p.SetTarget(netip.PrefixFrom(a, 128), 0)
				a = a.Next()
			}
			s := solicitation(vm1, vm3)
			frame, body, out := s.appendFrame(nil), make([]byte, 0, answerLen), make([]byte, 0, 128)
			b.ReportAllocs()
			for b.Loop() {
				in, err := ParseFrame(frame)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := in.Check(); err != nil {
					b.Fatal(err)
				}
				in.IfIndex = 7
				reply, v := p.Decide(testTime, &in, body)
				if v != VerdictAnswered {
					b.Fatal(v)
				}
				out = reply.appendFrame(out[:0])
			}
		})
	}
}

func BenchmarkRouterAdvertisement(b *testing.B) {
	ra := guestRA()
	p := packet(gateway, AllNodes, ra.append(nil))
	buf := make([]byte, 0, 512)
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = ra.append(buf[:0])
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseRouterAdvertisement(&p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
