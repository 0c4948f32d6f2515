package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// evpnConfig is hypervisor NO, with the guest vmNO on an overlay.
const evpnConfig = `
router-id: 0.0.1.NO
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.NO/32}
bfd: {interval: 100ms, multiplier: 20, process: separate} # a machine that stands still ends no session
domains:
  - name: private
    table: 20
    guests: true
    loopback: true
    reflectors: [{interface: up.a, local: 172.22.15.NO, peer: 172.22.15.126}]
local-out: {table: 100, domains: [private]}
edge: {gateway4: 203.0.113.254}
overlays: [{name: vx100, vni: 100, bridge: br100, evpn: {}}]
guests:
  - {name: vmNO, overlays: [{overlay: vx100, interface: vmNO.x, mac: "02:00:00:00:00:0NO", ipv4: [192.168.5.NO], ipv6: ["2001:db8:5::NO"]}]}
`

// overlayLAN is a network with a route reflector of ours, and hypervisors on it.
type overlayLAN struct {
	t   *testing.T
	hub *nstest.NS
	rr  *nstest.NS
	dir string
}

func newOverlayLAN(t *testing.T) *overlayLAN {
	l := newOverlayNet(t)
	l.reflect()
	return l
}

// newOverlayNet is the network without a reflector.
func newOverlayNet(t *testing.T) *overlayLAN {
	if testing.Short() {
		t.Skip("needs network namespaces and seconds; not with -short")
	}
	l := &overlayLAN{t: t, hub: nstest.New(t, "hub"), rr: nstest.New(t, "rr"), dir: t.TempDir()}
	l.hub.IP("link add lan type bridge mcast_snooping 0")
	l.hub.IP("link set lan up")
	l.join(l.rr, 126)
	return l
}

// reflect starts the reflector of ours, with more options.
func (l *overlayLAN) reflect(options ...string) {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.rr.Command(self, append([]string{"-as", "65000", "-router-id", "172.22.15.126", "-listen", "172.22.15.126:179", "-clients", "172.22.15.0/24", "-bfd", "100ms,20", "-evpn", "-cold"}, options...)...)
	cmd.Env = append(os.Environ(), "ROUTEREFLECTOR_MAIN=1", "GORACE=atexit_sleep_ms=0")
	l.start(cmd, "reflector")
}

// start starts a program, which dies with the test.
func (l *overlayLAN) start(cmd *exec.Cmd, name string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(path); l.t.Failed() {
			l.t.Logf("%s:\n%s", name, text)
		}
	})
}

// join connects a namespace, with the host address no.
func (l *overlayLAN) join(ns *nstest.NS, no int) {
	port := fmt.Sprint("p", no)
	nstest.Veth(l.hub, port, "", ns, "up.a", fmt.Sprintf("172.22.15.%d/24", no))
	l.hub.IP("link set " + port + " master lan")
}

// vm is a guest: a namespace of its own.
type vm struct {
	*nstest.NS
	no int
}

// hypervisor starts one of ours.
func (l *overlayLAN) hypervisor(no int) *host { return l.hypervisorWith(no, evpnConfig) }

// hypervisorWith starts one of ours with a configuration of its own.
func (l *overlayLAN) hypervisorWith(no int, text string) *host {
	h := &host{t: l.t, dir: l.t.TempDir(), hv: nstest.New(l.t, fmt.Sprint("hv", no))}
	l.join(h.hv, no)
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.write("hv.yaml", strings.ReplaceAll(text, "NO", fmt.Sprint(no)))
	l.t.Cleanup(h.end)
	h.run()
	return h
}

// guest makes a guest, which says nothing.
func (l *overlayLAN) guest(no int) *vm { return &vm{nstest.New(l.t, fmt.Sprint("vm", no)), no} }

func (v *vm) mac() string { return fmt.Sprintf("02:00:00:00:00:%02x", v.no) }

