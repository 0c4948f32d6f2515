package bfd

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/sock"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// puppet is a scripted peer: it sends raw packets from namespace B and sees what
// comes back, with its TTL, port and class.
type puppet struct {
	t      testing.TB
	p      pair
	server *trial
	cfg    SessionConfig
	out    map[string]*net.UDPConn // by local address
	in     *net.UDPConn
	seen   heard
}

// heard is a packet of ours as it arrived.
type heard struct {
	Packet
	from  netip.AddrPort
	ttl   int
	class int
	at    time.Time // by the kernel's clock: the test may be late to read it
}

func newPuppet(t testing.TB, p pair, change func(*SessionConfig)) *puppet {
	t.Helper()
	u := &puppet{t: t, p: p, server: newServer(t), cfg: fast(p.key("10.9.0.2")), out: map[string]*net.UDPConn{}}
	if change != nil {
		change(&u.cfg)
	}
	port := Port
	if u.cfg.Multihop {
		port = MultihopPort
	}
	p.b.Do(func() (err error) {
		u.in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(u.cfg.Peer, uint16(port))))
		return err
	})
	t.Cleanup(func() { u.in.Close() })
	level, options := unix.IPPROTO_IP, []int{unix.IP_RECVTTL, unix.IP_RECVTOS}
	if u.cfg.Peer.Is6() {
		level, options = unix.IPPROTO_IPV6, []int{unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS}
	}
	raw, _ := u.in.SyscallConn()
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		for _, o := range options {
			_ = unix.SetsockoptInt(int(fd), level, o, 1)
		}
	})
	p.a.Exec("ping", "-c", "5", "-W", "1", "-i", "0.3", "-w", "5", u.cfg.Peer.String()) // address resolution must not hold packets up
	u.server.add(u.cfg)
	return u
}

// sender is a socket of the puppet with a TTL.
func (u *puppet) sender(from string, ttl int) *net.UDPConn {
	c := u.out[from]
	if c == nil {
		u.p.b.Do(func() (err error) {
			c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)))
			return err
		})
		u.out[from] = c
		u.t.Cleanup(func() { c.Close() })
	}
	raw, _ := c.SyscallConn()
	_ = raw.Control(func(fd uintptr) { _ = sock.SetTTL(int(fd), u.cfg.Peer.Is6(), ttl) })
	return c
}

// send sends octets as the peer would.
func (u *puppet) send(b []byte) {
	u.t.Helper()
	u.sendFrom(netip.AddrPortFrom(u.cfg.Peer, 50001).String(), 255, b)
}

func (u *puppet) sendFrom(from string, ttl int, b []byte) {
	u.t.Helper()
	port := uint16(Port)
	if u.cfg.Multihop {
		port = MultihopPort
	}
	if _, err := u.sender(from, ttl).WriteToUDPAddrPort(b, netip.AddrPortFrom(u.cfg.Local, port)); err != nil {
		u.t.Fatal(err)
	}
}

// packet is a sound packet of the peer: discriminator 9, slow enough not to have
// to be repeated.
func (u *puppet) packet(s State) Packet {
	return Packet{State: s, Multiplier: 100, MyDiscr: 9, YourDiscr: u.seen.MyDiscr, DesiredMinTx: time.Second, RequiredMinRx: ms(100)}
}

func (u *puppet) sendPacket(p Packet) { u.t.Helper(); u.send(p.append(nil)) }

// next receives the next packet of ours.
func (u *puppet) next(limit time.Duration) (heard, error) {
	b, oob := make([]byte, 300), make([]byte, 200)
	_ = u.in.SetReadDeadline(time.Now().Add(limit))
	n, oobn, _, from, err := u.in.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		return heard{}, err
	}
	p, err := ParsePacket(b[:n])
	if err != nil {
		u.t.Fatalf("sent %x: %v", b[:n], err)
	}
	h := heard{Packet: p, from: from, at: time.Now()}
	list, _ := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range list {
		v := int(m.Data[0])
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS:
			h.at = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		case m.Header.Type == unix.IP_TTL || m.Header.Type == unix.IPV6_HOPLIMIT:
			h.ttl = int(binary.NativeEndian.Uint32(m.Data))
		case m.Header.Type == unix.IP_TOS || m.Header.Type == unix.IPV6_TCLASS:
			h.class = v
		}
	}
	u.seen = h
	return h, nil
}

