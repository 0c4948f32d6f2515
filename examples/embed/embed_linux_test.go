package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/examples/lab/flow"
	"github.com/hyperfib/hyperfib/examples/lab/nl"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const (
	module    = "github.com/hyperfib/hyperfib"
	lines     = 60 // of main.go, with its imports
	columns   = 100
	direct    = 6 // requirements of the agent's module
	stillness = 5 * time.Millisecond
)

// public are the packages that an agent may import.
var public = []string{"bgp", "bgp/rib", "bfd", "fib"}

// TestSize: main.go is gofmt'd, has 60 lines in all and none that is longer than 100
// columns, and imports public packages only.
func TestSize(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if formatted, err := format.Source(source); err != nil || string(formatted) != string(source) {
		t.Errorf("main.go is not formatted: %v", err)
	}
	all := strings.Split(strings.TrimSuffix(string(source), "\n"), "\n")
	if t.Logf("main.go: %d lines", len(all)); len(all) > lines {
		t.Errorf("more than %d lines", lines)
	}
	for n, l := range all {
		if width := len(strings.ReplaceAll(l, "\t", "        ")); width > columns || strings.Contains(l, ";") && !strings.Contains(l, "if ") {
			t.Errorf("main.go:%d: %d columns, or several statements: %s", n+1, width, l)
		}
	}
	if files, _ := filepath.Glob("*.go"); !slices.Equal(files, []string{"doc.go", "embed_linux_test.go", "main.go"}) {
		t.Errorf("there is more than main.go: %v", files)
	}
	doc, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, 0)
	if err != nil || len(doc.Decls) > 0 {
		t.Errorf("doc.go is more than a comment: %v, %v", doc.Decls, err)
	}
}

// build builds the agent, as a module of its own, outside this one.
func build(tb testing.TB, flags ...string) (binary string) {
	tb.Helper()
	dir, tree := tb.TempDir(), repository(tb)
	copyFile(tb, "main.go", filepath.Join(dir, "main.go"))
	copyFile(tb, filepath.Join(tree, "go.sum"), filepath.Join(dir, "go.sum")) // so that nothing need be looked up
	mod := fmt.Sprintf("module example.com/agent\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %[1]s => %s\n", module, tree)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		tb.Fatal(err)
	}
	run(tb, dir, append([]string{"build", "-mod=mod", "-o", "agent"}, append(flags, ".")...)...)
	checkModule(tb, dir)
	return filepath.Join(dir, "agent")
}

// checkModule: the agent's module has few direct requirements, and its packages import
// nothing of ours that is not public.
func checkModule(tb testing.TB, dir string) {
	tb.Helper()
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal([]byte(run(tb, dir, "mod", "edit", "-json")), &mod); err != nil {
		tb.Fatal(err)
	}
	n := 0
	for _, r := range mod.Require {
		if !r.Indirect {
			n++
		}
	}
	if tb.Logf("%d direct requirements", n); n == 0 || n > direct {
		tb.Errorf("%d direct requirements: %+v", n, mod.Require)
	}
	for _, p := range strings.Fields(run(tb, dir, "list", "-mod=mod", "-f", `{{join .Imports " "}}`, ".")) {
		if own, ok := strings.CutPrefix(p, module+"/"); ok && !slices.Contains(public, own) || !ok && strings.Contains(p, ".") {
			tb.Errorf("main.go imports %s", p)
		}
	}
}

func repository(tb testing.TB) string {
	tb.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

func copyFile(tb testing.TB, from, to string) {
	tb.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func run(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = dir, tb.Output()
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("go %v: %v", args, err)
	}
	return string(out)
}

// TestBuild: the agent builds outside this module.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles a program; not with -short")
	}
	build(t)
}

const (
	interval  = 100 * time.Millisecond // of BFD, everywhere
	detection = 5 * interval
	drop      = detection + 20*time.Millisecond // how long others may have the routes of a dead host
)

// fabrics are two layer 2 networks, each with a bridge and a route reflector at .254 in
// its namespace; host n has .n on each.
type fabrics struct {
	testing.TB
	ip
	ns   [2]*nstest.NS
	ctl  string // of BIRD, the reflector of the second
	log  string // of ours, the reflector of the first
	api  string // its socket
	host map[int]*host
}

