package vxlan

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rtnl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// lab is an overlay of two hosts: ours, with a guest behind a bridge, and one that has the addresses of two VTEPs, whose
// bridge plays the guest behind the first of them.
type lab struct {
	guest, host, far *nstest.NS
	device, bridge   int
	wire             int // a packet socket where the far host hears the underlay
	segment          Segment
}

var farMAC = MAC{2, 0, 0, 0, 0, 2}

func newLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("needs network namespaces; not with -short")
	}
	l := &lab{guest: nstest.New(t, "vg"), host: nstest.New(t, "vh"), far: nstest.New(t, "vf")}
	nstest.Veth(l.host, "under", "172.22.2.1/24", l.far, "under", "172.22.2.2/24 172.22.2.3/24")
	nstest.Veth(l.host, "port", "", l.guest, "eth0", "")
	l.guest.IP("link set eth0 address 02:00:00:00:00:01")
	for _, ns := range []*nstest.NS{l.host, l.far} {
		ns.IP("link add br100 type bridge mcast_snooping 0")
	}
	l.host.IP("link set br100 up")
	l.host.IP("link set port master br100")
	l.far.IP("link set br100 up address 02:00:00:00:00:02")
	l.far.IP("link add vx100 type vxlan id 100 dstport 4789 local 172.22.2.2 nolearning")
	l.far.IP("link set vx100 master br100")
	bridge(l.far, "fdb append 00:00:00:00:00:00 dev vx100 dst 172.22.2.1")
	l.guest.IP("addr add 192.168.5.1/24 dev eth0")
	l.guest.IP("addr add 2001:db8:5::1/64 dev eth0 nodad")
	l.far.IP("addr add 192.168.5.2/24 dev br100")
	l.far.IP("addr add 2001:db8:5::2/64 dev br100 nodad")
	for _, a := range []string{"192.168.5.1", "2001:db8:5::1"} { // the far host asks nothing
		l.far.IP("neigh replace " + a + " lladdr 02:00:00:00:00:01 dev br100 nud permanent")
	}
	l.bridge = ensureBridge(t, l.host, "br100")
	l.far.Do(func() (err error) {
		if l.wire, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{8, 0}))); err == nil {
			t.Cleanup(func() { unix.Close(l.wire) })
		}
		return err
	})
	return l
}

// attach makes the VXLAN device a port of the bridge, as such an overlay needs it.
func (l *lab) attach(t *testing.T, f *FDB) {
	t.Helper()
	d := vx100
	d.Bridge = l.bridge
	l.device = ensure(t, f, d)
	l.host.Exec("bridge", "link", "set", "dev", "vx100", "learning", "off", "neigh_suppress", "on")
	l.far.IP("link set vx100 up")
	l.segment = Segment{Device: l.device, Interface: l.bridge,
		Flood:     []netip.Addr{addrOf("172.22.2.2"), addrOf("172.22.2.3")},
		MACs:      map[MAC]netip.Addr{farMAC: addrOf("172.22.2.2")},
		Neighbors: map[netip.Addr]MAC{addrOf("192.168.5.2"): farMAC, addrOf("2001:db8:5::2"): farMAC}}
}

// frames are what our host has sent since the last call: questions for the addresses of the far guest (ARP requests and
// neighbour solicitations), and IPv4 packets and echo requests over IPv6, by VTEP. What was replied to is among it.
func (l *lab) frames(t *testing.T) (questions int, others map[string]int) {
	t.Helper()
	others = map[string]int{}
	for b := make([]byte, 2048); ; {
		n, err := unix.Read(l.wire, b)
		if errors.Is(err, unix.EAGAIN) {
			return questions, others
		} else if err != nil {
			t.Fatal(err)
		}
		// Ethernet, IPv4, UDP, VXLAN, Ethernet
		if p := b[:n]; n >= 64 && p[23] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(p[36:]) == Port && slices.Equal(p[26:30], []byte{172, 22, 2, 1}) {
			inner := p[50:]
			switch typ := binary.BigEndian.Uint16(inner[12:]); {
			case typ == unix.ETH_P_ARP && inner[21] == 1 && slices.Equal(inner[38:42], []byte{192, 168, 5, 2}),
				typ == unix.ETH_P_IPV6 && len(inner) >= 78 && inner[20] == unix.IPPROTO_ICMPV6 && inner[54] == 135 && netip.AddrFrom16([16]byte(inner[62:78])) == addrOf("2001:db8:5::2"):
				questions++
			case typ == unix.ETH_P_IP, typ == unix.ETH_P_IPV6 && len(inner) > 54 && inner[20] == unix.IPPROTO_ICMPV6 && inner[54] == 128:
				others[netip.AddrFrom4([4]byte(p[30:34])).String()]++
			}
		}
	}
}

