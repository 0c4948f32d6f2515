package bfd

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/sock"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

func isUp(s Status) bool { return s.State == StateUp }

// TestEchoInterfaceReturns: the interface of an echo session is deleted and made again,
// under another index (finding D1).
func TestEchoInterfaceReturns(t *testing.T) { nstest.Steady(t, stillness, testEchoInterfaceReturns) }

func testEchoInterfaceReturns(t testing.TB) {
	p := newPair(t)
	forward := func() {
		p.b.Sysctl("net/ipv4/ip_forward", "1")
		p.b.Sysctl("net/ipv6/conf/all/forwarding", "1")
	}
	forward()
	s := newServer(t)
	var keys []Key
	for _, peer := range []string{"10.9.0.2", "fd09::2"} {
		c := fast(p.key(peer))
		c.Echo = true
		s.add(c)
		keys = append(keys, c.Key)
	}
	all := func(what string, ok func(Status) bool) {
		t.Helper()
		for _, k := range keys {
			s.statusIs(k, what, ok)
		}
	}
	all("Up", isUp)
	p.a.IP("link del v0")
	all("Down", func(st Status) bool { return st.State == StateDown })
	p.a.IP("link add other type bridge") // takes the index
	nstest.Veth(p.a, "v0", "10.9.0.1/24 fd09::1/64 fe80::1/64", p.b, "v0", "10.9.0.2/24 fd09::2/64 fe80::2/64")
	forward()
	all("Up again", isUp)
}

// unavailable waits until a session says what it lacks.
func (r *trial) unavailable(k Key) {
	r.tb.Helper()
	for {
		if e := r.until(k, StateDown); e.Reason == ReasonUnavailable && e.Err != "" {
			return
		}
	}
}

// TestLater: what a session needs appears after it was added: interface, address,
// namespace, port (finding D2).
func TestLater(t *testing.T) { nstest.Steady(t, stillness, testLater) }