// host is a hypervisor with one guest address. It runs the agent, or BIRD.
type host struct {
	f   *fabrics
	n   int
	ns  *nstest.NS
	nl  *nl.Conn
	dir string // the agent's working directory
	cmd *exec.Cmd
}

// ip is what differs between IPv4 and IPv6.
type ip struct {
	network, guest string // formats of addresses
	link, single   string // prefix lengths
	channel        string // BIRD's
	family         uint8
	index          int // among the families of a session
	policy, nodad  string
}

var ips = map[string]ip{
	"IPv4": {"10.%d.0.%d", "203.0.113.%d", "/24", "/32", "ipv4", unix.AF_INET, 0, "net/ipv4/fib_multipath_hash_policy", ""},
	"IPv6": {"fd00:%d::%d", "2001:db8:113::%d", "/64", "/128", "ipv6", unix.AF_INET6, 1, "net/ipv6/fib_multipath_hash_policy", " nodad"},
}

func (v ip) at(fabric, n int) string { return fmt.Sprintf(v.network, fabric+1, n) }
func (v ip) guestOf(n int) string    { return fmt.Sprintf(v.guest, n) }
func routerID(fabric, n int) string  { return fmt.Sprintf("10.%d.0.%d", fabric+1, n) }

func newFabrics(tb testing.TB, v ip) *fabrics {
	f := &fabrics{TB: tb, ip: v, host: map[int]*host{}}
	for i, name := range []string{"fa", "fb"} {
		f.ns[i] = nstest.New(tb, name)
		f.ns[i].IP("link add br0 address 02:00:00:00:00:0" + fmt.Sprint(i+1) + " type bridge") // else it changes with each port
		f.ns[i].IP("addr add " + f.at(i, 254) + f.link + " dev br0" + f.nodad)
		f.ns[i].IP("link set br0 up")
	}
	for n := 1; n <= 3; n++ {
		f.addHost(n)
	}
	reflector := filepath.Join(tb.TempDir(), "routereflector")
	run(tb, repository(tb), "build", "-o", reflector, "./examples/routereflector")
	f.log, f.api = filepath.Join(tb.TempDir(), "reflector.log"), filepath.Join(tb.TempDir(), "api.sock")
	start(tb, f.ns[0], "", f.log, reflector, "-as", "65000", "-router-id", routerID(0, 254),
		"-listen", net.JoinHostPort(f.at(0, 254), "179"), "-clients", f.at(0, 0)+f.link, "-bfd", "100ms,5", "-cold", "-api", f.api)
	f.ctl = f.bird(f.ns[1], "reflector", f.birdReflector())
	return f
}

func (f *fabrics) addHost(n int) {
	h := &host{f: f, n: n, ns: nstest.New(f, fmt.Sprintf("h%d", n)), dir: f.TempDir()}
	h.ns.Sysctl(f.policy, "1")
	for i := range f.ns {
		port := fmt.Sprintf("p%d", n)
		nstest.Veth(f.ns[i], port, "", h.ns, fmt.Sprintf("f%d", i), f.at(i, n)+f.link)
		f.ns[i].IP("link set " + port + " master br0")
	}
	h.ns.IP("addr add " + f.guestOf(n) + f.single + " dev lo")
	var err error
	if h.nl, err = nl.Open(h.ns.Path); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.nl.Close() })
	f.host[n] = h
}

// start starts a program in a namespace; it ends with the test.
func start(tb testing.TB, ns *nstest.NS, dir, log string, program string, args ...string) *exec.Cmd {
	tb.Helper()
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	ns.Do(cmd.Start)
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if tb.Failed() {
			b, _ := os.ReadFile(log)
			tb.Logf("%s:\n%s", log, b)
		}
	})
	return cmd
}