// plug connects a guest to a hypervisor, where its interface is vmNO.x.
func (v *vm) plug(hv *nstest.NS) {
	hv.IP(fmt.Sprintf("link add name vm%d.x type veth peer name eth0 address %s netns %s", v.no, v.mac(), v.Name))
	v.Sysctl("net/ipv6/conf/eth0/addr_gen_mode", "1") // nothing that it would announce
	v.IP(fmt.Sprintf("addr add 192.168.5.%d/24 dev eth0", v.no))
	v.IP(fmt.Sprintf("addr add 2001:db8:5::%d/64 dev eth0 nodad", v.no))
	v.IP("link set eth0 up")
}

// reaches waits until a guest reaches another one, over both families.
func (v *vm) reaches(t *testing.T, other int) {
	t.Helper()
	for _, a := range []string{fmt.Sprint("192.168.5.", other), fmt.Sprint("2001:db8:5::", other)} {
		nstest.Wait(t, 10*time.Second, fmt.Sprintf("vm%d reaches %s", v.no, a), func() bool {
			return v.Command("ping", "-n", "-c", "1", "-W", "1", a).Run() == nil
		})
	}
}

// entries are the forwarding entries and the neighbours that a control plane has put into a namespace, sorted, without
// what the kernel counts.
func entries(ns *nstest.NS, device, bridge string) []string {
	var lines []string
	for _, text := range []string{ns.Exec("bridge", "fdb", "show", "dev", device), ns.IP("neigh show dev " + bridge), ns.IP("-6 neigh show dev " + bridge)} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "extern_learn") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// has waits until a hypervisor of ours has these entries and no others.
func has(t *testing.T, h *host, want string) {
	t.Helper()
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("have\n%s\nwant\n%s", got, want)
		}
	}()
	nstest.Wait(t, 10*time.Second, "the entries", func() bool {
		got = strings.Join(entries(h.hv, "vx100", "br100"), "\n")
		return got == strings.TrimSpace(want)
	})
}

// established waits until the session is up, with EVPN.
func established(h *host) {
	h.t.Helper()
	nstest.Wait(h.t, 20*time.Second, "the session up", func() bool {
		var all []api.Session
		return h.ask("/v1/sessions", &all) == nil && len(all) == 1 && all[0].State == "Established" && slices.ContainsFunc(all[0].Families, func(f api.FamilyRoutes) bool { return f.Family == "evpn" })
	})
}

// questions opens what counts the ARP requests that come to a guest.
func (v *vm) questions(t *testing.T) func() int {
	return v.frames(t, 0x0608, func(b []byte) bool { return len(b) >= 42 && b[21] == 1 }) // ETH_P_ARP, big endian
}

// pings opens what counts the ICMP echo requests that come to a guest.
func (v *vm) pings(t *testing.T) func() int {
	return v.frames(t, 0x0008, func(b []byte) bool { return len(b) >= 35 && b[23] == unix.IPPROTO_ICMP && b[34] == 8 }) // ETH_P_IP
}

// frames opens what counts the frames of a type that come to a guest.
func (v *vm) frames(t *testing.T, etherType int, counts func([]byte) bool) func() int {
	fd := -1
	v.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, etherType)
		return err
	})
	t.Cleanup(func() { unix.Close(fd) })
	return func() (n int) {
		b := make([]byte, 128)
		for {
			k, err := unix.Read(fd, b)
			if err != nil {
				return n
			}
			if counts(b[:k]) {
				n++
			}
		}
	}
}

