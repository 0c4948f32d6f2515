package attack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/hyperfib/hyperfib/internal/testing/hostile"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// hvrouter runs the command line against the daemon.
func (w *testbed) hvrouter(input string, args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := w.hv.Command(self, args...)
	cmd.Env = append(os.Environ(), "HVROUTER_MAIN=1")
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *testbed) must(input string, args ...string) {
	w.t.Helper()
	if out, err := w.hvrouter(input, append(args, "-api", w.path("api.sock"))...); err != nil {
		w.t.Fatalf("hvrouter %v: %v\n%s", args, err, out)
	}
}

// ssh stands for what listens on every address of a hypervisor.
func (w *testbed) ssh() {
	w.hv.Do(func() error {
		l, err := net.Listen("tcp", ":22")
		if err == nil {
			w.t.Cleanup(func() { l.Close() })
		}
		return err
	})
}

// reaches reports whether a TCP connection from a namespace comes about.
func reaches(ns *nstest.NS, to string) (ok bool) {
	ns.Do(func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(to, "22"), 700*time.Millisecond)
		if err == nil {
			c.Close()
		}
		ok = err == nil
		return nil
	})
	return ok
}

func (w *testbed) sysctl(name string) string {
	return strings.TrimSpace(w.hv.Exec("cat", "/proc/sys/net/"+name))
}

// TestTapLife follows a tap that is up before its guest is added and stays after it is
// taken away: whatever is on it, and whether the daemon lives or not, nothing but an
// attached guest has rights, and they are those of a guest.
func TestTapLife(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	w := newTestbed(t, "kernel")
	w.ssh()
	vm := w.loose
	kernels := hostile.LinkLocalOf(w.mac(w.hv, "loose")).String()
	vm.IP("addr add 203.0.113.9/24 dev eth0")
	vm.IP("-6 addr add 2001:db8:cb00:7109::1/64 dev eth0 nodad")
	vm.IP("route add default via 203.0.113.254")
	vm.IP("-6 route add default via fe80::1 dev eth0")
	nobody := func(when string) {
		t.Helper()
		s := w.scenes[hostile.Loose].For(w.mac(vm, "eth0"), w.mac(w.hv, w.tapName()))
		for _, to := range []string{kernels + "%eth0", "fe80::1%eth0", "203.0.113.254"} {
			if reaches(vm, to) {
				t.Errorf("%s: port 22 of %s is open", when, to)
			}
			if vm.Command("ping", "-c1", "-W1", to).Run() == nil {
				t.Errorf("%s: %s answers", when, to)
			}
		}
		out, err := hostile.Open(vm.Path, "eth0")
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		capture, err := hostile.Hear(w.rr.Path, "fa")
		if err != nil {
			t.Fatal(err)
		}
		defer capture.Close()
		for i := range uint32(10) {
			_ = out.Send(s.Solicit(s.MAC, hostile.LinkLocal(i)))
			_ = out.Send(s.RouterSolicit(s.MAC, hostile.LinkLocal(i)))
			_ = out.Send(s.ARP(s.MAC, layers.ARPRequest, hostile.Inside(netip.MustParsePrefix("192.168.0.0/16"), i), s.Gateway4))
			_ = out.Send(s.SYN(hostile.Inside(s.Other6, i), s.Outside6, i))
			_ = out.Send(s.SYN(s.Other4, s.Outside4, i))
		}
		for deadline := time.Now().Add(300 * time.Millisecond); ; {
			frame, err := capture.Next(deadline)
			if err != nil {
				break
			}
			if tcp, ok := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeTCP).(*layers.TCP); ok && tcp.SYN && !tcp.ACK && tcp.DstPort < 100 && tcp.DstPort != 179 {
				t.Errorf("%s: a forged packet came out", when)
			}
		}
		for _, f := range []string{"-4", "-6"} {
			if out := w.hv.IP(f + " neigh show dev " + w.tapName() + " nud all"); strings.Contains(out, "lladdr") && !strings.Contains(out, "NOARP") && !strings.Contains(out, "PERMANENT") {
				t.Errorf("%s: learned %s", when, out)
			}
		}
	}
	nobody("before it is attached")

	w.must(`{"name": "loose", "mac": "50:54:33:00:00:66", "ipv4": ["203.0.113.9"], "ipv6": ["2001:db8:cb00:7109::/64"]}`, "guest", "add")
	for _, to := range []string{"203.0.113.254", "fe80::1%eth0", far4(1).String()} {
		nstest.Wait(t, 10*time.Second, to+" from the guest", func() bool { return vm.Command("ping", "-c1", "-W1", to).Run() == nil })
	}
	for _, to := range []string{kernels + "%eth0", "fe80::1%eth0", "203.0.113.254"} {
		if reaches(vm, to) {
			t.Errorf("attached: port 22 of %s is open", to)
		}
	}
	if out := w.hv.IP("-6 addr show dev loose"); strings.Contains(out, kernels+"/64") || !strings.Contains(out, "fe80::1/64") {
		t.Errorf("attached: the kernel's own address: %s", out)
	}
	w.hv.IP("link set loose down")
	w.hv.IP("link set loose up")
	nstest.Wait(t, 10*time.Second, "the guest after a flap", func() bool { return vm.Command("ping", "-c1", "-W1", "203.0.113.254").Run() == nil })
	if out := w.hv.IP("-6 addr show dev loose"); strings.Contains(out, kernels+"/64") {
		t.Errorf("after a flap the kernel's own address is back: %s", out)
	}

	w.must("", "guest", "del", "loose")
	for name, want := range map[string]string{"ipv4/conf/loose/forwarding": "0", "ipv4/conf/loose/proxy_arp": "0", "ipv4/conf/loose/rp_filter": "1", "ipv6/conf/loose/accept_ra": "0"} {
		nstest.Wait(t, 5*time.Second, name+" to be "+want, func() bool { return w.sysctl(name) == want })
	}
	nstest.Wait(t, 5*time.Second, "our addresses to go", func() bool {
		return !strings.Contains(w.hv.IP("addr show dev loose"), "203.0.113.254") && !strings.Contains(w.hv.IP("addr show dev loose"), "fe80::1/")
	})
	nobody("after it was attached")
	w.hv.IP("-6 addr add " + kernels + "/64 dev loose nodad") // as a kernel would that nobody told
	nobody("with an address of the kernel's")
	w.hv.IP("link set loose down")
	w.hv.IP("link set loose name other")
	w.hv.IP("link set other up")
	nobody("renamed")
	w.cmd.Process.Signal(syscall.SIGKILL)
	w.cmd.Wait()
	nobody("renamed, the daemon dead")
	w.hv.IP("link set other down")
	w.hv.IP("link set other name loose")
	w.hv.IP("link set loose up")
	nobody("the daemon dead")
	w.daemon()
	nstest.Wait(t, 20*time.Second, "the daemon", func() bool { return w.sessions() == 3 })
	nobody("a new daemon")
}

