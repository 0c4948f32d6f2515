package bgp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/scenario"
)

func TestDriverLife(t *testing.T) {
	if _, err := New(Config{AS: 65000, RouterID: addr1, Transport: &sink{}}); err == nil {
		t.Error("chance has no source")
	}
	plain, err := New(Config{AS: 65000, RouterID: addr1})
	if err != nil || plain.Driver() != nil {
		t.Fatal(plain.Driver(), err)
	}
	k := &sink{now: scenario.Epoch}
	s, err := New(Config{AS: 65000, RouterID: addr1, Transport: k, Random: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	d := s.Driver()
	if err := s.Run(context.Background()); !errors.Is(err, errDriven) {
		t.Errorf("Run: %v", err)
	}
	if d.Accept(k.conn(addr2)) || !d.Deadline().IsZero() {
		t.Error("it runs before Start")
	}
	if err := s.AddPeer(PeerConfig{Addr: addr2}); err != nil {
		t.Fatal(err)
	}
	if err := s.PathUp(PeerKey{Addr: addr2}); !errors.Is(err, ErrStopped) {
		t.Errorf("before Start: %v", err)
	}
	if err := d.Start(); err != nil || len(k.dials) != 1 {
		t.Fatalf("%d attempts to connect, %v", len(k.dials), err)
	}
	if at := d.Deadline().Sub(k.now); at <= 0 || at > dialTimeout {
		t.Errorf("an attempt that nobody answers lasts %v", at)
	}
	if err := d.Start(); !errors.Is(err, ErrRunning) {
		t.Errorf("second Start: %v", err)
	}
	late := k.conn(addr2)
	d.Stop()
	d.Stop()
	if len(k.cancelled) != 1 {
		t.Error("the attempt goes on")
	}
	if d.Dialed(k.dials[0], late, nil); !late.closed {
		t.Error("a connection that came too late is open")
	}
	d.Advance(k.now.Add(time.Hour))
	if err := d.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("Start after Stop: %v", err)
	}
	if err := s.AddPeer(PeerConfig{Addr: addr3}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddPeer after Stop: %v", err)
	}
}

// TestDriverAccept: who is not expected is not taken, nor are more than MaxPending that have
// no session.
func TestDriverAccept(t *testing.T) {
	k, s, conns := drivenHub(t, 2)
	d := s.Driver()
	if d.Accept(k.conn(netip.MustParseAddr("192.0.2.1"))) {
		t.Error("a stranger is taken")
	}
	if err := s.UpdateRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Template: PeerConfig{RouteReflectorClient: true}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, true, false} {
		if got := d.Accept(k.conn(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}))); got != want {
			t.Errorf("connection %d: taken %v", i, got)
		}
	}
	d.Closed(k.last(netip.AddrFrom4([4]byte{10, 9, 0, 0})), io.EOF)
	if !d.Accept(k.conn(netip.AddrFrom4([4]byte{10, 9, 0, 2}))) {
		t.Error("there is no room although a connection has ended")
	}
	// A configured peer takes the place of a dynamic one at once.
	k.dials = nil
	if err := s.AddPeer(PeerConfig{Addr: conns[0].remote.Addr()}); err != nil {
		t.Fatal(err)
	}
	if !conns[0].closed || len(k.dials) != 1 {
		t.Errorf("the old connection is closed %v, attempts to connect: %d", conns[0].closed, len(k.dials))
	}
}

// TestDriverTable: what is done to the table is noticed by the next call; a writer that is busy
// is handed nothing, and what comes in meanwhile is packed together.
func TestDriverTable(t *testing.T) {
	k, s, conns := drivenHub(t, 1)
	d := s.Driver()
	k.advance(d, time.Second)
	k.written(d)
	originate := func(prefix string) {
		if err := s.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(prefix)}); err != nil {
			t.Fatal(err)
		}
	}
	originate("192.0.2.0/24")
	if !d.Deadline().Equal(k.now) {
		t.Errorf("next at %v, it is %v", d.Deadline(), k.now)
	}
	conns[0].got = nil
	k.advance(d, 0)
	if len(conns[0].got) != 1 || len(k.sent) != 1 {
		t.Fatalf("%d sends", len(conns[0].got))
	}
	for _, p := range []string{"192.0.3.0/24", "192.0.4.0/24"} { // nothing was reported as written
		originate(p)
		k.advance(d, 10*time.Millisecond)
	}
	if len(conns[0].got) != 1 {
		t.Fatalf("%d sends without a report", len(conns[0].got))
	}
	k.written(d)
	if len(conns[0].got) != 2 {
		t.Fatalf("%d sends, want 2", len(conns[0].got))
	}
	k.written(d)
	originate("192.0.5.0/24")
	if at := d.Deadline().Sub(k.now); at != coalesce {
		t.Errorf("the next UPDATE goes after %v, want %v", at, coalesce)
	}
	k.advance(d, coalesce)
	if len(conns[0].got) != 3 {
		t.Errorf("%d sends, want 3", len(conns[0].got))
	}
}