func testLater(t testing.TB) {
	p := newPair(t)
	s := newServer(t)
	cfg := fast(p.key("10.9.0.2"))
	remote := p.remote(t, p.mirror(cfg))

	t.Log("the port is another program's")
	var taken *net.UDPConn
	p.a.Do(func() (err error) { taken, err = net.ListenUDP("udp", &net.UDPAddr{Port: Port}); return err })
	defer taken.Close()
	s.add(cfg)
	s.unavailable(cfg.Key)
	taken.Close()
	s.until(cfg.Key, StateUp)
	remote.until(p.mirror(cfg).Key, StateUp)

	t.Log("the interface is missing")
	late := fast(p.key("10.9.0.2"))
	late.Interface, late.Local, late.Peer = "late", netip.MustParseAddr("10.8.0.1"), netip.MustParseAddr("10.8.0.2")
	link := fast(p.key("fe80::2"))
	link.Interface, link.Peer, link.Local = "late", netip.MustParseAddr("fe80::82"), netip.MustParseAddr("fe80::81")
	echo := late
	echo.Peer = netip.MustParseAddr("10.8.0.3")
	echo.Echo = true
	s.add(late)
	s.add(link)
	s.add(echo)
	for _, c := range []SessionConfig{late, link} {
		m := p.mirror(c)
		m.Interface = "late"
		remote.add(m)
	}
	time.Sleep(ms(300))
	nstest.Veth(p.a, "late", "10.8.0.1/24 fe80::81/64", p.b, "late", "10.8.0.2/24 10.8.0.3/24 fe80::82/64")
	p.b.Sysctl("net/ipv4/ip_forward", "1")
	for _, c := range []SessionConfig{late, link, echo} {
		s.statusIs(c.Key, "Up", isUp)
	}

	t.Log("the namespace is missing")
	name := p.a.Name + "-late"
	elsewhere := SessionConfig{Key: Key{Peer: netip.MustParseAddr("10.7.0.2"), Local: netip.MustParseAddr("10.7.0.1"), Interface: "w0", NetNS: "/run/netns/" + name},
		DesiredMinTx: ms(100), RequiredMinRx: ms(100), Multiplier: 3}
	s.add(elsewhere)
	time.Sleep(ms(300))
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	p.b.IP("link add w0 type veth peer name w0 netns " + name)
	p.b.IP("addr add 10.7.0.2/24 dev w0")
	p.b.IP("link set w0 up")
	for _, args := range [][]string{{"addr", "add", "10.7.0.1/24", "dev", "w0"}, {"link", "set", "w0", "up"}} {
		if out, err := exec.Command("ip", append([]string{"-n", name}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	m := p.mirror(elsewhere)
	remote.add(m)
	s.statusIs(elsewhere.Key, "Up", isUp)
}

// TestRestoredLater: the BFD process is killed, and its successor cannot have what the
// sessions need: the client hears Down at once, with the reason, and Up when they can
// be had (finding D2).
func TestRestoredLater(t *testing.T) { nstest.Steady(t, stillness, testRestoredLater) }

func testRestoredLater(t testing.TB) {
	p := newPair(t)
	path := filepath.Join(t.TempDir(), "bfd.sock")
	proc := newChild(t, path, time.Minute)
	client := newClient(t, path, "daemon")
	cfg := fast(p.key("10.9.0.2"))
	p.remote(t, p.mirror(cfg))
	s := start(t, client)
	s.add(cfg)
	s.until(cfg.Key, StateUp)
	if err := proc.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-proc.done
	var taken *net.UDPConn
	p.a.Do(func() (err error) { taken, err = net.ListenUDP("udp", &net.UDPAddr{Port: Port}); return err })
	defer taken.Close()
	_ = os.Remove(path)
	begin := time.Now()
	newChild(t, path, time.Minute)
	s.unavailable(cfg.Key)
	t.Logf("Down %v after the start of the process", time.Since(begin))
	taken.Close()
	s.until(cfg.Key, StateUp)
}

// TestForged: packets of a program on this host that say Down, with the TTL and the
// discriminators of the session, end no session that is bound to an interface (finding
// D9). The kernel reports the interface of such a packet as the program likes.
func TestForged(t *testing.T) { nstest.Steady(t, stillness, testForged) }

func testForged(t testing.TB) {
	p := newPair(t)
	s, remote := newServer(t), p.remote(t)
	for _, peer := range []string{"10.9.0.2", "fd09::2", "fe80::2", "10.99.0.2"} {
		cfg := fast(p.key(peer))
		remote.add(p.mirror(cfg))
		s.add(cfg)
		s.statusIs(cfg.Key, "Up", isUp)
	}
	p.a.IP("link add other type veth peer name other2")
	for _, name := range []string{"other", "other2"} {
		p.a.IP("link set " + name + " up")
	}
	p.a.IP("addr add 10.9.8.1/24 dev other")
	for _, peer := range []string{"10.9.0.2", "fd09::2", "fe80::2", "10.99.0.2"} {
		k := p.key(peer)
		st := s.status(k)
		forged := Packet{State: StateDown, Multiplier: 3, MyDiscr: st.RemoteDiscr, YourDiscr: st.Discr, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
		for _, dev := range []string{"", "v0", "lo", "other"} {
			forge(t, p, k, dev, forged.append(nil))
		}
		time.Sleep(ms(200))
		if now := s.status(k); now.State != StateUp || now.Downs != 0 {
			t.Errorf("%v: a program on this host ended it: %+v", k, now)
		}
	}
}

// forge sends b to the session's own address, over a socket bound to dev.
func forge(t testing.TB, p pair, k Key, dev string, b []byte) {
	p.a.Do(func() error {
		c, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		err = errors.Join(raw.Control(func(fd uintptr) {
			_ = sock.BindToDevice(int(fd), dev)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 255)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
		}))
		if err != nil {
			return err
		}
		to, port := k.Local, uint16(Port)
		if k.Multihop {
			port = MultihopPort
		}
		if to.IsLinkLocalUnicast() {
			to = to.WithZone("v0")
		}
		_, err = c.WriteToUDPAddrPort(b, netip.AddrPortFrom(to, port))
		t.Logf("%v by %q: %v", k, dev, err)
		return nil
	})
}
