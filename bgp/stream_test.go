package bgp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

// TestReaderSearch cuts random streams of messages into random segments: what the reader
// yields is what was sent, octet by octet. The inputs are
//
//	message N    the peer sends a message of N octets
//	segment N    the next read brings N octets at most
//	wait         everything up to here is read: the peer pauses
//
// What follows the last segment comes as fast as it can be read.
func TestReaderSearch(t *testing.T) {
	for _, limit := range []int{wire.MaxLen, wire.MaxExtendedLen} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			scenario.Search{
				Seeds:  80,
				Inputs: func(r *rand.Rand) []string { return streamInputs(r, limit) },
				Play:   func(_ *testing.T, inputs []string) error { return playStream(inputs, limit) },
			}.Run(t)
		})
	}
}

// TestReaderScenarios plays streams that a reader once got wrong, in the same grammar.
func TestReaderScenarios(t *testing.T) {
	scenario.Files(t, "testdata/reader/*.txt", func(_ *testing.T, text string) (string, error) {
		var inputs []string
		for line := range strings.Lines(text) {
			if line[0] != '#' {
				inputs = append(inputs, strings.TrimSpace(line))
			}
		}
		if err := playStream(inputs, wire.MaxExtendedLen); err != nil {
			return "", fmt.Errorf("1: %w", err)
		}
		return text, nil
	})
}

// streamInputs makes bursts and quiet times, large messages and small ones.
func streamInputs(r *rand.Rand, limit int) (inputs []string) {
	size := func() int {
		switch r.IntN(4) {
		case 0:
			return wire.HeaderLen
		case 1:
			return wire.HeaderLen + r.IntN(200)
		case 2:
			return limit - r.IntN(min(limit-wire.HeaderLen, 100))
		}
		return wire.HeaderLen + r.IntN(limit-wire.HeaderLen+1)
	}
	for range 1 + r.IntN(6) {
		for range 1 + r.IntN(12) {
			inputs = append(inputs, fmt.Sprint("message ", size()))
		}
		typical := []int{1, 19, 536, 1448, 4096, 20000, 65536, 65536}[r.IntN(8)]
		for range r.IntN(2 * quietReads) {
			n := typical
			if r.IntN(4) == 0 {
				n = 1 + r.IntN(70000)
			}
			inputs = append(inputs, fmt.Sprint("segment ", n))
		}
		if r.IntN(2) == 0 {
			inputs = append(inputs, "wait")
		}
		for range r.IntN(3 * quietReads) {
			inputs = append(inputs, "message 19", "wait")
		}
	}
	return inputs
}

// segments is a stream that is read in pieces.
type segments struct {
	data []byte
	ends []int // positions that no read goes beyond
	at   int
}

func (s *segments) Read(b []byte) (int, error) {
	for len(s.ends) > 0 && s.ends[0] <= s.at {
		s.ends = s.ends[1:]
	}
	end := len(s.data)
	if len(s.ends) > 0 {
		end = min(end, s.ends[0])
	}
	if s.at == len(s.data) {
		return 0, io.EOF
	}
	n := copy(b, s.data[s.at:end])
	s.at += n
	return n, nil
}

// parseStream makes a stream of inputs.
func parseStream(inputs []string) (s segments, err error) {
	cut := 0 // up to where segments have been placed
	for i, input := range inputs {
		word, value, _ := strings.Cut(input, " ")
		n, _ := strconv.Atoi(value)
		switch word {
		case "message":
			s.data = append(s.data, patterned(n, i)...)
		case "segment":
			cut = min(cut+n, len(s.data))
			s.ends = append(s.ends, cut)
		case "wait":
			cut = len(s.data)
			s.ends = append(s.ends, cut)
		default:
			return s, fmt.Errorf("unknown input %q", input)
		}
	}
	return s, nil
}

// playStream reads a stream with two buffers, as a conn does. An owner that has given a
// buffer back must not be heard of it again: its content is destroyed.
func playStream(inputs []string, limit int) error {
	s, err := parseStream(inputs)
	if err != nil {
		return err
	}
	r := reader{src: &s, limit: func() int { return limit }, settled: settled}
	free := [][]byte{nil, nil}
	got := 0
	for {
		ch := r.next(free[0])
		free = append(free[1:], ch.buf)
		if whole, bad := complete(ch.buf[:ch.n], limit); whole != ch.n || bad {
			return fmt.Errorf("a chunk of %d octets has %d of whole messages", ch.n, whole)
		}
		if !bytes.HasPrefix(s.data[got:], ch.buf[:ch.n]) {
			return fmt.Errorf("after %d octets the stream is another than was sent", got)
		}
		got += ch.n
		clear(ch.buf[:cap(ch.buf)])
		if ch.err != nil {
			break
		}
	}
	if got != len(s.data) {
		return fmt.Errorf("%d octets came out of %d", got, len(s.data))
	}
	return nil
}

// TestConnSearch sends random messages through both pumps of a connection, over a network
// that cuts at random. The inputs are
//
//	receive N   the peer sends a message of N octets
//	send N      the owner gives the writer N octets, as soon as it is free
//	busy T      the owner looks at nothing for a while
//	deaf T      the peer reads nothing for a while
//	cut N       the network cuts by another random sequence
//
// At the end the owner closes the connection with a NOTIFICATION, perhaps while the writer
// is busy. A peer that is deaf then may miss the end of what was sent, but nothing within.
func TestConnSearch(t *testing.T) {
	scenario.Search{Seeds: 40, Inputs: connInputs, Play: func(t *testing.T, inputs []string) (err error) {
		synctest.Test(t, func(t *testing.T) { err = playConn(inputs) })
		return err
	}}.Run(t)
}