// TestEVPN: two hypervisors of ours, through our reflector. Guests that have said nothing are reached without a
// flooded question; the kernel has what the inventory says, and keeps it over kill -9; a guest that moves is the
// target's at once.
func TestEVPN(t *testing.T) {
	l := newOverlayLAN(t)
	one, two := l.hypervisor(1), l.hypervisor(2)
	vm1, vm2 := l.guest(1), l.guest(2)
	vm1.plug(one.hv)
	vm2.plug(two.hv)
	established(one)
	established(two)
	const wantOne = `
00:00:00:00:00:00 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 extern_learn master br100
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
192.168.5.2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201`
	has(t, one, wantOne)
	// The MAC alone, and with each address.
	if out := one.cli("show", "evpn", "-mac", vm2.mac()); strings.Count(out, " used") != 3 || !strings.Contains(out, "peer 172.22.15.126") {
		t.Errorf("show evpn, of another's guest:\n%s", out)
	}
	if out := one.cli("show", "evpn", "-guest", "vm1"); strings.Count(out, " announced") != 3 {
		t.Errorf("show evpn, of a guest:\n%s", out)
	}
	// A guest that is not here says why, one that is on no overlay has no routes, and one that there is not is a mistake.
	one.write("guests.yaml", `[{name: vm8, overlays: [{overlay: vx100, interface: vm8.x, mac: "02:00:00:00:00:08", ipv4: [192.168.5.8]}]}, {name: vm9}]`)
	one.cli("guest", "add", one.path("guests.yaml"))
	if out := one.cli("show", "evpn", "-guest", "vm8"); strings.Count(out, "the guest's interface is not there") != 2 || strings.Count(out, "withheld") != 2 {
		t.Errorf("show evpn, of a guest that is not here:\n%s", out)
	}
	if out := one.cli("show", "evpn", "-guest", "vm9"); strings.Contains(out, "vx100") {
		t.Errorf("show evpn, of a guest that is on no overlay:\n%s", out)
	}
	if out := one.cli("show", "guests", "-guest", "vm1"); !strings.Contains(out, "vm1.x") || !strings.Contains(out, " on vx100") {
		t.Errorf("show guests, of a guest on an overlay:\n%s", out)
	}
	one.cli("guest", "del", "vm8")
	one.cli("guest", "del", "vm9")
	asked := vm2.questions(t)
	vm1.reaches(t, 2)
	vm2.reaches(t, 1)
	if n := asked(); n > 0 {
		t.Errorf("%d ARP requests came to a guest: they are answered where they are asked", n)
	}
	if out := one.hv.IP("addr show dev br100"); strings.Contains(out, "inet") {
		t.Errorf("the bridge has an address: %s", out)
	}
	t.Run("explain", func(t *testing.T) { overlayExplain(t, one, vm1, vm2) })
	t.Run("spoof", func(t *testing.T) { overlaySpoof(t, l, one, vm1, vm2, wantOne) })
	t.Run("kill", func(t *testing.T) { overlayKill(t, one, vm1, wantOne) })
	t.Run("port", func(t *testing.T) { overlayPort(t, one, wantOne) })
	t.Run("move", func(t *testing.T) { overlayMove(t, l, one, two, vm1) })
}