// until receives until a packet has the property.
func (u *puppet) until(what string, ok func(heard) bool) heard {
	u.t.Helper()
	for end := time.Now().Add(nstest.Patience); time.Now().Before(end); {
		h, err := u.next(nstest.Patience)
		if err != nil {
			break
		}
		if ok(h) {
			return h
		}
	}
	u.t.Fatalf("did not see %s; last %+v", what, u.seen)
	return heard{}
}

// none wants no packet at all for a while.
func (u *puppet) none(d time.Duration) {
	u.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if h, err := u.next(time.Until(end)); err == nil {
			u.t.Errorf("unexpected packet %+v", h)
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			u.t.Fatal(err)
		}
	}
}

// drain drops what has arrived.
func (u *puppet) drain() {
	for {
		if _, err := u.next(time.Millisecond); err != nil {
			return
		}
	}
}

// up brings the session Up and ends its Poll Sequence.
func (u *puppet) up() {
	u.t.Helper()
	u.until("anything", func(heard) bool { return true })
	u.sendPacket(u.packet(StateInit))
	u.until("Up", func(h heard) bool { return h.State == StateUp && h.Poll })
	f := u.packet(StateUp)
	f.Final = true
	u.sendPacket(f)
	u.until("the end of the Poll Sequence", func(h heard) bool { return !h.Poll })
}

// TestDiscards: RFC 5880, Section 6.8.6, and RFC 5881, Section 5: each of these
// packets says Down and would end the session if it were not discarded.
func TestDiscards(t *testing.T) { nstest.Steady(t, stillness, testDiscards) }

