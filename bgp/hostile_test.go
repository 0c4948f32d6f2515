package bgp

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/bgp/bgptest"
	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/bgp/wire"
)

// rawPeer is a peer made by hand.
type rawPeer struct {
	net.Conn
	t *testing.T
}

// raw connects from own to the speaker at addr1.
func raw(t *testing.T, n *bgptest.Network, own netip.Addr) *rawPeer {
	t.Helper()
	c, err := n.Dialer(everybody)(context.Background(), netip.AddrPortFrom(own, 50000), netip.AddrPortFrom(addr1, Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &rawPeer{c, t}
}

func (p *rawPeer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// message reads one message.
func (p *rawPeer) message() (wire.MessageType, []byte) {
	p.t.Helper()
	head := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(p, head); err != nil {
		return 0, nil
	}
	h, err := wire.ParseHeader(head, wire.MaxExtendedLen)
	if err != nil {
		p.t.Fatal(err)
	}
	body := make([]byte, h.BodyLen())
	if _, err := io.ReadFull(p, body); err != nil {
		p.t.Fatal(err)
	}
	return h.Type, body
}

// establish brings the session up by hand.
func (p *rawPeer) establish(id netip.Addr) {
	p.t.Helper()
	if typ, _ := p.message(); typ != wire.TypeOpen {
		p.t.Fatalf("got %v", typ)
	}
	o := wire.Open{AS: 65000, ID: id, HoldTime: 90 * time.Second}
	o.Capabilities.AS4 = true
	o.Capabilities.Families = bothFamilies
	p.send(o.Append(nil))
	if typ, body := p.message(); typ != wire.TypeKeepalive {
		p.t.Fatalf("got %v % x", typ, body)
	}
	p.send(wire.AppendKeepalive(nil))
}

// discard reads and forgets.
func (p *rawPeer) discard() { go io.Copy(io.Discard, p) }

// notification reads up to a NOTIFICATION.
func (p *rawPeer) notification() wire.Notification {
	for {
		typ, body := p.message()
		if typ == 0 {
			return wire.Notification{}
		}
		if typ == wire.TypeNotification {
			n, _ := wire.ParseNotification(body)
			return n
		}
	}
}

// watchdog is a good client whose session must not suffer from anything.
func watchdog(t *testing.T, n *bgptest.Network) (rr, good *node) {
	rr = reflector(t, n, GracefulRestart{})
	good = run(t, n, addr2, Config{})
	good.peer(PeerConfig{Addr: addr1, Families: bothFamilies})
	good.originate("192.0.2.0/24")
	settle(time.Second)
	good.mustBe(addr1, Established)
	return rr, good
}

// goroutines counts exactly, which runtime.NumGoroutine does not while goroutines
// end.
func goroutines() int {
	buf := make([]byte, 4<<20)
	return bytes.Count(buf[:runtime.Stack(buf, true)], []byte("\ngoroutine ")) + 1
}

// TestConnectsOften: somebody connects 200 times and says nothing.
func TestConnectsOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, good := watchdog(t, n)
		before := goroutines()
		for range 200 {
			raw(t, n, addr3).discard()
		}
		settle(2 * time.Second)
		if more := goroutines() - before; more > 20 {
			t.Errorf("%d goroutines more", more)
		}
		if len(rr.Peers()) != 2 {
			t.Errorf("%d peers", len(rr.Peers()))
		}
		for _, l := range rr.listeners.all {
			if len(l.pending) > 2 {
				t.Errorf("%d connections pending", len(l.pending))
			}
		}
		good.originate("192.0.2.128/25")
		settle(10 * time.Millisecond)
		rr.has("192.0.2.128/25", 1)
		good.mustBe(addr1, Established)
	})
}

// TestManyStrangers: more peers than a range admits.
func TestManyStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr := run(t, n, addr1, Config{MaxDynamicPeers: 10, MaxPending: 8})
		_ = rr.AddRange(RangeConfig{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Template: PeerConfig{}})
		for i := range 100 {
			raw(t, n, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})).discard()
		}
		settle(time.Second)
		if k := len(rr.Peers()); k > 8 {
			t.Errorf("%d peers of 8 pending connections", k)
		}
		// They say nothing: after four minutes there is room again.
		settle(5 * time.Minute)
		if k := len(rr.Peers()); k != 0 {
			t.Errorf("%d peers are left", k)
		}
	})
}

// TestOctetASecond: a client sends its messages an octet a second.
func TestOctetASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, good := watchdog(t, n)
		p := raw(t, n, addr3)
		p.discard()
		o := wire.Open{AS: 65000, ID: addr3, HoldTime: 90 * time.Second}
		go func() {
			for _, b := range append(o.Append(nil), wire.AppendKeepalive(nil)...) {
				if _, err := p.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		settle(2 * time.Minute)
		rr.mustBe(addr3, Established)
		good.mustBe(addr1, Established)
		settle(2 * time.Minute) // its hold timer
		if rr.state(addr3) == Established {
			t.Error("still Established")
		}
		good.mustBe(addr1, Established)
	})
}

