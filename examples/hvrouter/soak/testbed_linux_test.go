package soak

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
	"github.com/hyperfib/hyperfib/examples/routereflector/app"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestMain lets the test binary be hvrouter, and the watch over the machine.
func TestMain(m *testing.M) {
	if os.Getenv(watchEnv) != "" {
		os.Exit(watchMain())
	}
	if len(os.Args) > 1 && os.Args[1] == "routereflector" {
		os.Exit(app.Main(os.Args[2:]))
	}
	if os.Getenv("HVROUTER_MAIN") != "" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

const hostConfig = `
router-id: 0.0.1.N
as: 65000
api: DIR/api.sock
state-directory: DIR/state
loopback: {interface: loopback, address: 172.22.2.N/32}
bfd: {interval: 100ms, multiplier: 10, process: separate}
bgp: {rt-constrain: true, graceful-restart: {time: 60s, deferral: 10s}}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.10N, peer: 198.51.100.126, families: [ipv4, ipv6], next-hop6: "2001:db8:a::10N"}
      - {fabric: B, interface: b.public, local: 198.51.100.20N, peer: 198.51.100.226, families: [ipv4, ipv6], next-hop6: "2001:db8:b::20N", restart-time: 10s}
  - name: private
    table: 20
    loopback: true
    reflectors:
      - {fabric: A, interface: a.private, local: 172.22.15.10N, peer: 172.22.15.126}
      - {fabric: B, interface: b.private, local: 172.22.15.20N, peer: 172.22.15.226}
local-out: {table: 100, domains: [private], last-resort: unreachable}
edge: {gateway4: 203.0.113.254}
firewall: {trusted: []}
inventory: {directory: DIR/guests, within: [203.0.113.0/24, "2001:db8:cb00::/48"]}
guest-templates:
  - {interfaces: "tap*", discovery: {neighbors: true, within: [203.0.113.TAPS/29]}}
overlays:
  - {name: vx100, vni: 100, bridge: br100, members: [vm.vx, g0.vx], vteps: 172.22.2.0/24}EVPN
guests:
  - {name: vm, interface: vm, mac: "50:54:33:00:00:0N", ipv4: [203.0.113.N], ipv6: ["2001:db8:cb00:N::/64"], routed: [203.0.113.10/32],
     overlays: [{overlay: vx300, interface: vm.ev, mac: "50:54:33:00:02:0N", ipv4: [192.168.7.N], ipv6: ["2001:db8:7::N"]}]}
GUESTS`

// Guests that come and go.
const (
	churning = 6 // g0 to g5: two in the file, two of the directory, two by command
	taps     = 2 // tap0 and tap1: known by what they speak from
)

const birdReflector = `
router id ADDR;
log stderr { warning, error, auth, fatal, bug };
protocol device { }
protocol bfd { strict bind on; interface "*" { interval 100 ms; multiplier 10; }; }
template bgp hypervisor {
  local ADDR as 65000; direct; strict bind on; passive on; ttl security on; rr client; rr cluster id ADDR; bfd on;
  graceful restart on; hold time 90; error wait time 1, 2;
  ipv4 { import all; export all; add paths tx; };
  IPV6
}
protocol bgp hv1 from hypervisor { neighbor HV1 as 65000; }
protocol bgp hv2 from hypervisor { neighbor HV2 as 65000; }
protocol bgp hv3 from hypervisor { neighbor HV3 as 65000; }
`

// Clients are named: of those that come from a range, FRR 8.4.4 forgets the BFD session when a link
// flaps, once in some ten times, and keeps the BGP session without it.
const frrReflector = `
frr defaults traditional
router bgp 65000
 bgp router-id 198.51.100.226
 bgp cluster-id 198.51.100.226
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor hypervisors peer-group
 neighbor hypervisors remote-as 65000
 neighbor hypervisors ttl-security hops 1
 neighbor hypervisors passive
 neighbor hypervisors bfd
 neighbor hypervisors bfd profile hypervisors
 neighbor 198.51.100.201 peer-group hypervisors
 neighbor 198.51.100.202 peer-group hypervisors
 neighbor 198.51.100.203 peer-group hypervisors
 address-family ipv4 unicast
  table-map none
  neighbor hypervisors activate
  neighbor hypervisors route-reflector-client
  neighbor hypervisors addpath-tx-all-paths
 exit-address-family
 address-family ipv6 unicast
  table-map none
  neighbor hypervisors activate
  neighbor hypervisors route-reflector-client
  neighbor hypervisors addpath-tx-all-paths
 exit-address-family
exit
route-map none deny 10
exit
bfd
 profile hypervisors
  transmit-interval 100
  receive-interval 100
  detect-multiplier 10
 exit
exit
`

// network is one of the four: a bridge in a namespace of its own, with its reflector.
type network struct {
	name   string // a.public
	ns     *nstest.NS
	dir    string
	addr   string // the reflector's
	frr    bool
	ours   bool      // a reflector of ours
	daemon *exec.Cmd // bird, bgpd or ours: what is restarted
}

// host is one of the hypervisors.
type host struct {
	bed     *testbed
	t       *testing.T
	n       int
	edits   []string // of its file, as of [strings.NewReplacer]
	dir     string
	hv      *nstest.NS
	vm      *nstest.NS // the guest that streams
	others  *nstest.NS // the far ends of those that come and go
	plugged map[string]bool
	api     *api.Client // one, or each would leave a connection behind

	mu  sync.Mutex // cmd
	cmd *exec.Cmd
}

// testbed is all of it.
type testbed struct {
	t        *testing.T
	dir      string
	networks []*network
	hosts    []*host
	watch    *watch // over the machine, of a soak: limits of time allow for it
}

// newTestbed makes hypervisors, of whose files something may be edited.
func newTestbed(t *testing.T, hosts int, edits ...string) *testbed {
	nstest.Need(t, "bird")
	nstest.Need(t, "bgpd", "/usr/lib/frr")
	b := &testbed{t: t, dir: t.TempDir()}
	for path := b.dir; path != "/tmp" && path != "/"; path = filepath.Dir(path) { // FRR gives up root
		_ = os.Chmod(path, 0o755)
	}
	for _, n := range []*network{
		{name: "a.public", addr: "198.51.100.126"}, {name: "b.public", addr: "198.51.100.226", frr: true},
		{name: "a.private", addr: "172.22.15.126", ours: true}, {name: "b.private", addr: "172.22.15.226", ours: true},
	} {
		b.network(n)
	}
	for n := 1; n <= hosts; n++ {
		b.host(n, edits)
	}
	for _, n := range b.networks {
		b.reflector(n)
	}
	for _, h := range b.hosts {
		h.run()
		h.plug("vm", h.vm, "eth0", fmt.Sprintf("50:54:33:00:00:0%d", h.n))
		h.plug("vm.vx", h.vm, "eth1", fmt.Sprintf("50:54:33:00:01:0%d", h.n))
		h.plug("vm.ev", h.vm, "eth2", fmt.Sprintf("50:54:33:00:02:0%d", h.n))
		for _, args := range []string{
			fmt.Sprintf("addr add 192.168.7.%d/24 dev eth2", h.n), fmt.Sprintf("addr add 2001:db8:7::%d/64 dev eth2 nodad", h.n),
			fmt.Sprintf("addr add 203.0.113.%d/24 dev eth0", h.n), fmt.Sprintf("addr add 203.0.113.%d/32 dev lo", 10),
			fmt.Sprintf("addr add 192.168.5.%d/24 dev eth1", h.n), fmt.Sprintf("addr add 2001:db8:cb00:%d::1/64 dev eth0 nodad", h.n),
			"route add default via 203.0.113.254", "-6 route add default via fe80::1 dev eth0",
		} {
			h.vm.IP(args)
		}
	}
	return b
}

func (b *testbed) network(n *network) {
	n.ns, n.dir = nstest.New(b.t, n.name), filepath.Join(b.dir, n.name)
	n.ns.IP("link add name net type bridge forward_delay 0")
	n.ns.IP("addr add " + n.addr + "/25 dev net")
	if strings.HasSuffix(n.name, "public") {
		n.ns.IP("addr add 2001:db8:" + n.name[:1] + "::126/64 dev net nodad")
	}
	n.ns.IP("link set net up")
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.networks = append(b.networks, n)
}

// of returns the networks of a fabric, a or b.
func (b *testbed) of(fabric string) (list []*network) {
	for _, n := range b.networks {
		if strings.HasPrefix(n.name, fabric) {
			list = append(list, n)
		}
	}
	return list
}

func (b *testbed) host(n int, edits []string) {
	h := &host{bed: b, t: b.t, n: n, edits: edits, dir: filepath.Join(b.dir, fmt.Sprint("hv", n)), plugged: map[string]bool{}}
	h.api = api.NewClient(h.path("api.sock"))
	h.hv, h.vm, h.others = nstest.New(b.t, fmt.Sprint("hv", n)), nstest.New(b.t, fmt.Sprint("vm", n)), nstest.New(b.t, fmt.Sprint("others", n))
	for _, dir := range []string{h.dir, filepath.Join(h.dir, "guests"), filepath.Join(h.dir, "state")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set loopback up")
	h.hv.Sysctl("net/ipv6/conf/all/keep_addr_on_down", "1") // as what configures uplinks would give them their addresses again
	h.vm.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	for _, net := range b.networks {
		last := n + 100
		if net.name[0] == 'b' {
			last += 100
		}
		addrs := fmt.Sprintf("%s%d/25", net.addr[:strings.LastIndex(net.addr, ".")+1], last)
		if strings.HasSuffix(net.name, "public") {
			addrs += fmt.Sprintf(" 2001:db8:%s::%d/64", net.name[:1], last)
		}
		nstest.Veth(h.hv, net.name, addrs, net.ns, fmt.Sprint("hv", n), "")
		net.ns.IP(fmt.Sprint("link set hv", n, " master net"))
	}
	h.write("hv.yaml", h.config())
	b.hosts = append(b.hosts, h)
	b.t.Cleanup(h.end)
}

// config returns the file as it is in the beginning and in the end.
func (h *host) config() string {
	var guests strings.Builder
	for i := range 2 {
		fmt.Fprintf(&guests, "  - %s\n", h.guest(i, 0))
	}
	text := strings.NewReplacer("N::", fmt.Sprint(h.n, "::"), ".N", fmt.Sprint(".", h.n), "0N", fmt.Sprint("0", h.n), ":N::", fmt.Sprint(":", h.n, "::"), "TAPS", fmt.Sprint(128+8*h.n), "::N\"", fmt.Sprint("::", h.n, "\""), "DIR", h.dir, "EVPN", evpnOverlays, "GUESTS", guests.String()+roamingGuests()).Replace(hostConfig)
	return strings.NewReplacer(h.edits...).Replace(text)
}

// guest returns one of those that come and go, in YAML; the version is how many more addresses it
// has.
func (h *host) guest(i, version int) string {
	routed := ""
	for v := range version {
		routed += fmt.Sprintf("203.0.113.%d/32, ", 32+h.n*64+i*4+v)
	}
	return fmt.Sprintf(`{name: g%d, interface: g%d, mac: "%s", ipv4: [203.0.113.%d], ipv6: ["2001:db8:cb00:%d%d::/64"], routed: [%s"2001:db8:cb00:%d%d:1::/80"]%s}`, i, i, h.mac(i), h.n*16+i, h.n, 10+i, routed, h.n+2, 10+i, h.onOverlay(i, version))
}

// mac returns that of a guest who comes and goes.
func (h *host) mac(i int) string { return fmt.Sprintf("50:54:33:00:%02x:%02x", 2+h.n, i) }

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name, text string) {
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Error(err)
	}
}

