package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/bgp/rib"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// lan is a network of namespaces around a bridge: our speaker at 10.77.0.1 and
// fd77::1 in hub, peers at .2, .3 ...
type lan struct {
	tb  testing.TB
	hub *nstest.NS
}

func newLAN(tb testing.TB) *lan {
	tb.Helper()
	if testing.Short() {
		tb.Skip("namespace test")
	}
	l := &lan{tb: tb, hub: nstest.New(tb, "hub")}
	l.hub.IP("link add br0 address 02:00:00:00:00:01 type bridge") // else it changes with each port
	l.hub.IP("addr add 10.77.0.1/24 dev br0")
	l.hub.IP("addr add fd77::1/64 dev br0 nodad")
	l.hub.IP("link set br0 up")
	return l
}

// host adds a namespace with address .n.
func (l *lan) host(n int) *nstest.NS {
	l.tb.Helper()
	ns := nstest.New(l.tb, fmt.Sprintf("h%d", n))
	port := fmt.Sprintf("p%d", n)
	nstest.Veth(l.hub, port, "", ns, "eth0", fmt.Sprintf("10.77.0.%d/24 fd77::%d/64", n, n))
	l.hub.IP("link set " + port + " master br0")
	return ns
}

// program runs a daemon in a namespace until the test ends.
type program struct {
	tb  testing.TB
	ns  *nstest.NS
	dir string
	cmd *exec.Cmd
	log string
	arg []string
}

func startProgram(tb testing.TB, ns *nstest.NS, dir, bin string, arg ...string) *program {
	tb.Helper()
	p := &program{tb: tb, ns: ns, dir: dir, log: filepath.Join(dir, "log"), arg: append([]string{bin}, arg...)}
	p.start()
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			b, _ := os.ReadFile(p.log)
			tb.Logf("%s:\n%s", filepath.Base(bin), b)
		}
	})
	return p
}

func (p *program) start() {
	p.tb.Helper()
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.tb.Fatal(err)
	}
	defer f.Close()
	p.cmd = exec.Command(p.arg[0], p.arg[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.ns.Do(p.cmd.Start)
}

// kill is kill -9 of the process that was started. It returns when none of its group runs: the session
// engine of OpenBGPD ends by itself once its parent is gone, and holds the port until then.
func (p *program) kill() {
	if p.cmd == nil {
		return
	}
	group := p.cmd.Process.Pid
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
	nstest.Wait(p.tb, 10*time.Second, "the end of "+p.arg[0], func() bool { return !running(group) })
}

// running reports whether a process of a group has not exited. One that has, and that nobody has waited for
// yet, holds no socket any more.
func running(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	return slices.ContainsFunc(stats, func(path string) bool {
		b, _ := os.ReadFile(path) // none if it has ended meanwhile
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		return len(f) > 2 && f[0] != "Z" && f[0] != "X" && f[2] == strconv.Itoa(group)
	})
}

func write(tb testing.TB, dir, name, text string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// bird is a running BIRD 2.
type bird struct{ *program }

// startBIRD runs BIRD with the router id 10.77.0.n and the given protocols.
func startBIRD(l *lan, n int, conf string) *bird {
	l.tb.Helper()
	bin := nstest.Need(l.tb, "bird", "/usr/sbin")
	dir := l.tb.TempDir()
	head := fmt.Sprintf("log stderr all;\nrouter id 10.77.0.%d;\nprotocol device { scan time 1; }\n", n)
	path := write(l.tb, dir, "bird.conf", head+conf)
	return &bird{startProgram(l.tb, l.host(n), dir, bin, "-f", "-c", path, "-s", filepath.Join(dir, "ctl"))}
}

// birdc asks a running BIRD.
func (b *bird) birdc(command string) string {
	out, _ := exec.Command("birdc", "-s", filepath.Join(b.dir, "ctl"), command).CombinedOutput()
	return string(out)
}

func (b *bird) waitFor(what, command, want string) {
	b.tb.Helper()
	waitText(b.tb, what, want, func() string { return b.birdc(command) })
}

// real is our speaker on real sockets in a namespace.
type real struct {
	*Speaker
	tb   testing.TB
	stop func()
}

func startReal(tb testing.TB, ns *nstest.NS, c Config) *real {
	tb.Helper()
	c.AS, c.NetNS = or(c.AS, 65000), ns.Path
	if !c.RouterID.IsValid() {
		c.RouterID = netip.MustParseAddr("10.77.0.1")
	}
	if c.Listen == nil {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("10.77.0.1:179"), netip.MustParseAddrPort("[fd77::1]:179")}
	}
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := s.Watch()
	go func() {
		for e, err := range log.All(ctx) {
			if err != nil {
				return
			}
			if e.Kind != EventState {
				tb.Logf("%s %v %v %v %v %v", e.Time.Format("05.000"), e.Kind, e.Peer, e.State, e.Restart, e.Err)
			}
		}
	}()
	go func() { done <- s.Run(ctx) }()
	r := &real{Speaker: s, tb: tb}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	}
	tb.Cleanup(r.stop)
	return r
}