// TestNeverReads: a client sends KEEPALIVEs and never reads. The send hold timer
// ends it; until then nobody else notices.
func TestNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, good := watchdog(t, n)
		p := raw(t, n, addr3)
		p.establish(addr3)
		go func() {
			for {
				if _, err := p.Write(wire.AppendKeepalive(nil)); err != nil {
					return
				}
				time.Sleep(30 * time.Second)
			}
		}()
		settle(time.Second)
		rr.mustBe(addr3, Established)
		for i := range 30_000 { // more than is on its way to who does not read
			_ = good.Table().Originate(rib.LocalPath{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)})
		}
		settle(time.Second)
		rr.has("10.9.7.1/32", 1)
		settle(7 * time.Minute)
		rr.mustBe(addr3, Established)
		settle(2 * time.Minute)
		if rr.state(addr3) == Established {
			t.Error("the send hold timer did not end the session")
		}
		good.mustBe(addr1, Established)
	})
}

// TestGarbage: what is not BGP ends its own connection only, with the NOTIFICATION
// that the RFCs want.
func TestGarbage(t *testing.T) {
	keepalive := wire.AppendKeepalive(nil)
	long := append([]byte(nil), keepalive...)
	long[16], long[17] = 0xff, 0xff
	short := append([]byte(nil), keepalive...)
	short[17] = 18
	unknown := append([]byte(nil), keepalive...)
	unknown[18] = 9
	marker := append([]byte(nil), keepalive...)
	marker[3] = 0
	update := append(append([]byte(nil), keepalive...), 0, 9, 0, 0)
	update[17], update[18] = 23, byte(wire.TypeUpdate)
	for _, c := range []struct {
		name          string
		b             []byte
		code, subcode int
	}{
		{"length too long", long, 1, 2},
		{"length too short", short, 1, 2},
		{"unknown type", unknown, 1, 3},
		{"marker", marker, 1, 1},
		{"malformed UPDATE", update, 3, 1},
		{"second OPEN", (&wire.Open{AS: 65000, ID: addr3, HoldTime: time.Minute}).Append(nil), 5, 3},
		{"refresh of three octets", func() []byte {
			b := wire.RouteRefresh{Family: wire.IPv4Unicast}.Append(nil)
			b[17]--
			return b[:len(b)-1]
		}(), 7, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &bgptest.Network{}
				rr, good := watchdog(t, n)
				p := raw(t, n, addr3)
				p.establish(addr3)
				got := make(chan wire.Notification, 1)
				go func() { got <- p.notification() }()
				p.send(c.b)
				if x := <-got; int(x.Code) != c.code || int(x.Subcode) != c.subcode {
					t.Errorf("got %v, want %d/%d", x, c.code, c.subcode)
				}
				settle(time.Second)
				good.mustBe(addr1, Established)
				if st, err := rr.Peer(PeerKey{Addr: addr3}); err == nil && st.State == Established {
					t.Error("still Established")
				}
			})
		})
	}
}

// TestMaxPrefixes: a peer that announces too much is sent away for a while.
func TestMaxPrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		a, b := run(t, n, addr1, Config{}), run(t, n, addr2, Config{})
		a.peer(PeerConfig{Addr: addr2, MaxPrefixes: 2, MaxPrefixesHold: 30 * time.Second})
		b.peer(PeerConfig{Addr: addr1})
		b.originate("192.0.2.0/24", "198.51.100.0/24")
		settle(time.Second)
		a.mustBe(addr2, Established)
		b.originate("203.0.113.0/24")
		settle(time.Second)
		if a.state(addr2) == Established {
			t.Fatal("still Established")
		}
		a.has("192.0.2.0/24", 0)
		st, _ := b.Peer(PeerKey{Addr: addr1})
		if st.LastReceived == nil {
			t.Fatalf("%+v", st)
		}
		settle(20 * time.Second)
		if a.state(addr2) == Established {
			t.Fatal("back too early")
		}
		b.Table().Withdraw(netip.MustParsePrefix("203.0.113.0/24"), 0)
		settle(40 * time.Second)
		a.mustBe(addr2, Established)
		a.has("192.0.2.0/24", 1)
	})
}

// TestHoldTimerTakesInputFirst: the owner was away for longer than the hold time
// while the peer's KEEPALIVEs waited: the session lives.
func TestHoldTimerTakesInputFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &bgptest.Network{}
		rr, _ := watchdog(t, n)
		p := raw(t, n, addr3)
		p.establish(addr3)
		p.discard()
		settle(time.Second)
		own, err := rr.find(PeerKey{Addr: addr3})
		if err != nil {
			t.Fatal(err)
		}
		_ = own.run.do(func(time.Time) { time.Sleep(60 * time.Second) })
		go own.run.do(func(time.Time) { time.Sleep(50 * time.Second) })
		settle(10 * time.Second)
		p.send(wire.AppendKeepalive(nil))
		settle(45 * time.Second)
		rr.mustBe(addr3, Established)
	})
}