// plug makes a guest's interface, whose far end is up.
func (h *host) plug(name string, far *nstest.NS, end, mac string) {
	h.hv.IP(fmt.Sprintf("link add name %s type veth peer name %s address %s netns %s", name, end, mac, far.Name))
	far.IP("link set " + end + " up")
	h.plugged[name] = true
}

func (h *host) unplug(name string) {
	h.hv.IP("link del " + name)
	delete(h.plugged, name)
}

// command prepares one of hvrouter.
func (h *host) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.hv.Command(self, args...)
	cmd.Env = append(os.Environ(), "HVROUTER_MAIN=1", "GORACE=atexit_sleep_ms=0", "HVROUTER_API="+h.path("api.sock"))
	return cmd
}

// cli runs a command, and returns what it printed.
func (h *host) cli(args ...string) (string, error) {
	out, err := h.command(args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("hvrouter %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), err
}

func (h *host) ask(path string, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), nstest.Patience)
	defer cancel()
	return h.api.Get(ctx, path, v)
}

// run starts the daemon.
func (h *host) run() {
	log, err := os.OpenFile(h.path("hv.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cmd = h.command("run", "-config", h.path("hv.yaml"))
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the daemon and waits for it.
func (h *host) kill(s os.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.cmd.Process.Signal(s)
	_ = h.cmd.Wait()
}

// answers waits until the daemon does.
func (h *host) answers() error {
	return h.bed.until(nstest.Patience, func() error { var s api.Status; return h.ask("/v1/status", &s) })
}

// bfd returns the process of the BFD sessions, 0 if there is none.
func (h *host) bfd() int {
	pids, _ := exec.Command("ip", "netns", "pids", h.hv.Name).Output()
	for word := range strings.FieldsSeq(string(pids)) {
		line, _ := os.ReadFile("/proc/" + word + "/cmdline")
		if slices.Contains(strings.Split(string(line), "\x00"), "bfd") {
			pid, _ := strconv.Atoi(word)
			return pid
		}
	}
	return 0
}

// end ends the daemon and the BFD process.
func (h *host) end() {
	if h.cmd != nil {
		h.kill(syscall.SIGKILL)
	}
	if pid := h.bfd(); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	log, _ := os.ReadFile(h.path("hv.log"))
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if bytes.Contains(log, []byte(bad)) {
			h.t.Errorf("the log of hypervisor %d has %q", h.n, bad)
		}
	}
	if h.t.Failed() {
		h.t.Logf("hypervisor %d, end of its log:\n%s", h.n, log[max(0, len(log)-6000):])
	}
}

// up returns an error unless all sessions and all of their BFD sessions are.
func (h *host) up() error {
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		return err
	}
	for _, s := range all {
		if s.State != "Established" || s.BFD != "Up" {
			return fmt.Errorf("hypervisor %d: session with %v is %s, BFD %s: %s", h.n, s.Peer, s.State, s.BFD, s.Error)
		}
	}
	if want := strings.Count(h.config(), "{fabric:"); len(all) != want {
		return fmt.Errorf("hypervisor %d: %d sessions, want %d", h.n, len(all), want)
	}
	return nil
}

// steady returns an error unless all sessions are up, and are as the file of the beginning has them.
func (h *host) steady() error {
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		return err
	}
	for _, s := range all {
		if s.HoldTime != "1m30s" {
			return fmt.Errorf("hypervisor %d: the session with %v has a hold time of %q", h.n, s.Peer, s.HoldTime)
		}
	}
	return h.up()
}