func (l *lab) ping(t *testing.T) {
	t.Helper()
	for _, a := range []string{"192.168.5.2", "2001:db8:5::2"} {
		l.guest.IP("neigh flush dev eth0")
		l.guest.Exec("ping", "-n", "-c", "2", "-i", "0.1", "-W", "5", a)
	}
}

// speak sends a frame from mac in the guest's place.
func (l *lab) speak(t *testing.T, mac MAC) {
	t.Helper()
	l.guest.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		frame := make([]byte, 60)
		copy(frame, "\xff\xff\xff\xff\xff\xff"+string(mac[:])+"\x88\xb5") // local experimental
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
	})
}

// state is what the kernel has of the overlay, sorted, without counters and what the kernel makes itself.
func (l *lab) state() string {
	var lines []string
	for line := range strings.Lines(bridge(l.host, "fdb show dev vx100") + l.host.IP("neigh show dev br100 proto 201") + l.host.IP("-6 neigh show dev br100 proto 201")) {
		if strings.Contains(line, "extern_learn") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

const wantState = `00:00:00:00:00:00 dst 172.22.2.2 self extern_learn static
00:00:00:00:00:00 dst 172.22.2.3 self extern_learn static
02:00:00:00:00:02 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 extern_learn master br100
192.168.5.2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
2001:db8:5::2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201`

// TestSegment: with the flood list alone, questions and what follows go to all VTEPs. With MACs and neighbours, frames go
// to the VTEP that they are for, and no question is on the wire. A restart writes nothing.
func TestSegment(t *testing.T) {
	l := newLab(t)
	f, end := running(t, Config{NetNS: l.host.Path})
	l.attach(t, f)
	if err := f.SetFlood(l.device, l.segment.Flood); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 2})
	l.ping(t)
	if q, others := l.frames(t); q < 4 || others["172.22.2.3"] != 4 || others["172.22.2.2"] != 4 {
		t.Errorf("flooded: %d questions, others %v", q, others)
	}
	if err := f.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Kept: 0, Added: 4})
	l.ping(t)
	if q, others := l.frames(t); q != 0 || others["172.22.2.3"] != 0 || others["172.22.2.2"] != 4 {
		t.Errorf("known: %d questions, others %v", q, others)
	}
	if got := l.state(); got != wantState {
		t.Errorf("have\n%s\nwant\n%s", got, wantState)
	}
	reconcile(t, f, Result{Kept: 6})
	if err := end(); err != nil {
		t.Error(err)
	}

	g, _ := running(t, Config{NetNS: l.host.Path, DeferSweep: true})
	again := l.segment
	again.Flood = again.Flood[:1]
	if err := g.SetSegment(again); err != nil {
		t.Fatal(err)
	}
	flush(t, g, Result{Kept: 5})
	if got := l.state(); got != wantState {
		t.Errorf("before the sweep\n%s\nwant\n%s", got, wantState)
	}
	g.Sweep()
	flush(t, g, Result{Deleted: 1})
	reconcile(t, g, Result{Kept: 5})
	if err := g.SetSegment(Segment{Device: l.device, Interface: l.bridge}); err != nil {
		t.Fatal(err)
	}
	flush(t, g, Result{Deleted: 5})
	if got := l.state(); got != "" {
		t.Errorf("left\n%s", got)
	}
}