func connInputs(r *rand.Rand) []string {
	inputs := []string{fmt.Sprint("cut ", r.Uint32())}
	kinds := 10
	if r.IntN(4) == 0 {
		kinds = 6 // the peer says nothing: the owner is never woken
	}
	for range 1 + r.IntN(60) {
		switch r.IntN(kinds) {
		case 0:
			inputs = append(inputs, fmt.Sprintf("busy %dms", r.IntN(3000)))
		case 1:
			inputs = append(inputs, fmt.Sprintf("deaf %dms", r.IntN(3000)))
		case 2, 3, 4, 5:
			inputs = append(inputs, fmt.Sprint("send ", 1+r.IntN(sendBuffer)))
		case 6:
			for range r.IntN(3 * quietReads) {
				inputs = append(inputs, "receive 19")
			}
		default:
			inputs = append(inputs, fmt.Sprint("receive ", wire.HeaderLen+r.IntN(wire.MaxExtendedLen-wire.HeaderLen+1)))
		}
	}
	return inputs
}

// connSearch is the owner of a connection, and its peer.
type connSearch struct {
	p        *pumps
	busy     bool                // the writer has a buffer
	deaf     func(time.Duration) // the peer reads nothing
	feed     chan []byte         // what the peer is to send
	toOwner  []byte              // all of that
	toPeer   []byte              // all that the writer was given
	received int                 // octets of toOwner that have come
	got      chan []byte         // all that the peer has read
}

func playConn(inputs []string) error {
	var seed uint64
	for _, input := range inputs {
		fmt.Sscanf(input, "cut %d", &seed)
	}
	n := &bgptest.Network{}
	n.Segment(seed)
	near, far := connected(n)
	var wg sync.WaitGroup
	s := connSearch{p: newPumps(near, &wg, nil), deaf: func(d time.Duration) { n.Stall(addr1, addr2, d) }, feed: make(chan []byte, len(inputs)), got: make(chan []byte, 1)}
	s.p.setLimit(wire.MaxExtendedLen)
	go func() {
		for b := range s.feed {
			_, _ = far.Write(b)
		}
	}()
	go func() {
		b, _ := io.ReadAll(far)
		s.got <- b
	}()
	err := s.play(inputs)
	close(s.feed)
	for err == nil && s.received < len(s.toOwner) {
		err = s.look()
	}
	s.p.close(patterned(wire.MaxLen, 0), 0)
	s.toPeer = append(s.toPeer, patterned(wire.MaxLen, 0)...)
	listens := !strings.Contains(strings.Join(inputs, "\n"), "deaf")
	if got := <-s.got; err == nil && (!bytes.HasPrefix(s.toPeer, got) || listens && len(got) < len(s.toPeer)) {
		err = fmt.Errorf("the peer has got %d octets, which are not the %d that were sent", len(got), len(s.toPeer))
	}
	far.Close()
	wg.Wait()
	return err
}

// connected returns both ends of a connection from addr1 to addr2.
func connected(n *bgptest.Network) (near, far net.Conn) {
	l, _ := n.Listen(context.Background(), netip.AddrPortFrom(addr2, Port))
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	near, _ = n.Dialer(addr1)(context.Background(), netip.AddrPort{}, netip.AddrPortFrom(addr2, Port))
	return near, <-accepted
}

func (s *connSearch) play(inputs []string) (err error) {
	for i, input := range inputs {
		word, value, _ := strings.Cut(input, " ")
		n, _ := strconv.Atoi(value)
		d, _ := time.ParseDuration(value)
		switch word {
		case "receive":
			m := patterned(n, i)
			s.toOwner = append(s.toOwner, m...)
			s.feed <- m
		case "send":
			for err == nil && s.busy {
				err = s.look()
			}
			b := patterned(max(n, wire.HeaderLen), i)
			s.toPeer = append(s.toPeer, b...)
			s.busy = true
			s.p.send(b)
		case "busy":
			time.Sleep(d)
		case "deaf":
			s.deaf(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// look takes what either pump has for the owner.
func (s *connSearch) look() error {
	select {
	case <-time.After(time.Minute):
		return fmt.Errorf("nothing happens; %d octets of %d have come", s.received, len(s.toOwner))
	case w := <-s.p.txDone:
		s.busy = false
		return w.err
	case ch := <-s.p.rx:
		if !bytes.HasPrefix(s.toOwner[s.received:], ch.buf[:ch.n]) {
			return fmt.Errorf("after %d octets the stream is another than was sent", s.received)
		}
		s.received += ch.n
		clear(ch.buf[:cap(ch.buf)])
		s.p.release(ch.buf)
		return ch.err
	}
}

// patterned makes a message of n octets that no other is like.
func patterned(n, i int) []byte {
	m := message(n)
	for k := wire.HeaderLen; k < n; k++ {
		m[k] = byte(i + k*7)
	}
	return m
}

// BenchmarkReader frames 16 MB of messages that come as fast as they can be read.
func BenchmarkReader(b *testing.B) {
	for _, size := range []int{60, 4000, 60000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var stream []byte
			for len(stream) < 16<<20 {
				stream = append(stream, message(size)...)
			}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				r := reader{src: bytes.NewReader(stream), limit: func() int { return wire.MaxExtendedLen }, settled: settled}
				free := [][]byte{nil, nil}
				for ch := (chunk{}); ch.err == nil; free = append(free[1:], ch.buf) {
					ch = r.next(free[0])
				}
			}
		})
	}
}