// up waits until all sessions of both hypervisors are.
func (b *testbed) up(limit time.Duration) error {
	return b.until(limit, func() error {
		for _, h := range b.hosts {
			if err := h.up(); err != nil {
				return err
			}
		}
		return nil
	})
}

// until polls f until it has no error any more, and returns the last one after limit, beside which the
// machine may have stood still.
func (b *testbed) until(limit time.Duration, f func() error) error {
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Since(start) > limit && time.Since(start)-b.watch.stood(start) > limit {
			return fmt.Errorf("after %v: %w", limit, err)
		}
	}
}

// reflector starts that of a network.
func (b *testbed) reflector(n *network) {
	b.t.Cleanup(func() { n.stop(syscall.SIGKILL) })
	switch {
	case n.ours:
		b.startOurs(n)
		return
	case !n.frr:
		to := n.addr[:strings.LastIndex(n.addr, ".")+1]
		first, v6 := "10", ""
		if n.name[0] == 'b' {
			first = "20"
		}
		if strings.HasSuffix(n.name, "public") {
			v6 = "ipv6 { import all; export all; add paths tx; };"
		}
		text := strings.NewReplacer("ADDR", n.addr, "HV1", to+first+"1", "HV2", to+first+"2", "HV3", to+first+"3", "IPV6", v6).Replace(birdReflector)
		if err := os.WriteFile(filepath.Join(n.dir, "bird.conf"), []byte(text), 0o644); err != nil {
			b.t.Fatal(err)
		}
		b.start(n)
		return
	}
	account, err := user.Lookup("frr")
	if err != nil {
		b.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(n.dir, uid, gid); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "frr.conf"), []byte(frrReflector), 0o644); err != nil {
		b.t.Fatal(err)
	}
	for _, p := range []string{"zebra", "bfdd"} {
		cmd := b.frr(n, p)
		b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	b.start(n)
}