func testDiscards(t testing.TB) {
	u := newPuppet(t, newPair(t), nil)
	u.up()
	edit := func(f func(b []byte) []byte) func() {
		return func() { p := u.packet(StateDown); u.send(f(p.append(nil))) }
	}
	from := func(addr string, ttl int, f func(*Packet)) func() {
		return func() { p := u.packet(StateDown); f(&p); u.sendFrom(addr, ttl, p.append(nil)) }
	}
	as := func(*Packet) {}
	u.p.b.IP("addr add 10.9.0.3/24 dev v0")
	for _, c := range []struct {
		name string
		send func()
	}{
		{"version 0", edit(func(b []byte) []byte { b[0] = 0; return b })},
		{"version 2", edit(func(b []byte) []byte { b[0] = 2 << 5; return b })},
		{"length below 24", edit(func(b []byte) []byte { b[3] = 23; return b })},
		{"length above the payload", edit(func(b []byte) []byte { b[3] = 25; return b })},
		{"A bit and length below 26", edit(func(b []byte) []byte { b[1] |= 4; b[3] = 25; return append(b, 0) })},
		{"payload below 24", edit(func(b []byte) []byte { return b[:20] })},
		{"empty datagram", edit(func([]byte) []byte { return nil })},
		{"detect mult 0", edit(func(b []byte) []byte { b[2] = 0; return b })},
		{"M bit", edit(func(b []byte) []byte { b[1] |= 1; return b })},
		{"my discriminator 0", edit(func(b []byte) []byte { clear(b[4:8]); return b })},
		{"your discriminator of nobody", edit(func(b []byte) []byte { b[8] ^= 1; return b })},
		{"your discriminator 0 and state Init", edit(func(b []byte) []byte { clear(b[8:12]); b[1] = byte(StateInit) << 6; return b })},
		{"your discriminator 0 and state Up", edit(func(b []byte) []byte { clear(b[8:12]); b[1] = byte(StateUp) << 6; return b })},
		{"your discriminator 0 from an address without session", from("10.9.0.3:50001", 255, func(p *Packet) { p.YourDiscr = 0 })},
		{"A bit without authentication in use", edit(func(b []byte) []byte {
			a := authState{Auth: Auth{Type: AuthMD5, Keys: []AuthKey{{1, "x"}}}}
			return a.sign(b, 0)
		})},
		{"TTL 254", from("10.9.0.2:50001", 254, as)},
		{"TTL 1", from("10.9.0.2:50001", 1, as)},
		{"TTL 254, your discriminator 0", from("10.9.0.2:50001", 254, func(p *Packet) { p.YourDiscr = 0 })},
	} {
		c.send()
		ping := u.packet(StateUp) // a Poll shows that what came before it has been dealt with
		ping.Poll = true
		u.sendPacket(ping)
		if h := u.until("F", func(h heard) bool { return h.Final }); h.State != StateUp {
			t.Errorf("%s: not discarded, now %v", c.name, h.State)
			return
		}
	}
	if st := u.server.status(u.cfg.Key); st.Downs != 0 {
		t.Errorf("%+v", st)
	}

	t.Log("and these are taken")
	for _, c := range []struct {
		name string
		send func()
	}{
		{"octets beyond Length (RFC 9764)", func() { p := u.packet(StateUp); p.Poll = true; u.send(append(p.append(nil), make([]byte, 400)...)) }},
		{"another source port", func() { p := u.packet(StateUp); p.Poll = true; u.sendFrom("10.9.0.2:60000", 255, p.append(nil)) }},
		{"another source address with our discriminator (RFC 5880, 6.3)", func() { p := u.packet(StateUp); p.Poll = true; u.sendFrom("10.9.0.3:50001", 255, p.append(nil)) }},
	} {
		c.send()
		if h := u.until("F after "+c.name, func(h heard) bool { return h.Final }); h.State != StateUp || h.Poll {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
}

// TestSent: RFC 5881, Sections 4 and 5: TTL 255, source port, the same one always;
// CS6; RFC 5880, Section 6.8.7: jitter between 75 and 100 %, slow before Up, F
// without P and at once, silence where it is due.
func TestSent(t *testing.T) {
	for _, family := range []string{"10.9.0.2", "fd09::2"} {
		t.Run(family, func(t *testing.T) {
			nstest.Steady(t, 5*time.Millisecond, func(t testing.TB) {
				p := newPair(t)
				u := newPuppet(t, p, func(c *SessionConfig) { c.Key = p.key(family) })
				first := u.until("anything", func(heard) bool { return true })
				second := u.until("another", func(heard) bool { return true })
				if gap := second.at.Sub(first.at); gap < ms(740) || gap > ms(1100) {
					t.Errorf("%v apart while Down", gap)
				}
				if first.State != StateDown || first.YourDiscr != 0 || first.MyDiscr == 0 || first.DesiredMinTx < time.Second || first.Multiplier != 3 || first.Demand || first.ControlIndependent || first.RequiredMinEchoRx != 0 {
					t.Errorf("first packet %+v", first)
				}
				u.sendPacket(u.packet(StateInit))
				up := u.until("Up", func(h heard) bool { return h.State == StateUp })
				if !up.Poll || up.DesiredMinTx != ms(100) || up.YourDiscr != 9 {
					t.Errorf("no Poll Sequence on the way up: %+v", up)
				}
				f := u.packet(StateUp)
				f.Final = true
				u.sendPacket(f)
				last := u.until("the end of the Poll Sequence", func(h heard) bool { return !h.Poll })
				for range 15 {
					h := u.until("a packet", func(heard) bool { return true })
					if gap := h.at.Sub(last.at); gap < ms(70) || gap > ms(120) {
						t.Errorf("gap %v at 100 ms", gap)
					}
					if h.ttl != 255 || h.class != cs6 || h.from.Port() < 49152 || h.from != first.from {
						t.Errorf("TTL %d, class %x, from %v, before %v", h.ttl, h.class, h.from, first.from)
					}
					last = h
				}
				t.Log("a Poll is answered at once")
				q := u.packet(StateUp)
				q.Poll = true
				begin := time.Now()
				u.sendPacket(q)
				if h := u.until("F", func(h heard) bool { return h.Final }); h.Poll || h.at.Sub(begin) > ms(20) {
					t.Errorf("after %v: %+v", h.at.Sub(begin), h)
				}
				t.Log("remote Required Min RX: slower, then silence, and F all the same")
				q = u.packet(StateUp)
				q.RequiredMinRx = ms(400)
				u.sendPacket(q)
				time.Sleep(ms(10))
				u.drain()
				u.none(ms(180))
				q.RequiredMinRx = 0
				u.sendPacket(q)
				time.Sleep(ms(10))
				u.drain()
				u.none(ms(900))
				q.Poll = true
				u.sendPacket(q)
				u.until("F", func(h heard) bool { return h.Final })
				t.Log("smaller again: re-armed at once")
				q = u.packet(StateUp)
				begin = time.Now()
				u.sendPacket(q)
				if h := u.until("a packet", func(heard) bool { return true }); h.at.Sub(begin) > ms(120) {
					t.Errorf("after %v", h.at.Sub(begin))
				}
				t.Log("Demand")
				q.Demand = true
				u.sendPacket(q)
				time.Sleep(ms(10))
				u.drain()
				u.none(ms(400))
				t.Log("neighbour down is answered at once")
				d := u.packet(StateDown)
				d.Diag = DiagExpired
				begin = time.Now()
				u.sendPacket(d)
				if h := u.until("Down", func(h heard) bool { return h.State == StateDown }); h.Diag != DiagNeighborDown || h.at.Sub(begin) > ms(20) || h.DesiredMinTx < time.Second {
					t.Errorf("after %v: %+v", h.at.Sub(begin), h)
				}
			})
		})
	}
}

// TestAdminDownWire: RFC 5880, Sections 6.8.16 and 6.8.6: AdminDown is told for a
// detection time at least, answers no Poll, and takes nothing in.
func TestAdminDownWire(t *testing.T) { nstest.Steady(t, stillness, testAdminDownWire) }

func testAdminDownWire(t testing.TB) {
	u := newPuppet(t, newPair(t), nil)
	u.up()
	c := u.cfg
	c.AdminDown = true
	u.server.add(c)
	for range 3 {
		if h := u.until("AdminDown", func(h heard) bool { return h.State == StateAdminDown }); h.Diag != DiagAdminDown {
			t.Errorf("%+v", h)
		}
	}
	q := u.packet(StateUp)
	q.Poll = true
	u.sendPacket(q)
	for end := time.Now().Add(ms(500)); time.Now().Before(end); {
		if h, err := u.next(ms(100)); err == nil && (h.Final || h.State != StateAdminDown) {
			t.Errorf("%+v", h)
		}
	}
}

// TestMultihopTTL: RFC 5883, Section 5: any TTL, or no less than configured.
func TestMultihopTTL(t *testing.T) { nstest.Steady(t, stillness, testMultihopTTL) }

func testMultihopTTL(t testing.TB) {
	p := newPair(t)
	u := newPuppet(t, p, func(c *SessionConfig) { c.Key = p.key("10.99.0.2"); c.MinTTL = 200 })
	u.up()
	q := u.packet(StateDown)
	u.sendFrom("10.99.0.2:50001", 199, q.append(nil))
	q = u.packet(StateUp)
	q.Poll = true
	u.sendFrom("10.99.0.2:50001", 200, q.append(nil))
	if h := u.until("F", func(h heard) bool { return h.Final }); h.State != StateUp {
		t.Errorf("%+v", h)
	}
}
