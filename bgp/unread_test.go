package bgp

import (
	"net"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// tcpPair is a connection through the kernel's loopback.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestUnread: before a hold timer expires, input is looked for in the kernel.
func TestUnread(t *testing.T) {
	a, b := tcpPair(t)
	if unread(b) != 0 {
		t.Fatal("something is unread before anything was sent")
	}
	if _, err := a.Write(wire.AppendKeepalive(nil)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); unread(b) != wire.HeaderLen; {
		if time.Now().After(deadline) {
			t.Fatalf("%d octets unread", unread(b))
		}
	}
	p := &peer{}
	p.conns.slots[1].c = &conn{stream: &pumps{nc: b}}
	now := time.Now()
	if !p.inputComing(now) || !p.inputComing(now.Add(inputGrace-1)) || p.inputComing(now.Add(inputGrace)) {
		t.Error("the hold timer does not wait for input that is there, or for ever")
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if unread(near) != 0 {
		t.Error("a pipe has nothing in the kernel")
	}
	setProbes(near)
	endProbes(near, time.Minute)
}

// TestWriterFailed: a session whose writer has failed waits for its reader to end it, and has
// nothing to do until then.
func TestWriterFailed(t *testing.T) {
	now := time.Now()
	s := session{pending: true, fillAt: now, conn: &conn{}}
	if s.deadline() != now {
		t.Errorf("next at %v", s.deadline())
	}
	s.conn.writeErr = net.ErrClosed
	if !s.deadline().IsZero() {
		t.Errorf("next at %v although nothing can be written", s.deadline())
	}
}