// frr starts one of FRR's programs.
func (b *testbed) frr(n *network, program string) *exec.Cmd {
	_ = os.Remove(filepath.Join(n.dir, program+".vty"))
	args := []string{"-u", "frr", "-g", "frr", "-f", "/dev/null", "-P", "0", "--log", "stdout", "-i", filepath.Join(n.dir, program+".pid"), "-z", filepath.Join(n.dir, "zserv"), "--vty_socket", n.dir}
	switch program {
	case "bfdd":
		args = append(args, "--bfdctl", filepath.Join(n.dir, "bfdd.ctl"))
	case "bgpd":
		args = append(args, "-l", n.addr)
	}
	cmd := b.program(n, filepath.Join("/usr/lib/frr", program), args...)
	nstest.Wait(b.t, 10*time.Second, program, func() bool { _, err := os.Stat(filepath.Join(n.dir, program+".vty")); return err == nil })
	return cmd
}

// program starts one in the namespace of a network.
func (b *testbed) program(n *network, path string, args ...string) *exec.Cmd {
	log, err := os.OpenFile(filepath.Join(n.dir, filepath.Base(path)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	cmd := n.ns.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return cmd
}

// start starts what a restart of the reflector ends.
func (b *testbed) start(n *network) {
	switch {
	case n.ours:
		b.startOurs(n)
		return
	case !n.frr:
		n.daemon = b.program(n, "bird", "-f", "-c", filepath.Join(n.dir, "bird.conf"), "-s", filepath.Join(n.dir, "bird.ctl"), "-P", filepath.Join(n.dir, "bird.pid"))
		return
	}
	n.daemon = b.frr(n, "bgpd")
	if out, err := n.ns.Command("vtysh", "--vty_socket", n.dir, "-f", filepath.Join(n.dir, "frr.conf")).CombinedOutput(); err != nil {
		b.t.Fatalf("vtysh: %v: %s", err, out)
	}
}

// stop ends it.
func (n *network) stop(s os.Signal) {
	if n.daemon != nil {
		_ = n.daemon.Process.Signal(s)
		_ = n.daemon.Wait()
	}
}

// state returns what the reflector says of its sessions.
func (n *network) state() string {
	if n.ours {
		return fmt.Sprint(n.clients())
	}
	command := n.ns.Command("birdc", "-s", filepath.Join(n.dir, "bird.ctl"), "show bfd sessions")
	if n.frr {
		command = n.ns.Command("vtysh", "--vty_socket", n.dir, "-c", "show bgp summary", "-c", "show bfd peers")
	}
	out, _ := command.CombinedOutput()
	return string(out)
}

// routes returns the prefixes that the reflector has, with their next hops.
func (n *network) routes() string {
	var out []byte
	if n.frr {
		for _, family := range []string{"ipv4", "ipv6"} {
			one, _ := n.ns.Command("vtysh", "--vty_socket", n.dir, "-c", "show bgp "+family+" unicast json").Output()
			out = append(out, one...)
		}
	} else {
		out, _ = n.ns.Command("birdc", "-s", filepath.Join(n.dir, "bird.ctl"), "show route").Output()
	}
	return string(out)
}
