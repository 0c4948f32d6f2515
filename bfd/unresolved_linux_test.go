package bfd

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestUnresolved: sessions of 100 ms x 6 beside 150 whose neighbours do not resolve, over IPv4 and over link-local
// addresses. Packets for those wait in the kernel, charged to the socket that sent them. The sessions stay Up, and some that
// begin meanwhile come Up, although their remote systems send nothing before they have heard something.
func TestUnresolved(t *testing.T) {
	for _, c := range []struct {
		name string
		host host
	}{{"privileged", systemHost{}}, {"without CAP_NET_ADMIN", poorHost{}}} {
		t.Run(c.name, func(t *testing.T) {
			nstest.Steady(t, stillness, func(t testing.TB) { testUnresolved(t, c.host) })
		})
	}
}

// poorHost is a host on which the process has send buffers as it would without CAP_NET_ADMIN, and half of that: fewer
// neighbours are enough, see dead.
type poorHost struct{ systemHost }

func (h poorHost) namespace(path string) (namespace, error) {
	n, err := h.systemHost.namespace(path)
	return poorNamespace{n}, err
}

type poorNamespace struct{ namespace }

func (n poorNamespace) sender(ipv6 bool) (fd int, lacks, err error) {
	if fd, lacks, err = n.namespace.sender(ipv6); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 212992/2)
	}
	return fd, lacks, err
}

func startOn(t testing.TB, h host) *trial {
	t.Helper()
	s, err := newServerOn(Config{Notice: func(err error) { t.Log(err) }}, h)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, s)
}

func testUnresolved(t testing.TB, h host) {
	const dead = 150 // five such tests at once are within gc_thresh3 of arp(7), which all namespaces share
	p := newPair(t)
	p.a.IP("addr add 10.9.0.1/16 dev v0")
	p.b.IP("addr add 10.9.0.2/16 dev v0")
	config := func(peer string) SessionConfig {
		c := fast(p.key(peer))
		c.Multiplier = 6
		return c
	}
	s, remote := startOn(t, h), p.remote(t)
	up := func(peer string, passive bool) (c SessionConfig) {
		c = config(peer)
		far := p.mirror(c)
		far.Passive = passive
		remote.add(far)
		s.add(c)
		s.statusIs(c.Key, "Up", isUp)
		return c
	}
	live := []SessionConfig{up("10.9.0.2", false), up("fe80::2", false)}
	for i := range dead {
		s.add(config(fmt.Sprintf("10.9.%d.%d", 1+i/250, 1+i%250)))
		s.add(config(fmt.Sprintf("fe80::dead:%x", i+1)))
	}
	most := 0
	for begin := time.Now(); time.Since(begin) < 6*time.Second; time.Sleep(ms(50)) {
		most = max(most, queued(t, p))
	}
	t.Logf("%d octets wait at most", most)
	// Each has sent 3 packets by now, of some 700 octets with what the kernel adds.
	if most < dead*1000 {
		t.Error("the neighbours resolve, or nothing is sent to them")
	}
	for _, c := range live {
		if st := s.status(c.Key); st.State != StateUp || st.Downs != 0 {
			t.Errorf("%+v", st)
		}
	}
	p.b.IP("addr add 10.9.0.3/16 dev v0")
	p.b.IP("addr add fe80::3/64 dev v0 nodad")
	for _, peer := range []string{"10.9.0.3", "fe80::3"} {
		begin := time.Now()
		up(peer, true)
		t.Logf("%s is Up after %v", peer, time.Since(begin))
	}
	for _, c := range live {
		if st := s.status(c.Key); st.State != StateUp || st.Downs != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// TestCarrierLost: a link with many sessions that are Up loses its carrier, upon which the kernel forgets its neighbours.
// What those sessions send until they are Down waits in the kernel. A session over another link stays Up.
func TestCarrierLost(t *testing.T) { nstest.Steady(t, stillness, testCarrierLost) }

func testCarrierLost(t testing.TB) {
	const many = 60
	p := newPair(t)
	other := pair{p.a, nstest.New(t, "c")}
	nstest.Veth(other.a, "v1", "10.10.0.1/24", other.b, "v1", "10.10.0.2/24")
	s, remote := newServer(t), p.remote(t)
	add := func(p pair, c SessionConfig) Key {
		remote.add(p.mirror(c))
		s.add(c)
		return c.Key
	}
	c := fast(p.key("10.9.0.2"))
	c.Multiplier = 10 // a second: a machine may stand still for less, what waits in the kernel does so for three
	stays := add(p, c)
	var lost []Key
	for i := range many {
		peer := fmt.Sprintf("10.10.0.%d", 100+i)
		other.b.IP("addr add " + peer + "/24 dev v1")
		c := SessionConfig{Key: other.key(peer), DesiredMinTx: ms(50), RequiredMinRx: ms(50), Multiplier: 10}
		c.Interface, c.Local = "v1", netip.MustParseAddr("10.10.0.1")
		lost = append(lost, add(other, c))
	}
	for _, k := range append(lost, stays) {
		s.statusIs(k, "Up", isUp)
	}
	other.b.IP("link set v1 down")
	most := 0
	for begin := time.Now(); time.Since(begin) < 3*time.Second; time.Sleep(ms(20)) {
		most = max(most, queued(t, p))
	}
	for _, k := range lost {
		s.statusIs(k, "Down", func(st Status) bool { return st.State == StateDown })
	}
	t.Logf("%d octets wait at most", most)
	if most < 212992 { // net.core.wmem_default of Linux
		t.Error("no more than any socket has room for")
	}
	if st := s.status(stays); st.State != StateUp || st.Downs != 0 {
		t.Errorf("%+v", st)
	}
}

// queued returns how many octets wait in the send buffers of the raw sockets of namespace A.
func queued(t testing.TB, p pair) (sum int) {
	p.a.Do(func() error {
		for _, name := range []string{"raw", "raw6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(string(b), "\n")[1:] {
				f := strings.Fields(line) // sl local_address rem_address st tx_queue:rx_queue, see proc_net_tcp.rst
				if len(f) < 5 {
					continue
				}
				tx, _, _ := strings.Cut(f[4], ":")
				n, err := strconv.ParseUint(tx, 16, 32)
				if err != nil {
					return err
				}
				sum += int(n)
			}
		}
		return nil
	})
	return sum
}

// TestQuietGroup: what the sessions of a group can have in the kernel fits in the send buffer that Linux gives without
// privileges. These are the longest packets that there are.
func TestQuietGroup(t *testing.T) { nstest.Steady(t, stillness, testQuietGroup) }

func testQuietGroup(t testing.TB) {
	p := newPair(t)
	s := startOn(t, poorHost{})
	c := fast(p.key("fe80::dead"))
	c.Auth = Auth{Type: AuthMeticulousSHA1, Keys: []AuthKey{{1, "secret"}}}
	s.add(c)
	most := 0
	for begin := time.Now(); time.Since(begin) < 8*time.Second; time.Sleep(ms(10)) {
		most = max(most, queued(t, p))
	}
	const room = 2 * 212992 // net.core.wmem_max of Linux, doubled by the kernel
	t.Logf("%d octets of one session wait at most, %d of a group", most, quietGroup*most)
	if most == 0 || quietGroup*most > room {
		t.Errorf("%d octets of a group in a buffer of %d", quietGroup*most, room)
	}
}
