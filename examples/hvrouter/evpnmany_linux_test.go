package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bgp/evpn"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

var (
	fedRoutes = flag.Int("evpn-routes", 3000, "how many MACs with an IPv4 address TestEVPNMany announces")
	fedFRR    = flag.Bool("evpn-frr", false, "TestEVPNMany has FRR write them as well")
)

// TestEVPNMany: a feeder announces MACs with an address each, through our reflector, and a hypervisor of ours writes them
// into its kernel: each is a forwarding entry of the VXLAN device, one of the bridge and a neighbour. kill -9 of the daemon
// writes none of them again, and loses none of the packets to a guest behind one. What that costs is printed, and
// judged by nobody; -evpn-routes has another number, -evpn-frr puts FRR beside it.
func TestEVPNMany(t *testing.T) {
	l := newOverlayLAN(t)
	one := l.hypervisor(1)
	vm1, vm2 := l.guest(1), l.guest(2)
	vm1.plug(one.hv)
	established(one)
	one.wait("the first sweep", func() bool { return strings.Contains(one.logged(), "event=swept") })
	l.farGuest(vm2)

	all := []*vtep{{name: "hvrouter", ns: one.hv, pids: func() []int { return []int{one.cmd.Process.Pid} }}}
	if *fedFRR {
		r := l.frrVTEP(l.guest(3))
		pids := func() (list []int) {
			for _, name := range []string{"zebra", "bgpd"} {
				text, _ := os.ReadFile(filepath.Join(r.dir, name+".pid"))
				pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
				list = append(list, pid)
			}
			return list
		}
		nstest.Wait(t, 20*time.Second, "FRR has the routes of ours", func() bool { return strings.Contains(r.ns.Exec("bridge", "fdb", "show", "dev", "vx100"), vm1.mac()) })
		all = append(all, &vtep{name: "FRR", ns: r.ns, pids: pids})
	}
	before := make([]time.Duration, len(all))
	for i, v := range all {
		before[i] = v.used()
	}
	n := *fedRoutes
	began := time.Now()
	l.feed(n)
	for i, v := range all {
		v.complete(t, n)
		t.Logf("%s: %d MACs with an address each, %d entries: all within %v, %v of CPU, %d MiB resident", v.name, n, 3*n,
			time.Since(began).Round(10*time.Millisecond), v.used()-before[i], v.resident())
	}
	want := strings.Join(entries(one.hv, "vx100", "br100"), "\n")
	vm1.reaches(t, 2)
	begin := time.Now()
	overlayKill(t, one, vm1, want)
	t.Logf("hvrouter: kill -9, to the end of the sweep: %v, of CPU %v", time.Since(begin).Round(10*time.Millisecond), one.cpuTime())
}

// vtep is what writes entries, and what it costs.
type vtep struct {
	name string
	ns   *nstest.NS
	pids func() []int
}

func (v *vtep) used() (d time.Duration) {
	for _, pid := range v.pids() {
		d += processTime(pid)
	}
	return d
}

// resident returns the memory of its processes in MiB.
func (v *vtep) resident() (n int) {
	for _, pid := range v.pids() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			n += pages * os.Getpagesize() >> 20
		}
	}
	return n
}

// complete waits until the kernel has all three entries of n MACs. The last one is asked for until it is there, since all
// of them cost the machine more than what is measured.
func (v *vtep) complete(t *testing.T, n int) {
	t.Helper()
	last := fedMAC(n).String()
	nstest.Wait(t, 5*time.Minute, v.name+" has the last one", func() bool {
		return v.ns.Command("bridge", "fdb", "get", last, "dev", "vx100", "self").Run() == nil
	})
	var have string
	nstest.Wait(t, 5*time.Minute, v.name+" has all of them", func() bool {
		fdb, neighbours := v.ns.Exec("bridge", "fdb", "show", "dev", "vx100"), v.ns.IP("neigh show dev br100")
		have = fmt.Sprint(strings.Count("\n"+fdb, "\n52:54:"), strings.Count(neighbours, "lladdr 52:54:"))
		return have == fmt.Sprint(2*n, n)
	})
}

