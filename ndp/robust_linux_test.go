package ndp

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/testing/captures"
)

// Neither malformed, truncated, tagged nor oversized frames end the loops of proxy and
// advertiser or keep them from the next question.
func TestBadFramesEndNothing(t *testing.T) {
	w := newWire(t)
	r := NewResponder(listen(t, w.host, TypeNeighborSolicitation))
	if err := r.SetGuest(w.link, Guest{Router: w.router}); err != nil {
		t.Fatal(err)
	}
	r.policy = *conformancePolicy(w.link, w.router)
	runLoop(t, r.Run)
	a := w.advertise(t, guestRA())
	b := newBench(t, w)
	b.settle(t, "the proxy")
	rnd := rand.New(rand.NewPCG(1, 2))
	seeds := captures.Read(t, "testdata/captures.txt")
	var frames []afpacket.Frame
	for i := range 5000 {
		p, err := ParseFrame(seeds[i%len(seeds)].Data)
		if err != nil {
			t.Fatal(err)
		}
		p.Body = bytes.Clone(p.Body)
		for range rnd.IntN(4) { // behind the header, so that most pass the filter, and the checksum is right
			p.Body[4+rnd.IntN(len(p.Body)-4)] = byte(rnd.Uint32())
		}
		if rnd.IntN(3) == 0 {
			p.Body = p.Body[:4+rnd.IntN(len(p.Body)-4)]
		}
		f := p.appendFrame(nil)
		switch rnd.IntN(5) {
		case 0:
			f = f[:14+rnd.IntN(len(f)-14)]
		case 1:
			f = append(f, make([]byte, rnd.IntN(1514-len(f)))...)
		case 2:
			f = slices.Concat(f[:12], []byte{0x81, 0, byte(rnd.IntN(16)), byte(rnd.IntN(256))}, f[12:])
		}
		frames = append(frames, afpacket.Frame{Link: b.link, Data: f})
	}
	// As many at a time as the receive buffer surely holds, so that each is judged.
	for burst := range slices.Chunk(frames, 250) {
		if _, err := b.send.Write(burst); err != nil {
			t.Logf("not all were sent: %v", err)
		}
		b.settle(t, "the proxy behind bad frames")
	}
	b.settle(t, "the proxy after bad frames") // the one before may have been to a mutated question
	rs := routerSolicitation(own)
	before := a.Stats()
	waitFor(t, func() bool { // a host asks again, too
		if _, err := b.send.Write([]afpacket.Frame{{Link: b.link, Data: rs.appendFrame(nil)}}); err != nil {
			t.Fatal(err)
		}
		s := a.Stats()
		return s.Answers+s.Deferred > before.Answers+before.Deferred
	})
	t.Logf("proxy %v, advertiser %+v, invalid %d", r.Stats(), a.Stats(), r.conn.(*Conn).Invalid())
}

// Reading and writing on a real socket allocates nothing.
func TestConnNoAllocation(t *testing.T) {
	w := newWire(t)
	c := listen(t, w.host, TypeNeighborSolicitation)
	if err := c.Add(w.link); err != nil {
		t.Fatal(err)
	}
	p := conformancePolicy(w.link, w.router)
	p.SetGuest(w.link, Guest{Router: w.router, Rate: -1})
	b := newBench(t, w)
	s := solicitation(vm1, vm3)
	question := []afpacket.Frame{{Link: b.link, Data: s.appendFrame(nil)}}
	in, out, buf := make([]Packet, 1), make([]Packet, 1), make([]byte, 0, answerLen)
	waitFor(t, func() bool { n, _ := b.send.Write(question); return n == 1 })
	if n := testing.AllocsPerRun(500, func() {
		_, _ = b.send.Write(question)
		if n, err := c.Read(in); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		var v Verdict
		if out[0], v = p.Decide(testTime, &in[0], buf); v != VerdictAnswered {
			t.Fatal(v)
		}
		_, _ = c.Write(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
