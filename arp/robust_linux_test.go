package arp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/afpacket"
	"github.com/hyperfib/hyperfib/internal/testing/captures"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// Neither malformed, truncated, tagged nor oversized frames end the loop or keep it
// from the next question.
func TestBadFramesEndNothing(t *testing.T) {
	w := newWire(t)
	r := w.respond(t)
	r.SetTarget(netip.PrefixFrom(vm4, 32), 0)
	b := newBench(t, w)
	rnd := rand.New(rand.NewPCG(1, 2))
	seeds := captures.Read(t, "testdata/captures.txt")
	var frames []afpacket.Frame
	for i := range 5000 {
		f := bytes.Clone(seeds[i%len(seeds)].Data)
		switch rnd.IntN(5) {
		case 0: // truncated, but for the header
			f = f[:14+rnd.IntN(len(f)-14)]
		case 1: // oversized
			f = append(f, make([]byte, rnd.IntN(1514-len(f)))...)
		case 2: // tagged, once or twice
			for range 1 + rnd.IntN(2) {
				f = slices.Concat(f[:12], []byte{0x81, 0, byte(rnd.IntN(16)), byte(rnd.IntN(256))}, f[12:])
			}
		default:
			for range 1 + rnd.IntN(4) {
				f[rnd.IntN(len(f))] = byte(rnd.Uint32())
			}
		}
		frames = append(frames, afpacket.Frame{Link: b.link, Data: f})
	}
	// As many at a time as the receive buffer surely holds, so that each is judged.
	for burst := range slices.Chunk(frames, 250) {
		if _, err := b.send.Write(burst); err != nil {
			t.Logf("not all were sent: %v", err)
		}
		b.settle(t, "an answer behind bad frames")
	}
	b.settle(t, "an answer after bad frames") // the one before may have been to a mutated question
	if d := r.conn.(*Conn).Dropped(); d > 0 {
		t.Logf("the kernel had no room for %d of them", d)
	}
}

// A guest that floods without pause gets its limit, and does not delay the answers to
// another.
func TestFloodOfOneGuest(t *testing.T) {
	w := newWire(t)
	r := w.respond(t)
	r.SetTarget(netip.PrefixFrom(vm3, 32), 0)
	b := newBench(t, w)
	nstest.Veth(w.host, "vm2", "", w.guest, "eth1", "")
	link2, router2 := index(t, w.host, "vm2")
	glink2, gmac2 := index(t, w.guest, "eth1")
	if err := r.SetGuest(link2, Guest{Router: router2}); err != nil {
		t.Fatal(err)
	}
	w.guest.IP("link set eth1 arp off")
	recv := listen(t, w.guest)
	if err := recv.Add(glink2); err != nil {
		t.Fatal(err)
	}
	question := NewRequest(gmac2, vm2, vm3).On(glink2)
	in := make([]Frame, Batch)
	stop, stopped := make(chan bool), make(chan int)
	latency := func() time.Duration {
		for begin := time.Now(); time.Since(begin) < nstest.Patience; {
			asked := time.Now()
			if _, err := recv.Write([]Frame{question}); err != nil {
				t.Fatal(err)
			}
			_ = recv.SetReadDeadline(asked.Add(time.Second))
			if _, err := recv.Read(in); err == nil {
				return time.Since(asked)
			}
		}
		close(stop)
		<-stopped
		t.Fatal("the second guest got no answer")
		return 0
	}
	nstest.Wait(t, time.Second, "the second wire", func() bool {
		_, _ = recv.Write([]Frame{question})
		_ = recv.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := recv.Read(in)
		return err == nil
	})
	flood := afpacket.Frame{Link: b.link, Data: NewRequest(guestMAC, vm1, vm3).On(0).append(nil)}
	burst := slices.Repeat([]afpacket.Frame{flood}, afpacket.Batch)
	go func() {
		for sent := 0; ; sent += len(burst) {
			select {
			case <-stop:
				stopped <- sent
				return
			default:
				_, _ = b.send.Write(burst)
			}
		}
	}()
	nstest.Wait(t, 5*time.Second, "the flood to reach its limit", func() bool { return r.Stats()[VerdictLimited] > 10000 })
	var times []time.Duration
	stall := nstest.WatchStall()
	for range 200 {
		times = append(times, latency())
	}
	close(stop)
	sent := <-stopped
	slices.Sort(times)
	t.Logf("%d frames of flood; the other guest waits %v, at most %v", sent, times[100], times[199])
	// A queue in common would hold 10 ms of flood before each question, or more.
	if s := r.Stats(); s[VerdictLimited] == 0 || times[100] > 5*time.Millisecond+stall.Stop() {
		t.Errorf("verdicts %v, median %v", s, times[100])
	}
}

// Reading and writing on a real socket allocates nothing.
func TestConnNoAllocation(t *testing.T) {
	w := newWire(t)
	c := listen(t, w.host)
	if err := c.Add(w.link); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, w)
	question := []afpacket.Frame{{Link: b.link, Data: NewRequest(guestMAC, vm1, vm3).On(0).append(nil)}}
	in, out := make([]Frame, 1), make([]Frame, 1)
	if n := testing.AllocsPerRun(500, func() {
		_, _ = b.send.Write(question)
		n, err := c.Read(in)
		if n != 1 || err != nil {
			t.Fatal(n, err)
		}
		out[0] = in[0].Answer(w.router).On(w.link)
		_, _ = c.Write(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
