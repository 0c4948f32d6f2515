package attack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestMain lets the test binary be hvrouter.
func TestMain(m *testing.M) {
	if os.Getenv("HVROUTER_MAIN") != "" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

const daemonConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.1/32}
bfd: {interval: 100ms, multiplier: 20, process: in-process}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}
      - {fabric: A, interface: a.public, local: "2001:db8:c633:6400::1", peer: "2001:db8:c633:6400::26"}
  - name: private
    table: 20
    loopback: true
    reflectors:
      - {fabric: A, interface: a.private, local: 172.22.15.101, peer: 172.22.15.126}
local-out: {table: 100, domains: [private]}
edge: {gateway4: 203.0.113.254, arp: ARP, dhcp: {on: true}}
guests:
  - name: vm1
    mac: "50:54:33:00:00:07"
    ipv4: [203.0.113.1]
    ipv6: ["2001:db8:cb00:7100::/64"]
    routed: [10.99.0.0/16, "2001:db8:cb00:710a::/64"]
    transparent: [{address: 203.0.113.11, to: 203.0.113.1}]
  - {name: vm2, mac: "50:54:33:00:00:09", ipv4: [203.0.113.2], ipv6: ["2001:db8:cb00:7101::/64"]}
overlays:
  - {name: vx100, vni: 100, bridge: br100, members: [vm1.vx, vm2.vx], vteps: 172.22.2.0/24}