// overlayExplain: explain of a MAC of another's guest, of ours, and of nobody's.
func overlayExplain(t *testing.T, h *host, vm1, vm2 *vm) {
	for _, test := range []struct {
		mac  string
		want []string
	}{
		{vm2.mac(), []string{"vx100: frames for 02:00:00:00:00:02 go to vx100, vx100 sends them to VTEP 172.22.2.2", "fdb 02:00:00:00:00:02 dev vx100 dst 172.22.2.2 self extern_learn static",
			"fdb 02:00:00:00:00:02 dev vx100 extern_learn master br100", "neighbour 192.168.5.2 dev br100 lladdr 02:00:00:00:00:02 noarp proto hvrouter", "vx100: wanted behind VTEP 172.22.2.2",
			"route 0.0.1.2:100, the MAC alone: VTEP 172.22.2.2, sequence 0, from 172.22.15.126: used: the best", "route 0.0.1.2:100, 2001:db8:5::2: VTEP 172.22.2.2",
			"not advertised: it is not ours; what peers announce is not passed on"}},
		{vm1.mac(), []string{"vx100: frames for 02:00:00:00:00:01 go to the port vm1.x of br100", "fdb 02:00:00:00:00:01 dev vm1.x sticky master br100 static", "neighbour 192.168.5.1 dev br100",
			"vx100: wanted at vm1.x, of guest vm1", "of guest vm1: announced", "peer 172.22.15.126", "advertised: 192.168.5.1, 2001:db8:5::1, the MAC alone"}},
		{"192.168.5.2", []string{"vx100: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br100\n  neighbour 192.168.5.2 dev br100 lladdr 02:00:00:00:00:02 noarp proto hvrouter\nvx100: 192.168.5.2 is wanted at 02:00:00:00:00:02\n  with 02:00:00:00:00:02 by VTEP 172.22.2.2: used\n",
			"vx100: frames for 02:00:00:00:00:02 go to vx100, vx100 sends them to VTEP 172.22.2.2", "vx100: wanted behind VTEP 172.22.2.2"}},
		{"2001:db8:5::1", []string{"vx100: 2001:db8:5::1 is at 02:00:00:00:00:01 by the neighbours of br100", "  with 02:00:00:00:00:01 by VTEP 172.22.2.1, of guest vm1: announced", "vx100: wanted at vm1.x, of guest vm1"}},
		{"192.168.5.77", []string{"vx100: br100 has no neighbour 192.168.5.77: ARP and neighbour discovery for it are flooded\nvx100: 192.168.5.77 is wanted nowhere: nobody announces it\n"}},
		{"02:00:00:00:00:77", []string{"vx100: frames for 02:00:00:00:00:77 are flooded to all ports of br100; vx100 floods them to 172.22.2.2", "vx100: wanted nowhere"}},
	} {
		explains(t, h, test.mac, test.want...)
	}
	var e api.MACExplanation
	if err := json.Unmarshal([]byte(h.cli("explain", vm2.mac(), "-j")), &e); err != nil || len(e.Overlays) != 1 || len(e.Overlays[0].Routes) != 3 || e.Overlays[0].VNI != 100 {
		t.Errorf("%+v, %v", e, err)
	}
	var a api.AddressExplanation
	if err := json.Unmarshal([]byte(h.cli("explain", "192.168.5.2", "vni", "100", "-j")), &a); err != nil || a.Overlay != "vx100" || a.Kernel.MAC != vm2.mac() || len(a.MACs) != 1 || a.MACs[0].MAC != vm2.mac() {
		t.Errorf("%+v, %v", a, err)
	}
	if out := h.cli("explain", "02:00:00:00:00:77"); !strings.Contains(out, "no overlay knows 02:00:00:00:00:77") {
		t.Error(out)
	}
}

// explains waits until explain of a MAC has all of this, and no difference: the kernel is written, and peers hear of a
// guest, a moment after it is decided.
func explains(t *testing.T, h *host, mac string, want ...string) {
	t.Helper()
	var out []byte
	defer func() {
		if t.Failed() {
			t.Logf("want %q in\n%s", want, out)
		}
	}()
	nstest.Wait(t, 10*time.Second, "explain "+mac, func() (ok bool) {
		var err error
		out, err = h.command("explain", mac, "vni", "100", "-api", h.path("api.sock")).CombinedOutput()
		return err == nil && !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(string(out), w) })
	})
}

// overlayPort: ports come to the bridge and go, with a MAC below all others, which would be the bridge's. No neighbour
// goes because of that.
func overlayPort(t *testing.T, h *host, want string) {
	mac := func() string { return h.hv.IP("-brief link show dev br100") }
	before := mac()
	var seen strings.Builder
	watch := exec.Command("ip", "-n", h.hv.Name, "monitor", "neigh")
	watch.Stdout = &seen
	watch.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	h.hv.IP("link add name low address 00:00:5e:00:00:01 type veth peer name low.far")
	h.hv.IP("link set low up master br100")
	if now := mac(); now != before {
		t.Errorf("with another port the bridge is %s, and was %s", now, before)
	}
	h.hv.IP("link del low")
	if now := mac(); now != before {
		t.Errorf("without the port the bridge is %s, and was %s", now, before)
	}
	has(t, h, want)
	watch.Process.Kill()
	watch.Wait()
	if strings.Contains(seen.String(), "extern_learn") {
		t.Errorf("neighbours changed:\n%s", seen.String())
	}
}

