package firewall

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
	"golang.org/x/sys/unix"
)

// A daemon that starts puts its tables in the place of those that its predecessor left. No
// packet sees the moment between them, however many guests there are.
func TestReplacedUnderTraffic(t *testing.T) {
	l := newLab(t)
	// As with domains by interface: lo, where nftables looks routes up, has none to guests.
	l.hv.IP("route del 203.0.113.1/32 dev vm1")
	l.hv.IP("route add 203.0.113.1/32 dev vm1 table 90")
	l.hv.IP("rule add iif a.public lookup 90")
	for _, a := range []string{"198.51.100.1", "2001:db8:64::ff"} {
		l.hv.IP("neigh replace " + a + " lladdr " + hardware(t, l.public, "eth0").String() + " dev a.public nud permanent")
	}
	s := blocked(300)
	s.Guests[0].Translations = nil
	l.apply(t, s)

	paths := []*stream{
		newStream(t, "from the guest, IPv4", l.guest, l.public, "198.51.100.1:7000"),
		newStream(t, "from the guest, IPv6", l.guest, l.public, "[2001:db8:64::ff]:7000"),
		newStream(t, "to the guest, IPv4", l.public, l.guest, "203.0.113.1:7000"),
		newStream(t, "to the guest, IPv6", l.public, l.guest, "[2001:db8:7100::1]:7000"),
	}
	var senders sync.WaitGroup
	var stop atomic.Bool
	for _, p := range paths {
		senders.Go(func() { p.send(&stop) })
	}
	for range 40 {
		if err := New(l.hv.Path).Apply(s); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	senders.Wait()
	for _, p := range paths {
		p.check(t)
	}
}

// stream is a flow of datagrams in one direction.
type stream struct {
	name     string
	from, to net.Conn
	sent     int
	got      atomic.Int64
}

func newStream(t *testing.T, name string, from, to *nstest.NS, addr string) *stream {
	s := &stream{name: name}
	open := func() (err error) {
		if s.to == nil {
			a, err := net.ResolveUDPAddr("udp", addr)
			if err != nil {
				return err
			}
			c, err := net.ListenUDP("udp", a)
			if err != nil {
				return err
			}
			s.to = c
			return roomy(c)
		}
		s.from, err = net.Dial("udp", addr)
		return err
	}
	to.Do(open)
	from.Do(open)
	t.Cleanup(func() { s.from.Close(); s.to.Close() })
	go func() {
		for b := make([]byte, 64); ; s.got.Add(1) {
			if _, err := s.to.Read(b); err != nil {
				return
			}
		}
	}()
	return s
}

// roomy gives a socket room for what a busy machine leaves unread, whatever rmem_max says.
func roomy(c *net.UDPConn) (err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	})
	return errors.Join(err, failed)
}

// send sends some thousand datagrams a second.
func (s *stream) send(stop *atomic.Bool) {
	for b := make([]byte, 32); !stop.Load(); time.Sleep(50 * time.Microsecond) {
		if _, err := s.from.Write(b); err == nil {
			s.sent++
		}
	}
}

func (s *stream) check(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(nstest.Patience); s.got.Load() < int64(s.sent) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := s.got.Load(); got != int64(s.sent) {
		t.Errorf("%s: %d of %d datagrams arrived", s.name, got, s.sent)
	}
}
