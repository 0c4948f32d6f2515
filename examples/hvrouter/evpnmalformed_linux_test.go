package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestEVPNMalformed: a scripted reflector sends routes of EVPN that nobody should, each between two good ones. The session
// stays, the kernel has the good ones, nothing that came before is lost, and the session's counters and an event say what was
// wrong. What cannot be taken apart resets the session (RFC 7606, Section 5.3).
func TestEVPNMalformed(t *testing.T) {
	l := &overlayLAN{t: t, dir: t.TempDir()}
	if testing.Short() {
		t.Skip("needs network namespaces and seconds; not with -short")
	}
	l.hub, l.rr = nstest.New(t, "hub"), nstest.New(t, "rr")
	l.hub.IP("link add lan type bridge mcast_snooping 0")
	l.hub.IP("link set lan up")
	l.join(l.rr, 126)
	rr := scriptReflector(t, l.rr)
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv1")}
	l.join(h.hv, 1)
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	before, after, _ := strings.Cut(evpnConfig, "bfd: ")
	_, after, _ = strings.Cut(after, "\n")
	h.write("hv.yaml", strings.ReplaceAll(before+"bfd: {process: off}\n"+after, "NO", "1"))
	t.Cleanup(h.end)
	h.run()
	conn := rr.accept()
	established(h)

	// NLRI in hexadecimal, MACs of 48 bits but where they are not.
	const rd, esi, tag, label = "0001 0a000002 0064", "00000000000000000000", "00000000", "000064"
	const garbage = "ff" + "deadbeefdeadbeefde"
	macIP := func(esi, mac, rest string) string {
		return routeOf("02", rd+esi+tag+"30"+mac+rest)
	}
	good := func(n int) string { return macIP(esi, fmt.Sprintf("0200000009%02x", n), "00"+label) }
	entry := func(n int) string { return fmt.Sprintf("02:00:00:00:09:%02x dst 172.22.2.9 self", n) }
	has := func(what string) bool {
		return strings.Contains(strings.Join(entries(h.hv, "vx100", "br100"), "\n"), what)
	}
	evpnOf := func() (f api.FamilyRoutes, since time.Time) {
		var all []api.Session
		if err := h.ask("/v1/sessions", &all); err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		for _, f = range all[0].Families {
			if f.Family == "evpn" {
				return f, all[0].Since
			}
		}
		t.Fatalf("%+v", all)
		return f, since
	}
	conn.send(reach(plainAttrs(true), good(1)))
	h.wait("a good route", func() bool { return has(entry(1)) })
	_, since := evpnOf()

	for i, test := range []struct {
		name, nlri string
		attrs      []byte
		counted    bool // the session counts it as refused
		withdrawn  int  // which of the good ones it withdraws
	}{
		{name: "type 2 of 255 octets", nlri: routeOf("02", strings.Repeat("55", 255)), counted: true},
		{name: "type 2, empty", nlri: routeOf("02", ""), counted: true},
		{name: "type 2, MAC of 40 bits", nlri: routeOf("02", rd+esi+tag+"28 5254000001 00"+label), counted: true},
		{name: "type 2, MAC of 48 bits that says 47", nlri: routeOf("02", rd+esi+tag+"2f 020000000901 00"+label), counted: true},
		{name: "type 2, address of 33 bits", nlri: macIP(esi, "020000000901", "21 c0a80509 80"+label), counted: true},
		{name: "type 2, address of 255 bits", nlri: macIP(esi, "020000000901", "ff c0a80509"+label), counted: true},
		{name: "type 2, label of two octets", nlri: macIP(esi, "020000000902", "00 0000"), counted: true, withdrawn: 2},
		{name: "type 2 without a label", nlri: macIP(esi, "020000000903", "00"), counted: true, withdrawn: 3},
		{name: "type 2 with three labels", nlri: macIP(esi, "020000000904", "00"+label+label+label), counted: true, withdrawn: 4},
		{name: "type 1 of 24 octets", nlri: routeOf("01", rd+esi+tag+"0000"), counted: true},
		{name: "type 3, address of 16 bits", nlri: routeOf("03", rd+tag+"10 ac16"), counted: true},
		{name: "type 4 without an address", nlri: routeOf("04", rd+esi+"00"), counted: true},
		{name: "type 5, IPv4 of 33 bits", nlri: routeOf("05", rd+esi+tag+"21 cb007100 00000000"+label), counted: true},
		{name: "an unknown type", nlri: routeOf("63", "0102030405")},
		{name: "type 0", nlri: routeOf("00", "")},
		{name: "an ESI of garbage", nlri: macIP(garbage, "020000000955", "00"+label)},
		{name: "a MAC and address of nobody", nlri: macIP(esi, "ffffffffffff", "20 ffffffff"+label)},
		{name: "without a route target", attrs: plainAttrs(false), nlri: macIP(esi, "020000000966", "00"+label)},
		{name: "PMSI of 3 octets", attrs: append(plainAttrs(true), 0xc0, 22, 3, 0, 6, 0), nlri: routeOf("03", rd+tag+"20 ac160209"), counted: true},
		{name: "PMSI, an end of 2 octets", attrs: append(plainAttrs(true), 0xc0, 22, 7, 0, 6, 0, 0, 100, 1, 2), nlri: routeOf("03", rd+tag+"20 ac160209"), counted: true},
		{name: "PMSI of an unknown tunnel", attrs: append(plainAttrs(true), 0xc0, 22, 8, 0, 99, 0, 0, 100, 1, 2, 3), nlri: routeOf("03", rd+tag+"20 ac160209")},
		{name: "extended communities of 7 octets", attrs: append((&wire.PathAttrs{LocalPref: new(uint32)}).Append(nil), 0xc0, 16, 7, 1, 2, 3, 4, 5, 6, 7), nlri: macIP(esi, "020000000977", "00"+label), counted: true},
	} {
		f, _ := evpnOf()
		no := 0x10 + 2*i
		list := good(no) + test.nlri + good(no+1)
		if test.attrs != nil { // of all that is in the UPDATE: it is alone
			list = test.nlri
			conn.send(reach(plainAttrs(true), good(no), good(no+1)))
		}
		if test.withdrawn > 0 {
			conn.send(reach(plainAttrs(true), good(test.withdrawn)))
			h.wait(test.name+": the route before it", func() bool { return has(entry(test.withdrawn)) })
		}
		attrs := test.attrs
		if attrs == nil {
			attrs = plainAttrs(true)
		}
		conn.send(reach(attrs, list))
		h.wait(test.name+": the routes beside it", func() bool {
			return has(entry(no)) && has(entry(no+1)) && has(entry(1)) && (test.withdrawn == 0 || !has(entry(test.withdrawn)))
		})
		now, _ := evpnOf()
		if n := now.Refused - f.Refused; n > 1 || (n == 1) != test.counted {
			t.Errorf("%s: %d are refused", test.name, n)
		}
		if i == 0 { // those that follow are folded into one, later
			h.wait("its event", func() bool { return strings.Contains(h.logged(), "event=bgp-update-error") })
		}
		if _, now := evpnOf(); now != since {
			t.Fatalf("%s: the session was reset", test.name)
		}
	}
	for mac, want := range map[int]bool{0x55: true, 0x66: false, 0x77: false} { // an ESI may be anything; these have no route target
		if got := has(entry(mac)); got != want {
			t.Errorf("%s is in the kernel: %v", entry(mac), got)
		}
	}

	// An NLRI that runs past the end of the attribute: nobody knows what is behind it.
	conn.send(reach(plainAttrs(true), good(9)+"02ff0102"))
	if n := conn.notification(); n.Code != wire.CodeUpdate || n.Subcode != wire.SubOptionalAttribute {
		t.Errorf("the session ended with %v", n)
	}
	if has(entry(9)) {
		t.Error("the route before it is used")
	}
}