// overlaySpoof: what a guest sends with the MAC of another one, here or elsewhere, brings it none of that one's
// frames.
func overlaySpoof(t *testing.T, l *overlayLAN, h *host, vm1, vm2 *vm, want string) {
	vm5 := l.guest(5)
	addTo(h, vm5)
	vm5.plug(h.hv)
	vm5.reaches(t, 2) // it is a port
	places := func() (lines []string) {
		for line := range strings.Lines(h.hv.Exec("bridge", "fdb", "show", "br", "br100")) {
			if f := strings.Fields(line); strings.HasPrefix(line, "02:00:00") && strings.Contains(line, "master br100") {
				lines = append(lines, f[0]+" "+f[2])
			}
		}
		slices.Sort(lines)
		return lines
	}
	wantPlaces := []string{vm1.mac() + " vm1.x", vm2.mac() + " vx100", vm5.mac() + " vm5.x"}
	nstest.Wait(t, 10*time.Second, fmt.Sprint("the bridge has ", wantPlaces), func() bool { return slices.Equal(places(), wantPlaces) })
	for range 20 {
		vm5.says(t, vm1.mac())
		vm5.says(t, vm2.mac())
	}
	if got := places(); !slices.Equal(got, wantPlaces) {
		t.Errorf("the bridge has %v, want %v", got, wantPlaces)
	}
	vm1.reaches(t, 2)
	vm2.reaches(t, 1)
	if s := h.logged(); strings.Contains(s, "event=overlay-repaired") || strings.Contains(s, "event=overlay-error") {
		t.Errorf("logged:\n%s", s)
	}
	h.cli("guest", "del", "vm5")
	has(t, h, want)
	nstest.Wait(t, 10*time.Second, "the bridge has forgotten it", func() bool { return slices.Equal(places(), wantPlaces[:2]) })
}

// says sends a frame for nobody with a MAC as its source, which has come through the bridge when it returns.
func (v *vm) says(t *testing.T, mac string) {
	t.Helper()
	v.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		source, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		frame := append(append([]byte{2, 0, 0, 0, 0, 0xfe}, source...), 0x88, 0xb5) // ETH_P_802_EX1, for experiments
		return unix.Sendto(fd, append(frame, make([]byte, 46)...), 0, &unix.SockaddrLinklayer{Ifindex: link.Index})
	})
}