// bird runs BIRD 2 and returns the path of its control socket.
func (f *fabrics) bird(ns *nstest.NS, name, conf string) (ctl string) {
	program, dir := nstest.Need(f, "bird"), f.TempDir()
	path := filepath.Join(dir, name+".conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		f.Fatal(err)
	}
	ctl = filepath.Join(dir, name+".ctl")
	start(f, ns, "", filepath.Join(dir, name+".log"), program, "-f", "-c", path, "-s", ctl, "-P", filepath.Join(dir, name+".pid"))
	return ctl
}

func (f *fabrics) birdReflector() string {
	conf := fmt.Sprintf(`log stderr all;
router id %[2]s;
protocol device { scan time 10; }
protocol bfd { interface "*" { interval 100 ms; multiplier 5; }; }
template bgp hypervisor {
  local %[1]s as 65000; direct; bfd on; passive on; rr client; graceful restart on; error wait time 1, 2;
  %[3]s { import all; export all; };
}
`, f.at(1, 254), routerID(1, 254), f.channel)
	for n := 1; n <= 3; n++ {
		conf += fmt.Sprintf("protocol bgp h%d from hypervisor { neighbor %s as 65000; }\n", n, f.at(1, n))
	}
	return conf
}

// runBIRD makes a host a BIRD that installs what both reflectors say.
func (h *host) runBIRD() {
	conf := fmt.Sprintf(`log stderr all;
router id %[7]s;
protocol device { scan time 10; }
protocol direct { %[6]s; interface "f*"; }
protocol static { %[6]s; route %[2]s via "lo"; }
protocol kernel { merge paths on; %[6]s { import none; export where source = RTS_BGP; }; }
protocol bfd { interface "*" { interval 100 ms; multiplier 5; }; }
template bgp fabric {
  direct; bfd on; graceful restart on; connect delay time 1; connect retry time 1; error wait time 1, 2;
  %[6]s { import all; export where source = RTS_STATIC; next hop self; };
}
protocol bgp fabric_a from fabric { local %[1]s as 65000; neighbor %[3]s as 65000; }
protocol bgp fabric_b from fabric { local %[4]s as 65000; neighbor %[5]s as 65000; }
`, h.f.at(0, h.n), h.f.guestOf(h.n)+h.f.single, h.f.at(0, 254), h.f.at(1, h.n), h.f.at(1, 254), h.f.channel, routerID(0, h.n))
	h.f.bird(h.ns, fmt.Sprintf("h%d", h.n), conf)
}

// runAgent starts the agent, whatever may still run of an earlier one, and waits until its
// restart is over: a restarting speaker says End-of-RIB once it has converged.
func (h *host) runAgent(binary string) {
	h.f.Helper()
	began := time.Now()
	h.startAgent(binary)
	nstest.Wait(h.f, 15*time.Second, fmt.Sprintf("End-of-RIB of host %d", h.n), func() bool { return h.endOfRIB().After(began) })
}

func (h *host) startAgent(binary string) {
	h.cmd = start(h.f, h.ns, h.dir, filepath.Join(h.dir, "agent.log"), binary,
		routerID(0, h.n), h.f.guestOf(h.n)+h.f.single, h.f.at(0, 254), h.f.at(1, 254))
	h.f.Cleanup(h.killBFD)
}

// endOfRIB is when our reflector received the host's End-of-RIB in the present session; zero
// before.
func (h *host) endOfRIB() (at time.Time) {
	var peers []struct {
		Key      struct{ Addr string }
		Families []struct{ EndOfRIB time.Time }
	}
	c, err := net.Dial("unix", h.f.api)
	if err != nil {
		return at
	}
	defer c.Close()
	_ = json.NewDecoder(c).Decode(&peers)
	for _, p := range peers {
		if p.Key.Addr == h.f.at(0, h.n) {
			at = p.Families[h.f.index].EndOfRIB
		}
	}
	return at
}

// kill is kill -9 of the agent.
func (h *host) kill() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

// bfdProcesses are the BFD processes of the host's agent: their ids and executables.
func (h *host) bfdProcesses() map[int]os.FileInfo {
	found := map[int]os.FileInfo{}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		args, _ := os.ReadFile(p + "/cmdline")
		dir, _ := os.Readlink(p + "/cwd")
		if string(args) != "/proc/self/exe\x00bfd\x00" || dir != h.dir {
			continue
		}
		var pid int
		fmt.Sscan(filepath.Base(p), &pid)
		if exe, err := os.Stat(p + "/exe"); err == nil {
			found[pid] = exe
		}
	}
	return found
}