// routeOf returns an NLRI in hexadecimal, of which the length is filled in.
func routeOf(typ, value string) string {
	value = strings.ReplaceAll(value, " ", "")
	return fmt.Sprintf("%s%02x%s", typ, len(value)/2, value)
}

// plainAttrs are the attributes of a route of the overlay, with its route target or without.
func plainAttrs(target bool) []byte {
	a := wire.PathAttrs{LocalPref: new(uint32)}
	a.ExtCommunities = append(a.ExtCommunities, evpn.Encapsulation(evpn.TunnelVXLAN))
	if target {
		rt, _ := evpn.RouteTarget(65000, 100)
		a.ExtCommunities = append(a.ExtCommunities, rt)
	}
	return a.Append(nil)
}

// reach returns an UPDATE that announces NLRI, in hexadecimal, with VTEP 172.22.2.9.
func reach(attrs []byte, nlri ...string) []byte {
	b, err := hex.DecodeString(strings.Join(nlri, ""))
	if err != nil {
		panic(err)
	}
	mp := slices.Concat([]byte{0, 25, 70, 4, 172, 22, 2, 9, 0}, b)
	attrs = slices.Concat([]byte{0x90, 14, byte(len(mp) >> 8), byte(len(mp))}, mp, attrs)
	body := slices.Concat([]byte{0, 0, byte(len(attrs) >> 8), byte(len(attrs))}, attrs)
	n := wire.HeaderLen + len(body)
	return slices.Concat(slices.Repeat([]byte{0xff}, 16), []byte{byte(n >> 8), byte(n), byte(wire.TypeUpdate)}, body)
}