// TestSegmentForeign: what an operator has put there stays, and what the kernel has learned goes.
func TestSegmentForeign(t *testing.T) {
	l := newLab(t)
	f, _ := running(t, Config{NetNS: l.host.Path})
	l.attach(t, f)
	bridge(l.host, "fdb add 02:00:00:00:00:07 dev port master static")
	bridge(l.host, "fdb add 02:00:00:00:00:09 dev port master dynamic")
	bridge(l.host, "fdb add 02:00:00:00:00:0a dev vx100 master permanent") // at our device, and yet the host takes the frames in
	l.host.IP("neigh add 192.168.5.7 lladdr 02:00:00:00:00:77 dev br100 nud permanent")
	l.host.IP("neigh add 192.168.5.8 lladdr 02:00:00:00:00:77 dev br100 nud stale")
	l.host.IP("neigh add 192.168.5.9 lladdr 02:00:00:00:00:77 dev br100 nud noarp extern_learn proto zebra")
	for i := byte(7); i <= 10; i++ {
		l.segment.MACs[MAC{2, 5: i}] = addrOf("172.22.2.3")
		l.segment.Neighbors[netip.AddrFrom4([4]byte{192, 168, 5, i})] = MAC{2, 5: i}
	}
	if err := f.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	r, err := f.Flush(t.Context())
	want := Result{Added: 12, Replaced: 2}
	if !errors.Is(err, ErrForeign) || strings.Count(err.Error(), "\n") != 3 || r != want {
		t.Errorf("%+v, %v, want %+v and four in the way", r, err, want)
	}
	out := bridge(l.host, "fdb show br br100") + l.host.IP("neigh show dev br100")
	for _, want := range []string{"02:00:00:00:00:07 dev port master br100 static", "02:00:00:00:00:09 dev vx100 extern_learn master br100", "02:00:00:00:00:0a dev vx100 master br100 permanent",
		"192.168.5.7 lladdr 02:00:00:00:00:77 PERMANENT", "192.168.5.8 lladdr 02:00:00:00:00:08 extern_learn NOARP proto 201", "192.168.5.9 lladdr 02:00:00:00:00:77 extern_learn NOARP proto zebra"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestSegmentHeals: what others delete, take over or take down is put back, also when the device or the bridge
// was deleted and is made again, with another index.
func TestSegmentHeals(t *testing.T) {
	l := newLab(t)
	f, _ := running(t, Config{NetNS: l.host.Path})
	l.attach(t, f)
	if err := f.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 6})
	w := f.Watch()
	defer w.Close()
	l.speak(t, farMAC) // the bridge learns it, behind the guest's port
	nstest.Wait(t, 2*time.Second, "the MAC that was learned elsewhere", func() bool {
		return slices.ContainsFunc(events(t, w), func(e Event) bool { return e.Entry.Table == TableBridge && e.Repairs == 1 })
	})
	for _, commands := range [][]string{
		{"bridge fdb del 02:00:00:00:00:02 dev vx100 master"},
		{"bridge fdb del 02:00:00:00:00:02 dev vx100 self dst 172.22.2.2"},
		{"ip neigh del 192.168.5.2 dev br100"},
		{"ip neigh replace 192.168.5.2 dev br100 lladdr 02:00:00:00:00:55 nud stale"},
		{"ip neigh flush dev br100 nud noarp"},
		{"ip link set vx100 nomaster", "ip link set vx100 master br100"},
		{"ip link set br100 down", "ip link set br100 up"},
		{"ip link set vx100 down", "ip link set vx100 up"},
		{"ip link del vx100", "ip link add vx100 type vxlan id 100 dstport 4789 local 172.22.2.1 nolearning", "ip link set vx100 up master br100"},
		{"ip link del br100", "ip link add br100 type bridge", "ip link set br100 up", "ip link set vx100 master br100"},
	} {
		for _, c := range commands {
			words := strings.Fields(c)
			l.host.Exec(words[0], words[1:]...)
		}
		nstest.Wait(t, 2*time.Second, strings.Join(commands, "; "), func() bool { return l.state() == wantState })
	}
	// The indexes that the caller knows are those that its devices had.
	if err := f.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	reconcile(t, f, Result{Kept: 6})
	if got := f.Entries(l.device); len(got) != 4 || got[0].IfIndex == l.device {
		t.Errorf("%v", got)
	}
}

// counting is a socket that counts the changes of entries that it sends.
type counting struct {
	socket
	changes *atomic.Int64
}

func (c counting) Send(b []byte) error {
	for m := range rtnl.Messages(b) {
		if m.Type == rtnl.RTM_NEWNEIGH || m.Type == rtnl.RTM_DELNEIGH {
			c.changes.Add(1)
		}
	}
	return c.socket.Send(b)
}

// TestSegmentQuiet: to compare and to audit what is as it shall be sends no message that changes anything, nor does a restart.
func TestSegmentQuiet(t *testing.T) {
	l := newLab(t)
	var changes atomic.Int64
	runs := func() (*FDB, func() error) {
		f, err := New(Config{NetNS: l.host.Path, AuditRound: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		f.open = func(netns string, groups ...uint32) (socket, error) {
			s, err := openSocket(netns, groups...)
			return counting{s, &changes}, err
		}
		return f, start(t, f)
	}
	f, end := runs()
	l.attach(t, f)
	for i := range 200 {
		m := MAC{2, 1, 5: byte(i)}
		l.segment.MACs[m] = addrOf("172.22.2.3")
		l.segment.Neighbors[netip.AddrFrom4([4]byte{192, 168, 6, byte(i)})] = m
	}
	if err := f.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	flush(t, f, Result{Added: 606})
	if n := changes.Swap(0); n != 606 {
		t.Errorf("%d changes", n)
	}
	reconcile(t, f, Result{Kept: 606})
	rounds := f.Stats().AuditRounds
	nstest.Wait(t, 5*time.Second, "rounds", func() bool { return f.Stats().AuditRounds > rounds+2 })
	if s := f.Stats(); s.Differences != 0 {
		t.Errorf("%+v", s)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	g, _ := runs()
	if err := g.SetSegment(l.segment); err != nil {
		t.Fatal(err)
	}
	flush(t, g, Result{Kept: 606})
	if n := changes.Load(); n != 0 {
		t.Errorf("%d changes", n)
	}
}