// overlayKill: kill -9 of the daemon under a stream of packets loses none, and no entry is written again.
func overlayKill(t *testing.T, h *host, from *vm, want string) {
	watch := exec.Command("ip", "-n", h.hv.Name, "monitor", "neigh")
	fdb := h.hv.Command("bridge", "monitor", "fdb")
	var seen, seenFDB strings.Builder
	watch.Stdout, fdb.Stdout = &seen, &seenFDB
	for _, c := range []*exec.Cmd{watch, fdb} {
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ping := from.Command("ping", "-n", "-i", "0.01", "-W", "10", "192.168.5.2")
	var out strings.Builder
	ping.Stdout = &out
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	swept := func(n int) func() bool {
		return func() bool { return strings.Count(h.logged(), "event=swept") == n }
	}
	nstest.Wait(t, 10*time.Second, "the sweep", swept(1))
	h.kill(syscall.SIGKILL)
	h.run()
	established(h)
	nstest.Wait(t, 60*time.Second, "the second sweep", swept(2))
	has(t, h, want)
	ping.Process.Signal(os.Interrupt)
	ping.Wait()
	for _, c := range []*exec.Cmd{watch, fdb} {
		c.Process.Kill()
		c.Wait()
	}
	var sent, received int
	line := out.String()[strings.Index(out.String(), " packets transmitted")-8:]
	line = line[strings.LastIndex(line[:9], "\n")+1:]
	if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if sent != received || sent == 0 {
		t.Errorf("%d packets, %d came back", sent, received)
	}
	for line := range strings.Lines(seen.String() + seenFDB.String()) {
		if strings.Contains(line, "extern_learn") {
			t.Errorf("written: %s", line)
		}
	}
	t.Logf("%d packets, %d came back", sent, received)
}

// logged returns what the daemon has logged.
func (h *host) logged() string {
	text, _ := os.ReadFile(h.path("hv.log"))
	return string(text)
}

// overlayMove: vm1 moves from one to two, where it is known before it is there.
func overlayMove(t *testing.T, l *overlayLAN, one, two *host, vm1 *vm) {
	vm3 := l.guest(3)
	addTo(one, vm3)
	vm3.plug(one.hv)
	vm3.reaches(t, 2)
	addTo(two, vm1)
	vm1.IP("link del eth0")
	vm1.plug(two.hv)
	vm3.reaches(t, 1)
	has(t, one, `
00:00:00:00:00:00 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:01 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:01 extern_learn master br100
02:00:00:00:00:02 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 extern_learn master br100
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
192.168.5.2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
192.168.5.3 lladdr 02:00:00:00:00:03 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
2001:db8:5::3 lladdr 02:00:00:00:00:03 extern_learn NOARP proto 201`)

	// A guest that is deleted is nowhere any more, and its interface is no port.
	one.cli("guest", "del", "vm3")
	has(t, two, `
00:00:00:00:00:00 dst 172.22.2.1 self extern_learn static
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
192.168.5.2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201`)
	if out := one.hv.IP("link show vm3.x"); strings.Contains(out, "master") {
		t.Errorf("it is a port still: %s", out)
	}
	for _, h := range []*host{one, two} { // what is static where a guest is goes before its MAC is another VTEP's
		if s := h.logged(); strings.Contains(s, "event=overlay-error") {
			t.Errorf("logged:\n%s", s)
		}
	}
}

// addTo makes a guest known to a hypervisor.
func addTo(h *host, v *vm) {
	h.t.Helper()
	h.write("guest.yaml", strings.NewReplacer("NO", fmt.Sprint(v.no), "MAC", v.mac()).Replace(
		`{name: vmNO, overlays: [{overlay: vx100, interface: vmNO.x, mac: "MAC", ipv4: [192.168.5.NO], ipv6: ["2001:db8:5::NO"]}]}`))
	h.cli("guest", "add", h.path("guest.yaml"))
}

// TestEVPNRestart: kill -9 of the source in the middle of a migration, with the guest still there when it is back. The target
// has the MAC, before and after, and no frame of another hypervisor's guest goes to the source; so it is if the target is killed
// then. When the guest of the source is gone and comes again, it is taken over as ever.
func TestEVPNRestart(t *testing.T) {
	l := newOverlayLAN(t)
	source, target, other := l.hypervisor(1), l.hypervisor(2), l.hypervisor(3)
	before, after, vm3 := l.guest(1), l.guest(1), l.guest(3)
	before.plug(source.hv)
	vm3.plug(other.hv)
	for _, h := range []*host{source, target, other} {
		established(h)
		h.wait("the sweep", func() bool { return strings.Contains(h.logged(), "event=swept") })
	}
	vm3.reaches(t, 1)
	source.wait("what it keeps", func() bool {
		text, _ := os.ReadFile(source.path("api.sock.state/evpn"))
		return strings.Contains(string(text), before.mac())
	})

	source.kill(syscall.SIGKILL)
	addTo(target, after)
	after.plug(target.hv)
	at := func(vtep string) func() bool {
		return func() bool {
			return slices.Contains(entries(other.hv, "vx100", "br100"), before.mac()+" dst "+vtep+" self extern_learn static")
		}
	}
	other.wait("the guest is the target's", at("172.22.2.2"))
	vm3.reaches(t, 1)
	strays := before.pings(t)
	ping := vm3.Command("ping", "-n", "-i", "0.02", "192.168.5.1")
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ping.Process.Kill()
		ping.Wait()
	}()
	again := func(h *host) {
		t.Helper()
		n := strings.Count(h.logged(), "event=swept")
		h.run()
		established(h)
		nstest.Wait(t, 60*time.Second, "the sweep", func() bool { return strings.Count(h.logged(), "event=swept") > n })
	}
	again(source)
	source.wait("the guest is superseded at the source", func() bool { return strings.Contains(source.logged(), "event=evpn-superseded") })
	target.kill(syscall.SIGKILL)
	again(target)
	for _, h := range []*host{source, target} {
		want := 0
		if h == target {
			want = 1 // when the guest came
		}
		if n := strings.Count(h.logged(), "event=evpn-claimed"); n != want {
			t.Errorf("%d claims, want %d", n, want)
		}
	}
	if n := strings.Count(target.logged(), "event=evpn-superseded"); n > 0 {
		t.Errorf("the target lost it %d times", n)
	}
	vm3.reaches(t, 1)
	if n := strays(); n > 0 || !at("172.22.2.2")() {
		t.Errorf("%d frames went to the source", n)
	}

	before.IP("link del eth0")
	before.plug(source.hv)
	other.wait("the guest is back", at("172.22.2.1"))
}