// scripted is a reflector that sends what it is told.
type scripted struct {
	t        *testing.T
	listener net.Listener
}

// scriptReflector listens at 172.22.15.126, with the TTL that GTSM wants (RFC 5082, Section 3).
func scriptReflector(t *testing.T, ns *nstest.NS) *scripted {
	s := &scripted{t: t}
	ns.Do(func() (err error) {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 255) })
			if err == nil {
				err = cerr
			}
			return err
		}}
		s.listener, err = lc.Listen(context.Background(), "tcp4", "172.22.15.126:179")
		return err
	})
	t.Cleanup(func() { s.listener.Close() })
	return s
}

// scriptedConn is a session of it.
type scriptedConn struct {
	t    *testing.T
	conn net.Conn
	end  chan wire.Notification // what ended it
}

// accept takes a session up, with IPv4 and EVPN, without a hold time.
func (s *scripted) accept() *scriptedConn {
	s.t.Helper()
	if err := s.listener.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	conn, err := s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	c := &scriptedConn{t: s.t, conn: conn, end: make(chan wire.Notification, 1)}
	o := wire.Open{AS: 65000, ID: netip.MustParseAddr("172.22.15.126")}
	o.Capabilities.AS4, o.Capabilities.Families = true, []wire.Family{wire.IPv4Unicast, wire.L2VPNEVPN}
	c.send(o.Append(nil))
	c.send(wire.AppendKeepalive(nil))
	c.send(wire.AppendEndOfRIB(nil, wire.L2VPNEVPN))
	go c.read()
	return c
}

func (c *scriptedConn) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read reads until the session ends.
func (c *scriptedConn) read() {
	defer close(c.end)
	b := make([]byte, wire.MaxLen)
	for {
		if _, err := io.ReadFull(c.conn, b[:wire.HeaderLen]); err != nil {
			return
		}
		h, err := wire.ParseHeader(b, wire.MaxLen)
		if err != nil {
			return
		}
		if _, err := io.ReadFull(c.conn, b[wire.HeaderLen:h.Len]); err != nil {
			return
		}
		if h.Type == wire.TypeNotification {
			n, _ := wire.ParseNotification(b[wire.HeaderLen:h.Len])
			c.end <- n
			return
		}
	}
}

// notification waits for what ends the session.
func (c *scriptedConn) notification() wire.Notification {
	c.t.Helper()
	select {
	case n := <-c.end:
		return n
	case <-time.After(20 * time.Second):
		c.t.Fatal("the session goes on")
	}
	return wire.Notification{}
}
