package bgptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	a, b, c  = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::3")
	everyone netip.Addr
	port     = netip.AddrPortFrom(b, 179)
)

// listen makes b accept; what it accepts comes in the channel.
func listen(t *testing.T, n *Network) chan net.Conn {
	l, err := n.Listen(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() { l.Close() })
	return accepted
}

// dial connects from a host to b.
func dial(t *testing.T, n *Network, from netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return n.Dialer(from)(ctx, netip.AddrPort{}, port)
}

// connected returns both ends of a connection from a host to b.
func connected(t *testing.T, n *Network, from netip.Addr, accepted chan net.Conn) (near, far net.Conn) {
	t.Helper()
	near, err := dial(t, n, from)
	if err != nil {
		t.Fatal(err)
	}
	return near, <-accepted
}

// read returns what one Read yields within a second, in words.
func read(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "nothing"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case err != nil:
		return err.Error()
	}
	return string(buf[:n])
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T, n *Network, accepted chan net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &Network{}
		f(t, n, listen(t, n))
	})
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestConn(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		near, far := connected(t, n, a, accepted)
		expect(t, "addresses", fmt.Sprint(near.LocalAddr(), near.RemoteAddr(), far.LocalAddr(), far.RemoteAddr()),
			"192.0.2.1:40000 192.0.2.2:179 192.0.2.2:179 192.0.2.1:40000")
		near.Write([]byte("hello"))
		near.Write([]byte(", you"))
		expect(t, "two writes", read(far), "hello, you")
		expect(t, "no more", read(far), "nothing")
		far.Write([]byte("bye"))
		far.Close()
		expect(t, "what was written before Close", read(near), "bye")
		expect(t, "the end", read(near), "EOF")
		if _, err := near.Write([]byte("?")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write to who is gone: %v", err)
		}
		expect(t, "after Close", read(far), net.ErrClosed.Error())

		// A reader that does not read makes the writer wait.
		near, far = connected(t, n, a, accepted)
		_ = near.SetWriteDeadline(time.Now().Add(time.Minute))
		k, err := near.Write(make([]byte, window+1))
		if k != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d octets written: %v", k, err)
		}
		near.(*Conn).CloseWrite()
		_ = far.SetDeadline(time.Time{})
		if got, err := io.ReadAll(far); len(got) != window || err != nil {
			t.Errorf("%d octets, %v", len(got), err)
		}
	})
}

func TestCut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		near, far := connected(t, n, a, accepted)
		other, otherFar := connected(t, n, c, accepted)
		near.Write([]byte("before"))
		n.Cut(b, a) // in either order
		near.Write([]byte(" and after"))
		far.Write([]byte("back"))
		expect(t, "there", read(far), "nothing")
		expect(t, "back", read(near), "nothing")
		other.Write([]byte("other"))
		expect(t, "another host", read(otherFar), "other")
		began := time.Now()
		if _, err := dial(t, n, a); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("a dial: %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { n.Join(a, b) })
		late, err := dial(t, n, a)
		if err != nil {
			t.Errorf("a dial that is answered late: %v", err)
		}
		late.Close()
		expect(t, "there, late", read(far), "before and after")
		expect(t, "back, late", read(near), "back")

		n.Cut(everyone, everyone)
		other.Close() // nobody hears of it
		expect(t, "the end of the other one", read(otherFar), "nothing")
		n.Join(everyone, everyone)
		expect(t, "the end, late", read(otherFar), "EOF")
	})
}

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		near, far := connected(t, n, a, accepted)
		other, otherFar := connected(t, n, c, accepted)
		near.Write([]byte("lost"))
		n.Reset(a, everyone)
		expect(t, "there", read(far), "reset")
		expect(t, "back", read(near), "reset")
		if _, err := far.Write([]byte("?")); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		other.Write([]byte("other"))
		expect(t, "another host", read(otherFar), "other")
		if _, err := dial(t, n, a); err != nil {
			t.Error(err)
		}
	})
}

func TestStall(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		near, far := connected(t, n, a, accepted)
		n.Stall(a, b, 2500*time.Millisecond)
		near.Write([]byte("later"))
		far.Write([]byte("now"))
		expect(t, "back", read(near), "now")
		expect(t, "for a second", read(far), "nothing")
		expect(t, "for two", read(far), "nothing")
		expect(t, "then", read(far), "later")
	})
}

func TestRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		refused := func(what string, want bool) {
			t.Helper()
			if _, err := dial(t, n, a); errors.Is(err, syscall.ECONNREFUSED) != want {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("who listens", false)
		n.Refuse(b, true)
		refused("who listens, and refuses", true)
		n.Refuse(b, false)
		refused("once more", false)
		if _, err := n.Listen(t.Context(), port); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v", err)
		}
		if _, err := n.Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:179")); err == nil {
			t.Error("a listener at no address")
		}
		if len(n.Dials()) != 3 {
			t.Errorf("%d dials", len(n.Dials()))
		}
	})
}

// With Segment octets come in order, in pieces of many sizes.
func TestSegment(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network, accepted chan net.Conn) {
		n.Segment(1)
		near, far := connected(t, n, a, accepted)
		sent := make([]byte, 1<<20)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range sent {
			sent[i] = byte(r.Uint32())
		}
		go func() {
			near.Write(sent)
			near.Close()
		}()
		var got []byte
		sizes := map[int]bool{}
		buf := make([]byte, 1<<17)
		for {
			k, err := far.Read(buf)
			if got = append(got, buf[:k]...); err != nil {
				break
			}
			sizes[k] = true
		}
		if !bytes.Equal(got, sent) || len(sizes) < 2 {
			t.Errorf("%d octets of %d, in pieces of %d sizes", len(got), len(sent), len(sizes))
		}

		n.Segment(1, 1, 3)
		near, far = connected(t, n, a, accepted)
		near.Write([]byte("in small pieces"))
		near.Close()
		var pieces []string
		for piece := read(far); piece != "EOF"; piece = read(far) {
			pieces = append(pieces, piece)
			if len(piece) > 3 {
				t.Errorf("a piece is %q", piece)
			}
		}
		if strings.Join(pieces, "") != "in small pieces" {
			t.Errorf("%q", pieces)
		}
	})
}