func (r *real) must(err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatal(err)
	}
}

func (r *real) waitState(addr string, want State) {
	r.tb.Helper()
	key := PeerKey{Addr: netip.MustParseAddr(addr)}
	nstest.Wait(r.tb, 15*time.Second, fmt.Sprintf("%v %v", key, want), func() bool {
		st, err := r.Peer(key)
		return err == nil && st.State == want
	})
}

// watchPaths returns the current multipath set of a prefix.
func (r *real) watchPaths(prefix string) (paths []rib.Path) {
	want := netip.MustParsePrefix(prefix)
	w := r.Table().Watch(rib.WatchConfig{})
	defer w.Close()
	changes := make([]rib.Change, 256)
	for {
		n := w.Next(changes)
		if n == 0 {
			return nil
		}
		for _, c := range changes[:n] {
			if c.Prefix == want {
				return c.Paths
			}
		}
	}
}

func (r *real) waitPaths(prefix string, want int) []rib.Path {
	r.tb.Helper()
	var got []rib.Path
	nstest.Wait(r.tb, 15*time.Second, fmt.Sprintf("%d paths to %s", want, prefix), func() bool {
		got = r.watchPaths(prefix)
		return len(got) == want
	})
	return got
}

func (r *real) originate(prefixes ...string) {
	r.tb.Helper()
	for _, p := range prefixes {
		r.must(r.Table().Originate(rib.LocalPath{Prefix: netip.MustParsePrefix(p)}))
	}
}

// frr is a running bgpd of FRR, with zebra for its next hops.
type frr struct{ *program }

// startFRR runs zebra and bgpd with the given configuration.
func startFRR(l *lan, n int, conf string) *frr {
	l.tb.Helper()
	zebra := nstest.Need(l.tb, "zebra", "/usr/lib/frr")
	bgpd := filepath.Join(filepath.Dir(zebra), "bgpd") // the bgpd in PATH may be OpenBGPD
	dir := l.tb.TempDir()
	// FRR drops privileges to frr, which must get at its sockets.
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o777)
	}
	path := write(l.tb, dir, "frr.conf", strings.ReplaceAll(conf, "ROUTERID", fmt.Sprintf("10.77.0.%d", n)))
	empty := write(l.tb, dir, "zebra.conf", "")
	ns := l.host(n)
	zdir := filepath.Join(dir, "z")
	_ = os.Mkdir(zdir, 0o777)
	sock := filepath.Join(dir, "zserv.api")
	startProgram(l.tb, ns, zdir, zebra, "-f", empty, "-z", sock, "--vty_socket", dir, "-i", filepath.Join(dir, "z.pid"), "-P", "0", "--log", "stdout")
	nstest.Wait(l.tb, 10*time.Second, "zebra's socket", func() bool { _, err := os.Stat(sock); return err == nil })
	return &frr{startProgram(l.tb, ns, dir, bgpd, "-f", path, "-z", sock, "--vty_socket", dir, "-i", filepath.Join(dir, "b.pid"), "-P", "0", "--log", "stdout")}
}

// vtysh asks a running bgpd.
func (f *frr) vtysh(command string) string {
	out, _ := exec.Command("vtysh", "--vty_socket", f.dir, "-d", "bgpd", "-c", command).CombinedOutput()
	return string(out)
}

func (f *frr) waitFor(what, command, want string) {
	f.tb.Helper()
	waitText(f.tb, what, want, func() string { return f.vtysh(command) })
}

