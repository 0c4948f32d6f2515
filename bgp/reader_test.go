package bgp

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// slice reads everything a reader makes of a stream.
func slice(src io.Reader, limit int) (messages [][]byte, err error) {
	r := reader{src: src, limit: func() int { return limit }, settled: settled}
	var buf []byte
	for {
		ch := r.next(buf)
		for b := ch.buf[:ch.n]; len(b) > 0; {
			n := int(b[16])<<8 | int(b[17])
			if n < wire.HeaderLen || n > limit {
				n = wire.HeaderLen
			}
			messages = append(messages, bytes.Clone(b[:n]))
			b = b[n:]
		}
		if ch.err != nil {
			return messages, ch.err
		}
		buf = ch.buf
	}
}

func settled() bool { return true }

// TestReaderLimitRises: a long message comes with the one that permits it.
func TestReaderLimitRises(t *testing.T) {
	limit, waits := wire.MaxLen, 0
	r := reader{
		src:     bytes.NewReader(append(message(19), message(60000)...)),
		limit:   func() int { return limit },
		settled: func() bool { limit = wire.MaxExtendedLen; waits++; return true },
	}
	first := r.next(nil)
	if first.n != 19 || first.err != nil || waits != 0 {
		t.Fatalf("%d octets, %v, %d waits", first.n, first.err, waits)
	}
	if second := r.next(nil); second.n != 60000 || second.err != nil || waits != 1 {
		t.Fatalf("%d octets, %v, %d waits", second.n, second.err, waits)
	}
}

// message makes one of n octets.
func message(n int) []byte {
	b := append(wire.AppendKeepalive(nil), make([]byte, n-wire.HeaderLen)...)
	b[16], b[17], b[18] = byte(n>>8), byte(n), byte(wire.TypeUpdate)
	return b
}

func TestReaderFrames(t *testing.T) {
	var stream []byte
	var want [][]byte
	for _, n := range []int{19, 23, 4096, 65535, 19, 5000, 19, 40000, 40001} {
		want = append(want, message(n))
		stream = append(stream, message(n)...)
	}
	for range 2 * quietReads { // back to small buffers
		want = append(want, message(19))
		stream = append(stream, message(19)...)
	}
	for name, src := range map[string]io.Reader{
		"whole":        bytes.NewReader(stream),
		"octet-wise":   iotest.OneByteReader(bytes.NewReader(stream)),
		"half":         iotest.HalfReader(bytes.NewReader(stream)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		got, err := slice(src, wire.MaxExtendedLen)
		if err != io.EOF || len(got) != len(want) {
			t.Fatalf("%s: %d messages of %d, %v", name, len(got), len(want), err)
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%s: message %d differs", name, i)
			}
		}
	}
}

func TestReaderStopsAtBrokenHeader(t *testing.T) {
	for _, size := range []int{18, 4097} {
		bad := message(4097)
		bad[16], bad[17] = byte(size>>8), byte(size)
		got, err := slice(bytes.NewReader(append(message(30), bad...)), wire.MaxLen)
		if !errors.Is(err, errFraming) || len(got) != 2 || len(got[1]) != wire.HeaderLen {
			t.Errorf("length %d: %d messages, %v", size, len(got), err)
		}
	}
}

// TestReaderShrinks: a burst makes buffers large, quiet makes them small again.
func TestReaderShrinks(t *testing.T) {
	var stream []byte
	for range 20 {
		stream = append(stream, message(4000)...)
	}
	r := reader{src: bytes.NewReader(stream), limit: func() int { return wire.MaxLen }, settled: settled}
	for ch := (chunk{}); ch.err == nil; {
		ch = r.next(ch.buf)
	}
	if !r.large {
		t.Error("small buffers after a burst")
	}
	var quiet []byte
	for range 2 * quietReads {
		quiet = append(quiet, message(19)...)
	}
	r.src = iotest.OneByteReader(bytes.NewReader(quiet))
	for ch := (chunk{}); ch.err == nil; {
		ch = r.next(ch.buf)
	}
	if r.large {
		t.Error("large buffers after a quiet time")
	}
}

// FuzzReader compares a stream read at once with the same read octet by octet.
func FuzzReader(f *testing.F) {
	f.Add(append(message(19), message(23)...))
	f.Add(message(100)[:60])
	f.Add(append(message(4096), 0xff))
	f.Fuzz(func(t *testing.T, stream []byte) {
		a, errA := slice(bytes.NewReader(stream), wire.MaxLen)
		b, errB := slice(iotest.OneByteReader(bytes.NewReader(stream)), wire.MaxLen)
		if errA != errB || len(a) != len(b) {
			t.Fatalf("%d messages, %v; %d messages, %v", len(a), errA, len(b), errB)
		}
		for i := range a {
			if !bytes.Equal(a[i], b[i]) {
				t.Fatalf("message %d: % x, % x", i, a[i], b[i])
			}
		}
	})
}