// TestDriverWriteError: a failed write ends nothing until the connection is reported as ended.
func TestDriverWriteError(t *testing.T) {
	k, s, conns := drivenHub(t, 1)
	d := s.Driver()
	k.advance(d, 30*time.Second)
	broken := os.NewSyscallError("write", io.ErrClosedPipe)
	d.Sent(conns[0], broken)
	k.sent = nil
	if key := (PeerKey{Addr: conns[0].remote.Addr()}); state(s, key) != Established {
		t.Errorf("state %v", state(s, key))
	}
	d.Closed(conns[0], io.EOF)
	d.Closed(conns[0], io.EOF)
	d.Sent(conns[0], nil)
	d.Input(conns[0], wire.AppendKeepalive(nil))
	if peers := s.Peers(); len(peers) != 0 || !conns[0].closed {
		t.Errorf("%v, closed %v", peers, conns[0].closed)
	}
}

func state(s *Speaker, key PeerKey) State {
	st, _ := s.Peer(key)
	return st.State
}

// TestDriverHold: a process that was stopped takes its input before its timers, and the session
// stays; without input it ends.
func TestDriverHold(t *testing.T) {
	for _, input := range []bool{true, false} {
		k, s, conns := drivenHub(t, 1)
		d := s.Driver()
		k.now = k.now.Add(2 * time.Minute)
		if input {
			d.Input(conns[0], wire.AppendKeepalive(nil))
		}
		d.Advance(k.now)
		if ended := len(s.Peers()) == 0; ended == input {
			t.Errorf("input %v: the session has ended: %v", input, ended)
		}
	}
}