// waitText waits until ask returns a text that contains want.
func waitText(tb testing.TB, what, want string, ask func() string) {
	tb.Helper()
	deadline := time.Now().Add(2 * nstest.Patience)
	for {
		out := ask()
		if strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: %q not in:\n%s", what, want, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// gobgp is a running GoBGP.
type gobgp struct{ *program }

func startGoBGP(l *lan, n int, conf string) *gobgp {
	l.tb.Helper()
	bin := nstest.Need(l.tb, "gobgpd", "/usr/bin")
	dir := l.tb.TempDir()
	head := fmt.Sprintf("[global.config]\n as = 65000\n router-id = \"10.77.0.%d\"\n", n)
	if strings.Contains(conf, "[global.config]") {
		head = ""
	}
	path := write(l.tb, dir, "gobgp.toml", head+conf)
	return &gobgp{startProgram(l.tb, l.host(n), dir, bin, "-f", path, "-l", "debug", "-p")}
}

// gobgp asks a running GoBGP.
func (g *gobgp) gobgp(arg ...string) string {
	out, _ := g.ns.Command("gobgp", arg...).CombinedOutput()
	return string(out)
}

// openbgpd is a running OpenBGPD.
type openbgpd struct{ *program }

func startOpenBGPD(l *lan, n int) *openbgpd {
	l.tb.Helper()
	return startOpenBGPDWith(l, n, fmt.Sprintf(`AS 65000
network 198.18.%d.0/24
neighbor 10.77.0.1 {
  remote-as 65000
  announce IPv4 unicast
  announce IPv6 unicast
  announce add-path recv yes
}
allow from ibgp
allow to ibgp
`, n))
}

// startOpenBGPDWith runs OpenBGPD with a configuration of its own.
func startOpenBGPDWith(l *lan, n int, conf string) *openbgpd {
	l.tb.Helper()
	nstest.Need(l.tb, "bgpctl", "/usr/sbin")
	dir := l.tb.TempDir()
	_ = os.MkdirAll("/run/openbgpd", 0o755) // what it changes its root to
	conf = fmt.Sprintf("router-id 10.77.0.%[1]d\nfib-update no\nsocket %[2]q\nlisten on 10.77.0.%[1]d\n", n, filepath.Join(dir, "ctl")) + conf
	path := write(l.tb, dir, "bgpd.conf", conf)
	_ = os.Chmod(path, 0o600)
	return &openbgpd{startProgram(l.tb, l.host(n), dir, "/usr/sbin/bgpd", "-d", "-f", path)}
}

func (o *openbgpd) bgpctl(arg ...string) string {
	out, _ := exec.Command("bgpctl", append([]string{"-s", filepath.Join(o.dir, "ctl")}, arg...)...).CombinedOutput()
	return string(out)
}

// startExaBGP runs ExaBGP with a route of each family.
func startExaBGP(l *lan, n int) *program {
	l.tb.Helper()
	bin := nstest.Need(l.tb, "exabgp", "/usr/sbin")
	dir := l.tb.TempDir()
	path := write(l.tb, dir, "exabgp.conf", fmt.Sprintf(`neighbor 10.77.0.1 {
  router-id 10.77.0.%[1]d;
  local-address 10.77.0.%[1]d;
  local-as 65000;
  peer-as 65000;
  hold-time 30;
  family { ipv4 unicast; ipv6 unicast; }
  capability { add-path send/receive; route-refresh; graceful-restart 20; }
  static {
    route 198.18.%[1]d.0/24 next-hop 10.77.0.%[1]d community [65000:90 65000:20] large-community 65000:1:2 extended-community [target:65000:7];
    route 2001:db8:%[1]d::/48 next-hop fd77::%[1]d;
  }
}
`, n))
	return startProgram(l.tb, l.host(n), dir, "/usr/bin/env", "exabgp.daemon.user=root", "exabgp.api.cli=false", bin, path)
}

// startBIRD1 runs BIRD 1.6 from where .ci/peers unpacks it.
func startBIRD1(l *lan, n int) *program {
	l.tb.Helper()
	at := os.Getenv("HYPERFIB_BIRD1")
	if at == "" {
		at = "../.cache/bird1/usr/sbin"
	}
	bin := filepath.Join(at, "bird")
	if _, err := os.Stat(bin); err != nil {
		if os.Getenv("HYPERFIB_CI") == "1" {
			l.tb.Fatal("BIRD 1.6: ", err)
		}
		l.tb.Skip("BIRD 1.6 is not unpacked: ", err)
	}
	dir := l.tb.TempDir()
	path := write(l.tb, dir, "bird.conf", fmt.Sprintf(`log stderr all;
router id 10.77.0.%[1]d;
protocol device {}
protocol static { route 198.18.%[1]d.0/24 blackhole; }
protocol bgp hub { local 10.77.0.%[1]d as 65000; neighbor 10.77.0.1 as 65000; direct; import all; export all; next hop self; add paths on;
  connect delay time 1; }
`, n))
	return startProgram(l.tb, l.host(n), dir, bin, "-f", "-c", path, "-s", filepath.Join(dir, "ctl"), "-P", filepath.Join(dir, "pid"))
}