// tapName is what the loose tap is called now.
func (w *testbed) tapName() string {
	if exec.Command("ip", "-n", w.hv.Name, "link", "show", "other").Run() == nil {
		return "other"
	}
	return "loose"
}

// TestManagement: an upgrade cuts nobody off. An interface with an address of the host's is
// its own until the configuration says which are, and what that means is said before.
func TestManagement(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	w := newTestbed(t, "kernel")
	w.ssh()
	admin := nstest.New(t, "admin")
	nstest.Veth(w.hv, "mgmt0", "192.0.2.5/24 2001:db8:77::5/64", admin, "eth0", "192.0.2.9/24 2001:db8:77::9/64")
	open := func(when string, want bool) {
		t.Helper()
		for _, to := range []string{"192.0.2.5", "2001:db8:77::5"} {
			nstest.Wait(t, 10*time.Second, fmt.Sprintf("%s: port 22 of %s open %v", when, to, want), func() bool { return reaches(admin, to) == want })
		}
	}
	check := func(want string) {
		t.Helper()
		out, _ := w.hvrouter("", "check", "-config", w.path("hv.yaml"))
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	open("nobody has named it", true)
	check("interface mgmt0 (192.0.2.5/24) is no uplink: it is taken for the host's own because it has an address; say so: firewall: {trusted: [mgmt0]}")
	admin.Exec("ping", "-c1", "-W5", "192.0.2.5")
	reload := func(trusted string) {
		t.Helper()
		text, _ := os.ReadFile(w.path("hv.yaml"))
		before, _, _ := strings.Cut(string(text), "\nfirewall:")
		w.write("hv.yaml", before+"\nfirewall: {trusted: "+trusted+"}\n")
		w.cmd.Process.Signal(syscall.SIGHUP)
	}
	w.write("hv.yaml", string(func() []byte { b, _ := os.ReadFile(w.path("hv.yaml")); return b }())+"\nfirewall: {trusted: []}\n")
	check("interface mgmt0 (192.0.2.5/24) is neither an uplink nor a guest's nor in firewall.trusted: what arrives there is dropped")
	w.daemonHeard(reload, "[\"mgmt*\"]")
	open("named", true)
	w.daemonHeard(reload, "[]")
	open("not among those that are", false)
	if log, _ := os.ReadFile(w.path("hv.log")); !strings.Contains(string(log), "event=interface-denied interface=mgmt0") || !strings.Contains(string(log), "event=interface-guessed interface=mgmt0") {
		t.Error("the log does not name the interface")
	}
	w.daemonHeard(reload, "[mgmt0]")
	open("named again", true)
}

// daemonHeard reloads and waits until the daemon has.
func (w *testbed) daemonHeard(reload func(string), trusted string) {
	count := func() int {
		log, _ := os.ReadFile(w.path("hv.log"))
		return strings.Count(string(log), "event=reloaded")
	}
	before := count()
	reload(trusted)
	nstest.Wait(w.t, 10*time.Second, "a reload", func() bool { return count() > before })
}

// TestAddressIsDefended: in both modes another guest's address is defended against a probe
// (RFC 5227, Section 2.1.1), and a guest is bound to its MAC and its addresses.
func TestAddressIsDefended(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, mode := range []string{"kernel", "responder"} {
		t.Run(mode, func(t *testing.T) {
			w := newTestbed(t, mode)
			s := w.scenes[hostile.Guest]
			remote, ghost := netip.MustParseAddr("203.0.113.100"), netip.MustParseAddr("203.0.113.77")
			subnet := netip.MustParseAddr("10.99.1.1")
			for _, c := range []struct {
				name           string
				mac            net.HardwareAddr
				sender, target netip.Addr
				want           int
			}{
				{"probe of a remote guest's", s.MAC, netip.IPv4Unspecified(), remote, 1},
				{"probe of the other guest's here", s.MAC, netip.IPv4Unspecified(), s.Other4, 1},
				{"probe of the gateway", s.MAC, netip.IPv4Unspecified(), s.Gateway4, 1},
				{"probe of its own", s.MAC, netip.IPv4Unspecified(), s.Own4, 0},
				{"probe of nobody's", s.MAC, netip.IPv4Unspecified(), ghost, 0},
				{"its own, for the gateway", s.MAC, s.Own4, s.Gateway4, 1},
				{"its own, for a remote guest", s.MAC, s.Own4, remote, 1},
				{"its subnet's, for the gateway", s.MAC, subnet, s.Gateway4, 1},
				{"its subnet's, for a remote guest", s.MAC, subnet, remote, 1},
				{"its own from another MAC, for the gateway", hostile.Station(1), s.Own4, s.Gateway4, 0},
				{"a probe from another MAC", hostile.Station(1), netip.IPv4Unspecified(), remote, 0},
				{"the other guest's, for the gateway", s.MAC, s.Other4, s.Gateway4, 0},
				{"nobody's, for a remote guest", s.MAC, ghost, remote, 0},
			} {
				if got := w.answers(s.ARP(c.mac, layers.ARPRequest, c.sender, c.target), c.target); got != c.want {
					t.Errorf("%s: %d answers, want %d", c.name, got, c.want)
				}
			}
			for _, line := range strings.Split(w.hv.IP("neigh show dev vm1 nud all"), "\n") {
				if line != "" && !strings.Contains(line, "PERMANENT") && !strings.Contains(line, "NOARP") {
					t.Errorf("learned: %s", line)
				}
			}
		})
	}
}

// answers sends a frame from the attacker and counts ARP replies and advertisements about
// a target, all of which must give the hypervisor's MAC.
func (w *testbed) answers(frame []byte, target netip.Addr) (n int) {
	w.t.Helper()
	out, err := hostile.Open(w.vm1.Path, "eth0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	capture, err := hostile.Hear(w.vm1.Path, "eth0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer capture.Close()
	ours := w.mac(w.hv, "vm1").String()
	if err := out.Send(frame); err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(250 * time.Millisecond); ; {
		heard, err := capture.Next(deadline)
		if err != nil {
			return n
		}
		p := gopacket.NewPacket(heard, layers.LayerTypeEthernet, gopacket.NoCopy)
		if a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && a.Operation == layers.ARPReply && netip.AddrFrom4([4]byte(a.SourceProtAddress)) == target {
			n++
			if got := net.HardwareAddr(a.SourceHwAddress).String(); got != ours {
				w.t.Errorf("%v is at %s, want %s", target, got, ours)
			}
		}
		if a, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement); ok && a.TargetAddress.String() == target.String() {
			n++
		}
	}
}

// TestHeardFromElsewhere: a guest asks for its gateway from an address that the inventory
// does not know. The daemon answers, the kernel gets to know it, for good, and answers while
// there is no daemon; it can be pinged from there, and a flood of others does not take that
// away.
func TestHeardFromElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	w := newTestbed(t, "kernel")
	s := w.scenes[hostile.Guest]
	private := netip.MustParseAddr("fe80::1234:5678:9abc:def0") // RFC 7217, Section 5
	inside := hostile.Inside(s.Own6, 77)
	for _, from := range []netip.Addr{private, inside} {
		if n := w.answers(s.Solicit(s.MAC, from), s.Gateway6); n != 1 {
			t.Errorf("%v: %d answers, want 1", from, n)
		}
		nstest.Wait(t, 10*time.Second, from.String()+" to be a permanent neighbour", func() bool {
			return strings.Contains(w.hv.IP("-6 neigh show "+from.String()+" dev vm1"), "PERMANENT")
		})
		if n := w.answers(s.Solicit(s.MAC, from), s.Gateway6); n != 1 {
			t.Errorf("%v: %d answers by the kernel, want 1", from, n)
		}
	}
	w.vm1.IP("-6 addr add " + private.String() + "/64 dev eth0 nodad")
	w.vm1.Exec("ping", "-c1", "-W5", "-I", private.String()+"%eth0", "fe80::1%eth0")
	if n := w.answers(s.Solicit(hostile.Station(1), hostile.LinkLocal(5)), s.Gateway6); n != 0 {
		t.Errorf("another MAC: %d answers", n)
	}
	w.cmd.Process.Signal(syscall.SIGKILL)
	w.cmd.Wait()
	for _, from := range []netip.Addr{private, inside, hostile.LinkLocalOf(s.MAC)} {
		if n := w.answers(s.Solicit(s.MAC, from), s.Gateway6); n != 1 {
			t.Errorf("%v, the daemon dead: %d answers, want 1", from, n)
		}
	}
	w.vm1.Exec("ping", "-c1", "-W5", "203.0.113.254")
}