// killBFD kills the host's BFD process.
func (h *host) killBFD() {
	for pid := range h.bfdProcesses() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// sessions asks the host's BFD process for its sessions.
func (h *host) sessions() (all []bfd.Status) {
	client, err := bfd.NewClient(bfd.ClientConfig{Socket: filepath.Join(h.dir, "bfd.sock"), Name: "test"})
	if err != nil {
		h.f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = client.Run(ctx) }()
	defer func() { cancel(); <-done }()
	nstest.Wait(h.f, 5*time.Second, "the BFD process's answer", func() bool { all, err = client.Sessions(); return err == nil })
	slices.SortFunc(all, func(a, b bfd.Status) int { return a.Peer.Compare(b.Peer) })
	return all
}

// hops is how many next hops the host's kernel has towards the guest of another one.
func (h *host) hops(to int) int {
	routes, err := h.nl.Routes(h.f.family, unix.RT_TABLE_MAIN)
	if err != nil {
		h.f.Fatal(err)
	}
	for _, r := range routes {
		if r.Dst.String() == h.f.guestOf(to)+h.f.single && len(r.Hops) > 0 && r.Hops[0].Gateway.IsValid() {
			return len(r.Hops)
		}
	}
	return 0
}

// established reports whether the host has a BGP session with both reflectors and two next
// hops to each of the others.
func (h *host) established() bool {
	out := h.ns.Exec("ss", "-Htn", "state", "established", "dport", "=", ":179")
	if strings.Count(out, ":179") < 2 {
		return false
	}
	for n := range h.f.host {
		if n != h.n && h.hops(n) != 2 {
			return false
		}
	}
	return true
}

// waitEstablished waits until it has been so for a while.
func (h *host) waitEstablished(what string) {
	h.f.Helper()
	since := time.Now()
	nstest.Wait(h.f, 15*time.Second, what, func() bool {
		if !h.established() {
			since = time.Now()
		}
		return time.Since(since) > detection
	})
}

// stream sends packets both ways between the guests of h and of two others, over both
// fabrics, while do runs, and reports what was lost.
func (h *host) stream(what string, do func()) {
	h.f.Helper()
	var paths []flow.Path
	for n, o := range h.f.host {
		if n == h.n {
			continue
		}
		there := flow.Path{Name: fmt.Sprintf("guest %d to %d", h.n, n), FromNS: h.ns.Path, ToNS: o.ns.Path,
			Src: netip.MustParseAddr(h.f.guestOf(h.n)), Dst: netip.MustParseAddr(h.f.guestOf(n))}
		for port := range uint16(8) {
			there.SourcePort = append(there.SourcePort, 20000+100*uint16(n)+port)
		}
		back := there
		back.Name = fmt.Sprintf("guest %d to %d", n, h.n)
		back.FromNS, back.ToNS, back.Src, back.Dst = there.ToNS, there.FromNS, there.Dst, there.Src
		paths = append(paths, there, back)
	}
	traffic, err := flow.Start(paths, 200, 2*time.Minute)
	if err != nil {
		h.f.Fatal(err)
	}
	func() {
		defer func() {
			sent, lost := 0, 0
			for _, r := range traffic.Stop() {
				s := flow.Sum(r.Flows)
				sent, lost = sent+s.Sent, lost+s.Lost
				if s.Lost > 0 {
					h.f.Logf("%s: %s: %+v", what, r.Path.Name, s)
				}
			}
			if h.f.Logf("%s: %d packets sent, %d lost", what, sent, lost); lost > 0 || sent == 0 {
				h.f.Errorf("%s: %d of %d packets lost", what, lost, sent)
			}
		}()
		time.Sleep(200 * time.Millisecond) // some packets before, and some afterwards
		do()
		time.Sleep(500 * time.Millisecond)
	}()
}

// cut takes the ports of a host out of the forwarding of these fabrics' bridges, or puts them
// back: the host's carrier stays, and nothing is said.
func (h *host) cut(cut bool, fabrics ...int) {
	state := "3" // forwarding
	if cut {
		state = "0" // disabled
	}
	for _, i := range fabrics {
		h.f.ns[i].Exec("bridge", "link", "set", "dev", fmt.Sprintf("p%d", h.n), "state", state)
	}
}

// TestAgent: three hosts on two fabrics, whose reflectors are ours and BIRD; two hosts run
// the agent, one BIRD. The agent of the first is killed and started again, replaced by
// another build, and killed 100 ms before its host dies.
func TestAgent(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	one, two := build(t), build(t, "-ldflags=-s")
	if a, b := run(t, "", "tool", "buildid", one), run(t, "", "tool", "buildid", two); a == b {
		t.Fatalf("both builds are %s", a)
	}
	for name, v := range ips {
		t.Run(name, func(t *testing.T) {
			nstest.Steady(t, stillness, func(tb testing.TB) { testAgent(tb, v, one, two) })
		})
	}
}

func testAgent(tb testing.TB, v ip, one, two string) {
	f := newFabrics(tb, v)
	h := f.host[1]
	h.runAgent(one)
	f.host[2].runAgent(one)
	f.host[3].runBIRD()
	for n := range f.host {
		f.host[n].waitEstablished(fmt.Sprintf("sessions and routes of host %d", n))
	}
	before := h.waitUp()
	process := h.bfdProcesses()

	h.stream("killed and started again, three times", func() {
		for range 3 {
			h.kill()
			time.Sleep(300 * time.Millisecond)
			h.runAgent(one)
			h.waitEstablished("the killed agent's return")
		}
	})
	h.sameSessions(before)
	if now := h.bfdProcesses(); len(now) != 1 || !sameKeys(now, process) {
		t := "the BFD process of the same build was replaced: %v, then %v"
		tb.Errorf(t, process, now)
	}

	h.stream("upgraded to another build", func() {
		h.kill()
		h.runAgent(two)
		h.waitEstablished("the new build's sessions")
		h.waitBuild(two)
	})
	h.sameSessions(before)

	// BFD of the reflectors has not gone down either.
	if log, _ := os.ReadFile(f.log); strings.Contains(string(log), "state=Down") {
		tb.Errorf("a BFD session went down at the reflector:\n%s", log)
	}

	f.linkFails(h)
	h.killBFD() // the agent starts another one
	nstest.Wait(tb, 10*time.Second, "BFD sessions of another process", func() bool {
		all := h.sessions()
		return len(all) == 2 && all[0].Discr != before[0].Discr && all[1].Discr != before[1].Discr
	})
	h.waitUp()
	for n := range f.host {
		f.host[n].waitEstablished(fmt.Sprintf("the routes of host %d, after a BFD process has died", n))
	}

	f.hostDies(h)
	h.cut(false, 0, 1)
	h.runAgent(two)
	for n := range f.host {
		f.host[n].waitEstablished(fmt.Sprintf("the routes of host %d, after the first is back", n))
	}

	f.restartedAlone(h, two)
}

// restartedAlone starts the agent again while it can hear nobody. What the kernel has is all
// that there is, and stays for longer than the 5 s in which a peer may come.
func (f *fabrics) restartedAlone(h *host, binary string) {
	f.Helper()
	h.cut(true, 0, 1)
	nstest.Wait(f, 5*time.Second, "BFD sessions down", func() bool {
		all := h.sessions()
		return len(all) == 2 && all[0].State == bfd.StateDown && all[1].State == bfd.StateDown
	})
	had := h.hops(2)
	h.kill()
	h.startAgent(binary)
	time.Sleep(8 * time.Second)
	if now := h.hops(2); had == 0 || now != had {
		f.Errorf("restarted while nobody could be heard: %d next hops to the guest of host 2, then %d", had, now)
	}
	h.cut(false, 0, 1)
	h.waitEstablished("the routes of the host that was alone")
}

func sameKeys(a, b map[int]os.FileInfo) bool {
	for pid := range a {
		if b[pid] == nil {
			return false
		}
	}
	return len(a) == len(b)
}

// waitUp waits until both BFD sessions of the host are Up.
func (h *host) waitUp() (all []bfd.Status) {
	h.f.Helper()
	nstest.Wait(h.f, 10*time.Second, "BFD sessions that are Up", func() bool {
		all = h.sessions()
		return len(all) == 2 && all[0].State == bfd.StateUp && all[1].State == bfd.StateUp
	})
	return all
}

// sameSessions: the sessions are those of before, and have not gone down.
func (h *host) sameSessions(before []bfd.Status) {
	h.f.Helper()
	after := h.waitUp()
	for i, s := range after {
		if s.Downs != before[i].Downs || s.Discr != before[i].Discr || s.RemoteDiscr != before[i].RemoteDiscr || s.Sent <= before[i].Sent {
			h.f.Errorf("not the same BFD session:\n%+v\n%+v", before[i], s)
		}
	}
}

// waitBuild waits until one BFD process is left, of the build.
func (h *host) waitBuild(binary string) {
	h.f.Helper()
	want, err := os.Stat(binary)
	if err != nil {
		h.f.Fatal(err)
	}
	nstest.Wait(h.f, 10*time.Second, "the BFD process of the new build", func() bool {
		now := h.bfdProcesses()
		for _, exe := range now {
			return len(now) == 1 && os.SameFile(exe, want)
		}
		return false
	})
}

// linkFails cuts a host off the first fabric, silently. Its agent and the others must do
// without that fabric's paths within BFD's time.
func (f *fabrics) linkFails(h *host) {
	f.Helper()
	cut := time.Now()
	h.cut(true, 0)
	f.gaveUp("link", cut, map[string]func() bool{
		"the host itself": func() bool { return h.hops(2) == 1 && h.hops(3) == 1 },
		"host 2":          func() bool { return f.host[2].hops(h.n) == 1 },
		"host 3":          func() bool { return f.host[3].hops(h.n) == 1 },
	})
	h.cut(false, 0)
	h.waitUp()
	for n := range f.host {
		f.host[n].waitEstablished(fmt.Sprintf("the routes of host %d, after the link is back", n))
	}
}

// gaveUp waits until each condition holds, and checks that they did within the time that
// others may have what is dead.
func (f *fabrics) gaveUp(what string, cut time.Time, conditions map[string]func() bool) {
	f.Helper()
	took := map[string]time.Duration{}
	for deadline := cut.Add(5 * time.Second); len(took) < len(conditions) && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for who, given := range conditions {
			if took[who] == 0 && given() {
				took[who] = time.Since(cut)
			}
		}
	}
	for _, who := range slices.Sorted(maps.Keys(conditions)) {
		if d := took[who]; d == 0 || d > drop {
			f.Errorf("%s dropped the routes over the dead %s after %v (0s: not within 5 s), want %v", who, what, d, drop)
		} else {
			f.Logf("%s dropped the routes over the dead %s %v after the cut; BFD's time is %v", who, what, d.Round(time.Millisecond/10), detection)
		}
	}
}

// hostDies kills the agent and, 100 ms later, all that the host still says: its BFD process
// and its links. The others must give its routes up within BFD's time.
func (f *fabrics) hostDies(h *host) {
	f.Helper()
	h.kill()
	time.Sleep(100 * time.Millisecond)
	for _, o := range f.others(h) {
		if n := o.hops(h.n); n != 2 {
			f.Errorf("host %d has %d next hops to the killed agent's guest before the host dies", o.n, n)
		}
	}
	cut := time.Now()
	h.killBFD()
	h.cut(true, 0, 1)
	gone := map[string]func() bool{}
	for _, o := range f.others(h) {
		gone[fmt.Sprintf("host %d", o.n)] = func() bool { return o.hops(h.n) == 0 }
	}
	f.gaveUp("host", cut, gone)
}

func (f *fabrics) others(h *host) []*host {
	var all []*host
	for n := 1; n <= len(f.host); n++ {
		if n != h.n {
			all = append(all, f.host[n])
		}
	}
	return all
}