// TestDriverFraming: octets come one by one, a whole stream at once, and with a length that
// cannot be.
func TestDriverFraming(t *testing.T) {
	k, s, conns := drivenHub(t, 1)
	d := s.Driver()
	key := PeerKey{Addr: conns[0].remote.Addr()}
	stream := slices.Concat(wire.AppendKeepalive(nil), wire.AppendKeepalive(nil))
	for i := range stream {
		d.Input(conns[0], stream[i:i+1])
	}
	d.Input(conns[0], slices.Concat(stream, stream[:25]))
	d.Input(conns[0], stream[25:])
	long := bytes.Repeat(stream, 200) // longer than a buffer is as a rule, and cut within messages
	d.Input(conns[0], long[:1])
	d.Input(conns[0], long[1:len(long)-5])
	d.Input(conns[0], long[len(long)-5:])
	st, err := s.Peer(key)
	if want := uint64(1 + 2 + 4 + 400); err != nil || st.Received.Keepalive != want {
		t.Errorf("%d KEEPALIVEs, want %d; %v", st.Received.Keepalive, want, err)
	}
	events := s.Watch()
	bad := wire.AppendKeepalive(nil)
	bad[17] = wire.HeaderLen - 1
	d.Input(conns[0], slices.Concat(stream, bad, stream))
	n, err := wire.ParseNotification(conns[0].final[wire.HeaderLen:])
	if err != nil || n.Code != wire.CodeHeader || n.Subcode != wire.SubBadLength {
		t.Errorf("sent %v, %v", n, err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	buf := make([]Event, 100)
	k2, err := events.Next(over, buf)
	if err != nil || k2 == 0 || buf[k2-1].Kind != EventRemoved || !buf[k2-1].Time.Equal(k.now) {
		t.Errorf("%d events, %v: %v", k2, err, buf[:k2])
	}
	if k2, err = events.Next(over, buf); k2 != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("then %d events, %v", k2, err)
	}
	d.Stop()
	if _, err = events.Next(over, buf); !errors.Is(err, ErrClosed) {
		t.Errorf("after Stop: %v", err)
	}
}

// TestDriverOrder: peers are visited in the order of their keys.
func TestDriverOrder(t *testing.T) {
	k, s, _ := drivenHub(t, 40)
	d := s.Driver()
	k.advance(d, 30*time.Second) // all KEEPALIVEs are due
	inOrder := func(what string) {
		t.Helper()
		if len(k.sent) != 40 || !slices.IsSortedFunc(k.sent, func(a, b *sinkConn) int { return a.remote.Addr().Compare(b.remote.Addr()) }) {
			t.Errorf("%s: %d sends, not in the order of keys", what, len(k.sent))
		}
		k.written(d)
	}
	inOrder("KEEPALIVE")
	// The sessions come up again in another order, and hear of a route in this one.
	for _, c := range slices.Backward(slices.Clone(k.conns)) {
		d.Closed(c, io.EOF)
		c = k.conn(c.remote.Addr())
		if !d.Accept(c) {
			t.Fatal("not taken")
		}
		d.Input(c, openOf(c.remote.Addr(), wire.IPv4Unicast))
		d.Input(c, wire.AppendKeepalive(nil))
		for len(k.sent) > 0 {
			k.written(d)
		}
	}
	k.advance(d, time.Second)
	if err := s.Originate(rib.LocalPath{Prefix: netip.MustParsePrefix("192.0.2.0/24")}); err != nil {
		t.Fatal(err)
	}
	inOrder("UPDATE")
	events := s.Watch()
	buf := make([]Event, 1000)
	_, _ = events.Next(context.Background(), buf)
	s.Shutdown("")
	n, _ := events.Next(context.Background(), buf)
	var down []PeerKey
	for _, e := range buf[:n] {
		if e.Kind == EventDown {
			down = append(down, e.Peer)
		}
	}
	if len(down) != 40 || !slices.IsSortedFunc(down, PeerKey.compare) {
		t.Errorf("%d peers, in the order %v", len(down), down)
	}
}

// TestDriverReentered: a transport that calls back is a mistake of the program.
func TestDriverReentered(t *testing.T) {
	k, s, conns := drivenHub(t, 1)
	conns[0].onSend = func() { s.Driver().Sent(conns[0], nil) }
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	k.advance(s.Driver(), 30*time.Second)
}

// TestDriverLinkDown: a link that goes down ends a connection that is not Established yet, without a
// word, and the next attempt follows. Nothing else would end it for minutes, as the peer has given up when
// the link is back.
func TestDriverLinkDown(t *testing.T) {
	for _, want := range []State{OpenSent, OpenConfirm} {
		k, s, _ := drivenHub(t, 1)
		d := s.Driver()
		if err := s.AddPeer(PeerConfig{Addr: addr2, Interface: "swp1"}); err != nil {
			t.Fatal(err)
		}
		a, c := k.dials[0], k.conn(addr2)
		d.Dialed(a, c, nil)
		if want == OpenConfirm {
			d.Input(c, openOf(addr2, wire.IPv4Unicast))
		}
		if got := state(s, a.Peer); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		if n := s.LinkDown("swp1"); n != 1 {
			t.Errorf("%v: %d peers behind the interface", want, n)
		}
		if !c.closed || len(c.final) != 0 {
			t.Errorf("%v: closed %v after %x", want, c.closed, c.final)
		}
		if st, _ := s.Peer(a.Peer); st.LastError == nil || !errors.Is(st.LastError, errLinkDown) {
			t.Errorf("%v: %v", want, st.LastError)
		}
		k.advance(d, time.Second)
		if len(k.dials) < 2 {
			t.Errorf("%v: no other attempt to connect", want)
		}
	}
}

// TestDriverAddresses: an attempt says where from and where to, with zone and interface; who
// connects is known by its address in whatever form.
func TestDriverAddresses(t *testing.T) {
	k, s, _ := drivenHub(t, 4)
	d := s.Driver()
	near := netip.MustParseAddr("fe80::1%swp1")
	far := netip.MustParseAddr("fe80::2%swp1")
	for _, c := range []PeerConfig{
		{Addr: far, LocalAddr: near, Interface: "swp1", Port: 1179},
		{Addr: netip.MustParseAddr("192.0.2.9"), Passive: true},
	} {
		if err := s.AddPeer(c); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.dials) != 1 {
		t.Fatalf("%d attempts to connect", len(k.dials))
	}
	a := k.dials[0]
	if a.Local.Addr() != near || a.Local.Port() != 0 || a.Remote != netip.AddrPortFrom(far, 1179) || a.Interface != "swp1" || a.After != nil {
		t.Errorf("%+v", a)
	}
	c := k.conn(far)
	c.local = netip.AddrPortFrom(near, Port)
	mapped := k.conn(netip.MustParseAddr("::ffff:192.0.2.9"))
	if !d.Accept(c) || !d.Accept(mapped) {
		t.Error("not taken")
	}
	d.Input(c, openOf(addr2, wire.IPv6Unicast))
	d.Input(c, wire.AppendKeepalive(nil))
	if key := a.Peer; state(s, key) != Established {
		t.Errorf("%v: %v", key, state(s, key))
	}
	if len(k.cancelled) != 1 {
		t.Error("our attempt goes on beside the session")
	}
	// The next attempt waits for the end of this connection.
	if err := s.Reset(a.Peer, "", false); err != nil {
		t.Fatal(err)
	}
	if !c.closed || len(c.final) == 0 || len(k.dials) != 2 || k.dials[1].After != Connection(c) {
		t.Errorf("closed %v after %x; %d attempts", c.closed, c.final, len(k.dials))
	}
	if err := s.PathDown(a.Peer, PathFailureBFDDown); err != nil {
		t.Error(err)
	}
	if n := s.LinkDown("swp1"); n != 1 {
		t.Errorf("%d peers behind the interface", n)
	}
}