const frrOverlayConfig = `
router bgp 65000
 bgp router-id 172.22.15.3
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 172.22.15.126 remote-as 65000
 neighbor 172.22.15.126 timers connect 1
 address-family ipv4 unicast
  neighbor 172.22.15.126 activate
  network 172.22.2.3/32
 exit-address-family
 address-family l2vpn evpn
  neighbor 172.22.15.126 activate
  advertise-all-vni
 exit-address-family
`

// frrVTEP is FRR at the other end of the tunnel, with a guest behind it that FRR learns of when it speaks.
func (l *overlayLAN) frrVTEP(v *vm) *tor {
	r := &tor{t: l.t, ns: nstest.New(l.t, "frr"), dir: l.t.TempDir(), no: 3}
	for d := r.dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // FRR drops privileges to frr, which must get at its sockets
		_ = os.Chmod(d, 0o777)
	}
	r.ns.Sysctl("net/ipv4/ip_forward", "1")
	l.join(r.ns, 3)
	r.ns.IP("addr add 172.22.2.3/32 dev lo")
	r.ns.IP("link add br100 type bridge mcast_snooping 0")
	r.ns.IP("link add vx100 type vxlan id 100 dstport 4789 local 172.22.2.3 nolearning")
	r.ns.IP("link set vx100 master br100")
	r.ns.Exec("bridge", "link", "set", "dev", "vx100", "learning", "off", "neigh_suppress", "on")
	r.ns.IP("link set br100 up")
	r.ns.IP("link set vx100 up")
	v.plug(r.ns)
	r.ns.IP(fmt.Sprintf("link set vm%d.x master br100 up", v.no))
	dir := filepath.Dir(nstest.Need(l.t, "zebra", "/usr/lib/frr"))
	sock := filepath.Join(r.dir, "zserv.api")
	for name, conf := range map[string]string{"zebra": "", "bgpd": frrOverlayConfig} {
		r.write(name+".conf", conf)
	}
	args := func(name string) []string {
		return []string{"-f", filepath.Join(r.dir, name+".conf"), "-z", sock, "--vty_socket", r.dir, "-i", filepath.Join(r.dir, name+".pid"), "-P", "0", "--log", "stdout"}
	}
	r.run(filepath.Join(dir, "zebra"), args("zebra")...)
	nstest.Wait(l.t, 10*time.Second, "zebra's socket", func() bool { _, err := os.Stat(sock); return err == nil })
	r.run(filepath.Join(dir, "bgpd"), args("bgpd")...)
	return r
}

// fdb waits until FRR's kernel has these entries for a MAC.
func (r *tor) fdb(t *testing.T, mac, want string) {
	t.Helper()
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("have %q", got)
		}
	}()
	nstest.Wait(t, 20*time.Second, "FRR's kernel has "+want, func() bool {
		got = nil
		for line := range strings.Lines(r.ns.Exec("bridge", "fdb", "show", "dev", "vx100")) {
			if strings.HasPrefix(line, mac) {
				got = append(got, strings.TrimSpace(line))
			}
		}
		return slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) })
	})
}

