package vxlan

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// counted is a socket that counts its dumps, and the times that notifications were lost.
type counted struct {
	socket
	dumps, losses *atomic.Int64
}

func (c counted) Send(b []byte) error {
	if native.Uint16(b[4:]) == rtnl.RTM_GETNEIGH {
		c.dumps.Add(1)
	}
	return c.socket.Send(b)
}

func (c counted) Receive(b []byte) (int, error) {
	n, err := c.socket.Receive(b)
	if errors.Is(err, unix.ENOBUFS) {
		c.losses.Add(1)
	}
	return n, err
}

// TestBulk: 20,000 MACs are written at once, in the device's table and the bridge's. The kernel notifies us of all of them,
// and none is lost, so that nothing is read again; a comparison reads both tables in one dump, and neighbours in another.
func TestBulk(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a network namespace; not with -short")
	}
	ns := nstest.New(t, "vx")
	ns.IP("link add br100 type bridge mcast_snooping 0")
	ns.IP("link set br100 up")
	ns.IP("addr add 172.22.2.1/32 dev lo")
	f, err := New(Config{NetNS: ns.Path})
	if err != nil {
		t.Fatal(err)
	}
	var dumps, losses atomic.Int64
	f.open = func(netns string, groups ...uint32) (socket, error) {
		s, err := openSocket(netns, groups...)
		return counted{s, &dumps, &losses}, err
	}
	start(t, f)
	d := vx100
	d.Bridge = ensureBridge(t, ns, "br100")
	link := ensure(t, f, d)
	flush(t, f, Result{})
	const n = 20000
	s := Segment{Device: link, MACs: map[MAC]netip.Addr{}, Interface: d.Bridge, Neighbors: map[netip.Addr]MAC{}}
	for i := range n {
		m := MAC{2}
		binary.BigEndian.PutUint32(m[2:], uint32(i))
		s.MACs[m] = addrOf("172.22.2.2")
	}
	s.Neighbors[addrOf("192.168.5.2")] = MAC{2}
	if err := f.SetSegment(s); err != nil {
		t.Fatal(err)
	}
	dumps.Store(0)
	flush(t, f, Result{Added: 2*n + 1})
	read := dumps.Load()                                     // of the bridge's neighbours, of which nothing was desired before
	bridge(ns, "fdb del 02:00:00:00:00:07 dev vx100 master") // notified behind all of those
	nstest.Wait(t, 20*time.Second, "the repair", func() bool {
		out, _ := ns.Command("bridge", "fdb", "get", "02:00:00:00:00:07", "br", "br100").CombinedOutput()
		return strings.Contains(string(out), "extern_learn")
	})
	if lost := losses.Load(); lost > 0 {
		t.Errorf("notifications were lost %d times", lost)
	}
	if got := dumps.Load() - read; read != 2 || got != 1 {
		t.Errorf("%d dumps for the first writes, %d for a comparison of the device", read, got)
	}
}