// TestUnknownOptions: what nobody knows of IPv6's hop-by-hop options is not answered, on
// any interface, so that nobody uses up the ICMPv6 errors that others need.
func TestUnknownOptions(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	w := newTestbed(t, "kernel")
	for _, from := range []hostile.Port{hostile.Guest, hostile.Loose, hostile.Outside} {
		ns, link := w.where(from)
		out, err := hostile.Open(ns.Path, link)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		before := w.snmp6("Icmp6OutParmProblems")
		for i := range uint32(20) {
			_ = out.Send(w.scenes[from].Option6(hostile.Inside(w.scenes[from].Own6, i), w.scenes[from].Local6))
		}
		nstest.Wait(t, 5*time.Second, "a ping after that", func() bool { return w.vm2.Command("ping", "-c1", "-W1", far6(0).String()).Run() == nil })
		if n := w.snmp6("Icmp6OutParmProblems") - before; n > 0 {
			t.Errorf("from port %d: %d errors sent", from, n)
		}
	}
}

// snmp6 is a counter of the hypervisor's.
func (w *testbed) snmp6(name string) (n int) {
	for line := range strings.Lines(w.hv.Exec("cat", "/proc/net/snmp6")) {
		if f := strings.Fields(line); f[0] == name {
			n, _ = strconv.Atoi(f[1])
		}
	}
	return n
}
