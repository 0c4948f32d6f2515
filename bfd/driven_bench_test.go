package bfd

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// quietPair is a pair that is Up, whose packets go nowhere any more.
func quietPair(b testing.TB) (w *wire, s *DrivenServer, d Datagram) {
	w = newWire(1)
	w.quiet, w.delay = true, ms(1)
	n, _ := w.pair(b, hundred)
	w.run(5 * time.Second)
	s = n.d.(*DrivenServer)
	for len(w.queue) == 0 || w.queue[len(w.queue)-1].to != n {
		w.run(ms(10))
	}
	w.run(ms(50))
	d = Datagram{IfIndex: 7, Local: n.addr, Peer: n.far.addr, TTL: 255}
	status := n.session(b)
	p := Packet{State: StateUp, Multiplier: 3, MyDiscr: status.RemoteDiscr, YourDiscr: status.Discr, DesiredMinTx: ms(100), RequiredMinRx: ms(100)}
	d.Payload = p.append(nil)
	s.cfg.Send = func(time.Duration, Key, netip.Addr, []byte) error { return nil }
	return w, s, d
}

func BenchmarkDrivenReceive(b *testing.B) {
	w, s, d := quietPair(b)
	b.ReportAllocs()
	for b.Loop() {
		w.now++
		d.At = w.now
		s.Receive(&d)
	}
}

// BenchmarkDrivenSend is what a periodic packet costs: Deadline, Advance and the packet.
func BenchmarkDrivenSend(b *testing.B) {
	w, s, d := quietPair(b)
	b.ReportAllocs()
	sent := 0
	s.cfg.Send = func(time.Duration, Key, netip.Addr, []byte) error { sent++; return nil }
	e := s.core.demux.ByDiscr(binary.BigEndian.Uint32(d.Payload[8:]))
	n := 0
	for b.Loop() {
		w.now = s.Deadline()
		e.lastRx = w.now // the remote system is there
		s.Advance(w.now)
		n++
	}
	b.ReportMetric(float64(sent)/float64(n), "sends/op")
}

func BenchmarkDrivenServer(b *testing.B) {
	w := newWire(1)
	n := w.node("a", "192.0.2.1")
	n.far = n
	b.ReportAllocs()
	for b.Loop() {
		s, err := NewDrivenServer(n.config())
		if err != nil {
			b.Fatal(err)
		}
		for i := range 4 {
			if err := s.Add(SessionConfig{Key: Key{Peer: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}), Local: n.addr, Interface: "e0"}}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestDrivenAllocations: a quiet session allocates nothing.
func TestDrivenAllocations(t *testing.T) {
	w, s, d := quietPair(t)
	next := s.Deadline()
	if n := testing.AllocsPerRun(1000, func() {
		w.now = next
		d.At = w.now
		s.Receive(&d)
		s.Advance(w.now)
		next = s.Deadline()
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if list, _ := s.Sessions(); list[0].State != StateUp || list[0].Sent < 1000 {
		t.Error(list)
	}
}