`

const reflectorConfig = `
router id 198.51.100.126;
log "DIR/bird.log" all;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 20; }; }
ipv4 table private4;
protocol static far4 { ipv4; FAR4 route 198.18.0.0/15 via 198.51.100.31; route 203.0.113.100/32 via 198.51.100.31; }
protocol static far6 { ipv6; FAR6 route 2001:db8:dead::/48 via 2001:db8:c633:6400::1:1; }
protocol static vtep { ipv4 { table private4; }; route 172.22.2.2/32 via 172.22.15.126; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; bfd yes; direct; }
protocol bgp a4 from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; ipv4 { import all; export all; }; }
protocol bgp a6 from hv { local 2001:db8:c633:6400::26 as 65000; neighbor 2001:db8:c633:6400::1 as 65000; ipv6 { import all; export all; }; }
protocol bgp p4 from hv { local 172.22.15.126 as 65000; neighbor 172.22.15.101 as 65000; ipv4 { table private4; import all; export all; }; }
`

// hops is how many next hops there are that nobody has spoken to.
const hops = 20

func far4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}) }
func hop4(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 31)}) }
func far6(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:feed::%x", i+1)) }
func hop6(i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:c633:6400::1:%x", i+1))
}

// testbed is a hypervisor with an attacker, a victim, a tap that is no guest, and the
// rest of the network in one namespace.
type testbed struct {
	t                       *testing.T
	dir                     string
	hv, rr, vm1, vm2, loose *nstest.NS
	cmd                     *exec.Cmd
	asked                   uint32 // addresses that the victim asked from
	scenes                  map[hostile.Port]*hostile.Scene
}

func newTestbed(t *testing.T, arp string) *testbed {
	nstest.Need(t, "bird")
	w := &testbed{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm1: nstest.New(t, "vm1"), vm2: nstest.New(t, "vm2"), loose: nstest.New(t, "loose")}
	w.network()
	w.write("hv.yaml", strings.Replace(daemonConfig, "ARP", arp, 1))
	w.reflector()
	w.daemon()
	w.guests()
	w.settled()
	w.listen()
	w.cast()
	return w
}

func (w *testbed) network() {
	nstest.Veth(w.hv, "a.public", "198.51.100.101/25 2001:db8:c633:6400::1/64", w.rr, "fa", "198.51.100.126/25 2001:db8:c633:6400::26/64")
	nstest.Veth(w.hv, "a.private", "172.22.15.101/25", w.rr, "pa", "172.22.15.126/25 172.22.2.2/32")
	w.hv.IP("link add name loopback type bridge")
	w.hv.IP("link set dev loopback up")
	for i := range hops {
		w.rr.IP(fmt.Sprintf("addr add %v/25 dev fa", hop4(i)))
		w.rr.IP(fmt.Sprintf("addr add %v/64 dev fa nodad", hop6(i)))
		w.rr.IP(fmt.Sprintf("addr add %v/32 dev lo", far4(i)))
		w.rr.IP(fmt.Sprintf("addr add %v/128 dev lo", far6(i)))
	}
	w.rr.IP("route add blackhole 198.18.0.0/15")
	w.rr.IP("-6 route add blackhole 2001:db8:dead::/48")
	w.rr.IP("route add 203.0.113.0/24 via 198.51.100.101")
	w.rr.IP("route add 10.99.0.0/16 via 198.51.100.101")
	w.rr.IP("route add 172.22.2.1/32 via 172.22.15.101")
	w.rr.IP("-6 route add 2001:db8:cb00:7100::/56 via 2001:db8:c633:6400::1")
}

func (w *testbed) guests() {
	for _, vm := range []*nstest.NS{w.vm1, w.vm2, w.loose} {
		vm.Sysctl("net/ipv6/conf/default/accept_ra", "0") // what they need is below
	}
	w.tap("vm1", w.vm1, "eth0", "50:54:33:00:00:07")
	w.tap("vm1.vx", w.vm1, "eth1", "50:54:33:00:01:07")
	w.tap("vm2", w.vm2, "eth0", "50:54:33:00:00:09")
	w.tap("vm2.vx", w.vm2, "eth1", "50:54:33:00:01:09")
	w.tap("loose", w.loose, "eth0", "50:54:33:00:00:66")
	w.hv.IP("link set loose up")
	for ns, n := range map[*nstest.NS]int{w.vm1: 1, w.vm2: 2} {
		ns.IP(fmt.Sprintf("addr add 203.0.113.%d/24 dev eth0", n))
		ns.IP(fmt.Sprintf("addr add 192.168.5.%d/24 dev eth1", n))
		ns.IP(fmt.Sprintf("-6 addr add 2001:db8:cb00:710%d::1/64 dev eth0 nodad", n-1))
		ns.IP("route add default via 203.0.113.254")
		ns.IP("-6 route add default via fe80::1 dev eth0")
	}
}

func (w *testbed) tap(name string, vm *nstest.NS, end, mac string) {
	w.hv.IP(fmt.Sprintf("link add name %s type veth peer name %s address %s netns %s", name, end, mac, vm.Name))
	vm.IP("link set " + end + " up")
}

func (w *testbed) path(name string) string { return filepath.Join(w.dir, name) }

func (w *testbed) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(strings.ReplaceAll(text, "DIR", w.dir)), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *testbed) reflector() {
	var list4, list6 strings.Builder
	for i := range hops {
		fmt.Fprintf(&list4, "route %v/32 via %v; ", far4(i), hop4(i))
		fmt.Fprintf(&list6, "route %v/128 via %v; ", far6(i), hop6(i))
	}
	w.write("bird.conf", strings.NewReplacer("FAR4", list4.String(), "FAR6", list6.String()).Replace(reflectorConfig))
	bird := w.rr.Command("bird", "-f", "-c", w.path("bird.conf"), "-s", w.path("bird.ctl"))
	if err := bird.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { bird.Process.Kill(); bird.Wait() })
}

func (w *testbed) daemon() {
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := os.Create(w.path("hv.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	w.cmd = w.hv.Command(self, "run", "-config", w.path("hv.yaml"))
	w.cmd.Env = append(os.Environ(), "HVROUTER_MAIN=1", "GORACE=atexit_sleep_ms=0")
	w.cmd.Stdout, w.cmd.Stderr = log, log
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.cmd.Process.Signal(syscall.SIGKILL)
		w.cmd.Wait()
		if w.t.Failed() {
			log, _ := os.ReadFile(w.path("hv.log"))
			w.t.Logf("log:\n%s", log[max(0, len(log)-8000):])
		}
	})
}

func (w *testbed) sessions() (up int) {
	var all []api.Session
	if api.NewClient(w.path("api.sock")).Get(w.t.Context(), "/v1/sessions", &all) != nil {
		return 0
	}
	for _, s := range all {
		if s.State == "Established" && s.BFD == "Up" {
			up++
		}
	}
	return up
}

// settled waits until everything can be reached.
func (w *testbed) settled() {
	nstest.Wait(w.t, 20*time.Second, "three sessions", func() bool { return w.sessions() == 3 })
	for _, to := range []string{far4(0).String(), far6(0).String()} {
		nstest.Wait(w.t, 20*time.Second, to+" from vm2", func() bool { return w.vm2.Command("ping", "-c1", "-W1", to).Run() == nil })
	}
	nstest.Wait(w.t, 20*time.Second, "the far VTEP", func() bool {
		return w.hv.Command("ping", "-c1", "-W1", "172.22.2.2").Run() == nil
	})
}

func (w *testbed) mac(ns *nstest.NS, link string) (mac net.HardwareAddr) {
	ns.Do(func() error {
		i, err := net.InterfaceByName(link)
		if err == nil {
			mac = i.HardwareAddr
		}
		return err
	})
	return mac
}

// cast says who is who, seen from each port.
func (w *testbed) cast() {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	base := hostile.Scene{
		Own4: a("203.0.113.1"), Other4: a("203.0.113.2"), Own6: p("2001:db8:cb00:7100::/64"), Other6: p("2001:db8:cb00:7101::/64"),
		Routed4: p("10.99.0.0/16"), Routed6: p("2001:db8:cb00:710a::/64"), Transparent: a("203.0.113.11"),
		Gateway4: a("203.0.113.254"), Gateway6: a("fe80::1"), Outside4: far4(0), Outside6: far6(0), Fabric6: p("2001:db8:c633:6400::/64"),
		Sink4: p("198.18.0.0/15"), Sink6: p("2001:db8:dead::/48"),
		Hypervisor: []netip.Addr{a("198.51.100.101"), a("172.22.2.1"), a("172.22.15.101"), a("203.0.113.254")},
		VTEP:       a("172.22.2.1"), FarVTEP: a("172.22.2.2"), Local4: a("198.51.100.101"), Reflector4: a("198.51.100.126"),
		Local6: a("2001:db8:c633:6400::1"), Reflector6: a("2001:db8:c633:6400::26"),
	}
	at := func(ns *nstest.NS, link, hvLink string) *hostile.Scene {
		s := base
		s.MAC, s.Router = w.mac(ns, link), w.mac(w.hv, hvLink)
		return &s
	}
	w.scenes = map[hostile.Port]*hostile.Scene{
		hostile.Guest: at(w.vm1, "eth0", "vm1"), hostile.Overlay: at(w.vm1, "eth1", "br100"),
		hostile.Loose: at(w.loose, "eth0", "loose"), hostile.Outside: at(w.rr, "fa", "a.public"),
	}
}

func (w *testbed) where(p hostile.Port) (ns *nstest.NS, link string) {
	switch p {
	case hostile.Overlay:
		return w.vm1, "eth1"
	case hostile.Loose:
		return w.loose, "eth0"
	case hostile.Outside:
		return w.rr, "fa"
	}
	return w.vm1, "eth0"
}