// fedMAC is that of number i, from 1.
func fedMAC(i int) net.HardwareAddr {
	return binary.BigEndian.AppendUint32([]byte{0x52, 0x54}, uint32(i))
}

// farGuest is a guest that has a tunnel of its own to the hypervisor 1, at 172.22.2.9, without a control plane.
func (l *overlayLAN) farGuest(v *vm) {
	l.join(v.NS, 9)
	v.IP("link set lo up")
	v.IP("addr add 172.22.2.9/32 dev lo")
	v.IP("route add 172.22.2.1 via 172.22.15.1")
	v.IP("link add eth0 address " + v.mac() + " type vxlan id 100 dstport 4789 local 172.22.2.9 nolearning")
	v.IP(fmt.Sprintf("addr add 192.168.5.%d/16 dev eth0", v.no))
	v.IP(fmt.Sprintf("addr add 2001:db8:5::%d/64 dev eth0 nodad", v.no))
	v.IP("link set eth0 up")
	v.Exec("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "eth0", "dst", "172.22.2.1")
	v.Exec("bridge", "fdb", "append", "02:00:00:00:00:01", "dev", "eth0", "dst", "172.22.2.1")
}

// feed announces vm2 with its addresses and n MACs with an address each at 172.22.2.9, and how that is reached, to the
// reflector.
func (l *overlayLAN) feed(n int) {
	l.t.Helper()
	ns := nstest.New(l.t, "feeder")
	l.join(ns, 8)
	var conn net.Conn
	ns.Do(func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
			cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 255) })
			if err == nil {
				err = cerr
			}
			return err
		}}
		conn, err = d.Dial("tcp4", "172.22.15.126:179")
		return err
	})
	l.t.Cleanup(func() { conn.Close() })
	c := &scriptedConn{t: l.t, conn: conn, end: make(chan wire.Notification, 1)}
	o := wire.Open{AS: 65000, ID: netip.MustParseAddr("172.22.15.8")}
	o.Capabilities.AS4, o.Capabilities.Families = true, []wire.Family{wire.IPv4Unicast, wire.L2VPNEVPN}
	c.send(o.Append(nil))
	c.send(wire.AppendKeepalive(nil))
	go c.read()

	b := wire.Builder{AS4: true}
	pref := uint32(100)
	b.Reach(nil, wire.IPv4Unicast, (&wire.PathAttrs{LocalPref: &pref}).Append(nil), wire.NextHop{Addr: netip.MustParseAddr("172.22.15.9")})
	b.Add(wire.NLRI{Prefix: netip.MustParsePrefix("172.22.2.9/32")})
	c.send(b.Finish())
	at := netip.MustParseAddr("172.22.2.9")
	routes := func(yield func(evpn.Route) bool) {
		own := evpn.Route{Type: evpn.TypeMACIP, RD: evpn.NewRD(at, 100), MAC: evpn.MAC{2, 0, 0, 0, 0, 2}, Label: evpn.Label(100)}
		for _, a := range []string{"192.168.5.2", "2001:db8:5::2"} {
			if own.IP = netip.MustParseAddr(a); !yield(own) {
				return
			}
		}
		for i := 1; i <= n; i++ {
			r := evpn.Route{Type: evpn.TypeMACIP, RD: own.RD, Label: own.Label, IP: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
			copy(r.MAC[:], fedMAC(i))
			if !yield(r) {
				return
			}
		}
	}
	var stream []byte
	begun := false
	for r := range routes {
		octets, err := r.AppendBinary(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		route := wire.EVPN{Octets: octets}
		for !begun || !b.AddKeyed(route.AppendKey(nil), route.AppendRest(nil), 0) {
			if begun {
				stream = b.Finish()
			}
			b.Reach(stream, wire.L2VPNEVPN, plainAttrs(true), wire.NextHop{Addr: at})
			begun = true
		}
	}
	c.send(b.Finish())
	c.send(wire.AppendEndOfRIB(nil, wire.L2VPNEVPN))
}