// TestEVPNFRR: hypervisors of ours and FRR as VTEPs of one overlay, through our reflector. Guests reach each other both
// ways, FRR's kernel has our silent guest; a guest moves between ours with the next sequence number, to FRR, which learns of
// it by what it says, and back.
func TestEVPNFRR(t *testing.T) {
	nstest.Need(t, "zebra", "/usr/lib/frr")
	l := newOverlayLAN(t)
	one := l.hypervisor(1)
	vm1, vm3 := l.guest(1), l.guest(3)
	vm1.plug(one.hv)
	frr := l.frrVTEP(vm3)
	established(one)
	frr.fdb(t, "02:00:00:00:00:01", "dst 172.22.2.1")
	frr.fdb(t, "00:00:00:00:00:00", "dst 172.22.2.1")
	nstest.Wait(t, 20*time.Second, "FRR's neighbours", func() bool {
		out := frr.ns.IP("neigh show dev br100") + frr.ns.IP("-6 neigh show dev br100")
		return strings.Contains(out, "192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn") && strings.Contains(out, "2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn")
	})
	asked := vm1.questions(t)
	vm3.reaches(t, 1) // and so FRR learns vm3
	if n := asked(); n > 0 {
		t.Errorf("%d ARP requests came to a guest of ours", n)
	}
	one.wait("FRR's guest in our kernel", func() bool {
		return slices.ContainsFunc(entries(one.hv, "vx100", "br100"), func(s string) bool { return strings.HasPrefix(s, "02:00:00:00:00:03 dst 172.22.2.3 self") })
	})
	vm1.reaches(t, 3)

	// A drain makes what we announce the last choice. The guest is nowhere else, and stays reachable.
	drained := func() bool {
		out := frr.ask("vtysh", "--vty_socket", frr.dir, "-d", "bgpd", "-c", "show bgp l2vpn evpn route detail")
		return strings.Contains(out, "graceful-shutdown") && strings.Contains(out, "localpref 0")
	}
	one.cli("drain")
	one.wait("FRR sees the drain", drained)
	frr.fdb(t, "02:00:00:00:00:01", "dst 172.22.2.1")
	vm3.reaches(t, 1)
	one.cli("undrain")
	one.wait("FRR sees that it is over", func() bool { return !drained() })

	// The guest comes to another hypervisor of ours while it is here still: FRR sees the next sequence number.
	two := l.hypervisor(2)
	established(two)
	addTo(two, vm1)
	l.guest(1).plug(two.hv)
	frr.says(t, vm1, "Remote VTEP: 172.22.2.2", "Remote Seq: 1")
	frr.fdb(t, "02:00:00:00:00:01", "dst 172.22.2.2")
	one.wait("the guest is superseded here", func() bool { return strings.Contains(one.logged(), "event=evpn-superseded") })
	if out := one.cli("show", "evpn", "-guest", "vm1"); strings.Count(out, "withheld") != 3 || !strings.Contains(out, "another VTEP has taken the MAC over") {
		t.Errorf("show evpn, of a guest that is superseded:\n%s", out)
	}
	explains(t, one, vm1.mac(), "of guest vm1: withheld: another VTEP has taken the MAC over: 172.22.2.2 has the sequence number 1, 172.22.2.1 has 0", "wanted behind VTEP 172.22.2.2")
	vm3.reaches(t, 1)

	// And to FRR, which sees it speak.
	there := l.guest(1)
	there.plug(frr.ns)
	frr.ns.IP("link set vm1.x master br100 up")
	at := func(h *host, vtep string) bool {
		return slices.Contains(entries(h.hv, "vx100", "br100"), "02:00:00:00:00:01 dst "+vtep+" self extern_learn static")
	}
	nstest.Wait(t, 20*time.Second, "the guest is FRR's", func() bool {
		_ = there.Command("ping", "-n", "-c", "1", "-W", "1", "192.168.5.3").Run()
		return at(one, "172.22.2.3") && at(two, "172.22.2.3")
	})

	// FRR withdraws it: it is where it was, of the two who have it with whom it came last.
	frr.ns.IP("link del vm1.x")
	frr.says(t, vm1, "Remote VTEP: 172.22.2.2", "Remote Seq: 1")
	one.wait("the guest is behind two", func() bool { return at(one, "172.22.2.2") })
	vm3.reaches(t, 1)
}

// says waits until FRR says this of a guest's MAC.
func (r *tor) says(t *testing.T, v *vm, want ...string) {
	t.Helper()
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("FRR says %s", got)
		}
	}()
	nstest.Wait(t, 20*time.Second, "FRR says "+strings.Join(want, ", "), func() bool {
		got = r.ask("vtysh", "--vty_socket", r.dir, "-d", "zebra", "-c", "show evpn mac vni 100 mac "+v.mac())
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(got, w) })
	})
}
