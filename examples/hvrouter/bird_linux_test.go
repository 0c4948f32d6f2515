package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
	"github.com/hyperfib/hyperfib/examples/routereflector/app"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestMain lets the test binary be hvrouter: the tests start it inside namespaces.
func TestMain(m *testing.M) {
	if os.Getenv("HVROUTER_MAIN") != "" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	if os.Getenv("ROUTEREFLECTOR_MAIN") != "" {
		os.Exit(app.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

const hvConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.1/32}
bfd: {interval: 100ms, multiplier: 20, process: separate} # a machine that stands still ends no session
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
    reflectors:
      - {fabric: A, interface: a.public, local: 198.51.100.101, peer: 198.51.100.126}
      - {fabric: B, interface: b.public, local: 198.51.100.201, peer: 198.51.100.226}
local-out: {table: 100, domains: []}
edge: {gateway4: 203.0.113.254}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}
`

const birdConfig = `
router id 198.51.100.126;
log "DIR/bird.log" all;
protocol device {}
protocol bfd { interface "*" { interval 100 ms; multiplier 20; }; }
protocol static far { ipv4; route 203.0.113.3/32 via 198.51.100.102; route 203.0.113.4/32 via 192.0.2.1; }
template bgp hv { rr client; passive; error wait time 1, 2; ttl security on; bfd yes; direct; ipv4 { add paths tx; import all; export all; }; }
protocol bgp a from hv { local 198.51.100.126 as 65000; neighbor 198.51.100.101 as 65000; }
protocol bgp b from hv { local 198.51.100.226 as 65000; neighbor 198.51.100.201 as 65000; }
`

type host struct {
	t   *testing.T
	dir string
	hv  *nstest.NS
	rr  *nstest.NS
	vm  *nstest.NS
	cmd *exec.Cmd
	env []string // of commands, besides the test's own
}

// newHost builds a hypervisor with one guest and BIRD 2 as a reflector for two
// fabrics.
func newHost(t *testing.T) *host {
	nstest.Need(t, "bird")
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm: nstest.New(t, "vm")}
	nstest.Veth(h.hv, "a.public", "198.51.100.101/25", h.rr, "fa", "198.51.100.126/25")
	nstest.Veth(h.hv, "b.public", "198.51.100.201/25", h.rr, "fb", "198.51.100.226/25")
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.write("hv.yaml", hvConfig)
	h.reflector(birdConfig)
	t.Cleanup(h.end)
	h.run()
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(strings.ReplaceAll(text, "DIR", h.dir)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// guest plugs the guest in.
func (h *host) guest() {
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	h.vm.IP("addr add 203.0.113.1/24 dev eth0")
	h.vm.IP("link set eth0 up")
}

func (h *host) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.hv.Command(self, args...)
	cmd.Env = append(append(os.Environ(), h.env...), "HVROUTER_MAIN=1", "GORACE=atexit_sleep_ms=0") // a daemon with the race detector would take a second to end
	return cmd
}

// run starts the daemon.
func (h *host) run() {
	h.t.Helper()
	log, err := os.OpenFile(h.path("hv.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	h.cmd = h.command("run", "-config", h.path("hv.yaml"))
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the daemon with a signal and waits for it.
func (h *host) kill(s os.Signal) {
	h.cmd.Process.Signal(s)
	h.cmd.Wait()
}

// end ends the daemon and the BFD process that it started.
func (h *host) end() {
	h.kill(syscall.SIGKILL)
	pids, _ := exec.Command("ip", "netns", "pids", h.hv.Name).Output()
	for pid := range strings.FieldsSeq(string(pids)) {
		exec.Command("kill", pid).Run()
	}
	log, _ := os.ReadFile(h.path("hv.log"))
	if bytes.Contains(log, []byte("DATA RACE")) || bytes.Contains(log, []byte("panic:")) {
		h.t.Error("the daemon's log holds a race or a panic")
	}
	if h.t.Failed() {
		h.t.Logf("log:\n%s", log)
	}
}

func (h *host) ask(path string, v any) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), nstest.Patience)
	defer cancel()
	return api.NewClient(h.path("api.sock")).Get(ctx, path, v)
}

// up waits until both sessions are Established and both BFD sessions are Up.
func (h *host) up() {
	h.t.Helper()
	nstest.Wait(h.t, 10*time.Second, "both sessions up", func() bool {
		var all []api.Session
		if h.ask("/v1/sessions", &all) != nil || len(all) != 2 {
			return false
		}
		for _, s := range all {
			if s.State != "Established" || s.BFD != "Up" {
				return false
			}
		}
		return true
	})
}

func (h *host) bird(args string) string {
	out, _ := h.rr.Command("birdc", append([]string{"-s", h.path("bird.ctl")}, strings.Fields(args)...)...).CombinedOutput()
	return string(out)
}

// reflected tells how many paths BIRD has for a prefix.
func (h *host) reflected(prefix string) int {
	return strings.Count(h.bird("show route for "+prefix+" table master4"), "via ")
}

func (h *host) wait(what string, cond func() bool) {
	h.t.Helper()
	nstest.Wait(h.t, 5*time.Second, what, cond)
}

// routes is what ip prints, "" also while the table does not exist.
func (h *host) routes(args string) string {
	out, _ := h.hv.Command("ip", strings.Fields(args)...).Output()
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestBIRD(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	h.wait("BIRD's route over both fabrics", func() bool {
		return strings.Count(h.routes("route show table 90 203.0.113.3"), "nexthop") == 0 &&
			strings.Contains(h.routes("route show table 90 203.0.113.3"), "198.51.100.102 dev a.public")
	})
	if got := h.routes("route show table 90 203.0.113.4"); got != "" {
		t.Errorf("a next hop that is not on-link: %s", got)
	}
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	h.wait("the guest's ping of its gateway", func() bool {
		return h.vm.Command("ping", "-c1", "-W1", "203.0.113.254").Run() == nil
	})
	t.Run("check", h.check)
	t.Run("learn", h.learn)
	t.Run("reload", h.reload)
	t.Run("restart", h.restart)
	t.Run("duplicates", h.duplicates)
	t.Run("bfd", h.bfdDies)
	t.Run("guest", h.api)
	t.Run("session", h.session)
	t.Run("drain", h.drain)
}

// check finds nothing while the daemon runs, and drift after a foreign hand.
func (h *host) check(t *testing.T) {
	var out []byte
	nstest.Wait(t, 5*time.Second, "a host that is fine", func() (ok bool) {
		var err error
		out, err = h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
		return err == nil
	})
	h.freeze() // or it would be repaired before check looks
	nstest.Wait(t, 5*time.Second, "every thread to stop", h.stopped)
	h.hv.Sysctl("net/ipv4/conf/vm1/proxy_arp", "0")
	out, err := h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
	h.cmd.Process.Signal(syscall.SIGCONT)
	if err == nil || !strings.Contains(string(out), "drift: net/ipv4/conf/vm1/proxy_arp is 0, want 1") {
		t.Errorf("after drift: %v, %s", err, out)
	}
	nstest.Wait(t, 10*time.Second, "the drift repaired", func() bool {
		return h.command("check", "-config", h.path("hv.yaml")).Run() == nil
	})
}

// stopped reports whether all threads of the daemon are: a signal takes its time.
func (h *host) stopped() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", h.cmd.Process.Pid))
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return len(threads) > 0
}

// freeze stops the daemon and waits until each of its threads stands still.
func (h *host) freeze() {
	h.cmd.Process.Signal(syscall.SIGSTOP)
	h.wait("the daemon standing still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", h.cmd.Process.Pid))
		for _, file := range threads {
			if stat, err := os.ReadFile(file); err == nil && !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return len(threads) > 0
	})
}

// learn: a foreign route in the table is announced, and withdrawn.
func (h *host) learn(t *testing.T) {
	h.hv.IP("route add 203.0.113.77/32 dev vm1 table 90")
	h.wait("the foreign route at BIRD", func() bool { return h.reflected("203.0.113.77") == 2 })
	h.hv.IP("route del 203.0.113.77/32 dev vm1 table 90")
	h.wait("its withdrawal", func() bool { return h.reflected("203.0.113.77") == 0 })
}

// reload: a bad file is refused with its place, a good one changes what it says and
// flaps nothing.
func (h *host) reload(t *testing.T) {
	h.write("hv.yaml", strings.Replace(hvConfig, "guests: true", "gusts: true", 1))
	out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), `hv.yaml:10:5: unknown field "gusts"`) {
		t.Errorf("a bad file: %v, %s", err, out)
	}
	h.write("hv.yaml", strings.Replace(hvConfig, "ipv4: [203.0.113.1]", "ipv4: [203.0.113.1], routed: [203.0.113.10/32]", 1))
	if out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	h.wait("the routed address at BIRD", func() bool { return h.reflected("203.0.113.10") == 2 })
	h.write("hv.yaml", strings.Replace(hvConfig, "table: 90", "table: 91", 1))
	if out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput(); err == nil || !strings.Contains(string(out), "needs a restart") {
		t.Errorf("another table: %v, %s", err, out)
	}
	h.write("hv.yaml", hvConfig)
	if out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	h.wait("the routed address gone", func() bool { return h.reflected("203.0.113.10") == 0 })
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Ups != 1 {
			t.Errorf("session with %v came up %d times", s.Peer, s.Ups)
		}
	}
}

// restart, by SIGKILL and by SIGTERM: not one message about a route, BFD stays, and
// BIRD keeps our routes.
func (h *host) restart(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		var before, after []api.BFD
		if err := h.ask("/v1/bfd", &before); err != nil {
			t.Fatal(err)
		}
		var changes bytes.Buffer
		monitor := h.hv.Command("ip", "monitor", "route", "nexthop", "rule")
		monitor.Stdout = &changes
		if err := monitor.Start(); err != nil {
			t.Fatal(err)
		}
		h.kill(s)
		if h.reflected("203.0.113.1") == 0 {
			t.Errorf("%v: BIRD dropped our routes", s)
		}
		h.run()
		h.up()
		h.wait("convergence", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil && st.Converged })
		monitor.Process.Signal(syscall.SIGTERM)
		monitor.Wait()
		for line := range strings.Lines(changes.String()) {
			if !strings.Contains(line, "proto kernel") { // the end of somebody's address detection
				t.Errorf("%v: the kernel was told: %s", s, line)
			}
		}
		var st api.Status
		if err := h.ask("/v1/status", &st); err != nil || !st.Restarted || st.Writes != 0 {
			t.Errorf("%v: %+v, %v", s, st, err)
		}
		if err := h.ask("/v1/bfd", &after); err != nil {
			t.Fatal(err)
		}
		for i := range after {
			if after[i].Discr != before[i].Discr || after[i].Downs != before[i].Downs {
				t.Errorf("%v: BFD %+v was %+v", s, after[i], before[i])
			}
		}
	}
}

// duplicates: 20 restarts, some of them in the middle of a start, leave each rule
// once (R9).
func (h *host) duplicates(t *testing.T) {
	before := h.routes("rule") + h.routes("-6 rule")
	for i := range 20 {
		h.kill(syscall.SIGKILL)
		h.run()
		if i%2 == 0 {
			h.wait("an answer", func() bool { var st api.Status; return h.ask("/v1/status", &st) == nil })
		}
	}
	h.up()
	if after := h.routes("rule") + h.routes("-6 rule"); after != before {
		t.Errorf("rules were\n%s\nand are\n%s", before, after)
	}
}

// bfdDies: the BFD process is killed; another is started, and the sessions come
// back.
func (h *host) bfdDies(t *testing.T) {
	var before, after []api.BFD
	if err := h.ask("/v1/bfd", &before); err != nil {
		t.Fatal(err)
	}
	pids, _ := exec.Command("ip", "netns", "pids", h.hv.Name).Output()
	for pid := range strings.FieldsSeq(string(pids)) {
		if cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline"); bytes.Contains(cmdline, []byte("\x00bfd\x00")) {
			exec.Command("kill", "-9", pid).Run()
		}
	}
	nstest.Wait(t, 15*time.Second, "BFD sessions of another process", func() bool {
		if h.ask("/v1/bfd", &after) != nil || len(after) != len(before) {
			return false
		}
		for i := range after {
			if after[i].State != "Up" || after[i].Discr == before[i].Discr {
				return false
			}
		}
		return true
	})
	nstest.Wait(t, 90*time.Second, "BGP after that", func() bool {
		var all []api.Session
		if h.ask("/v1/sessions", &all) != nil {
			return false
		}
		return all[0].State == "Established" && all[1].State == "Established"
	})
}

// api: a guest comes and goes at run time, and is there after a restart.
func (h *host) api(t *testing.T) {
	h.hv.IP("link add name tap9 type veth peer name tap9p")
	body := `{"name": "vm9", "interface": "tap9", "ipv4": ["203.0.113.9"]}`
	add := h.command("guest", "add", "-api", h.path("api.sock"))
	add.Stdin = strings.NewReader(body)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	h.wait("the new guest at BIRD", func() bool { return h.reflected("203.0.113.9") == 2 })
	h.kill(syscall.SIGTERM)
	h.run()
	h.up()
	var guests []api.Guest
	if err := h.ask("/v1/guests", &guests); err != nil || len(guests) != 2 || guests[1].Source != "api" || !guests[1].Present {
		t.Errorf("after a restart: %+v, %v", guests, err)
	}
	if out, err := h.command("guest", "move", "vm9", "-local-pref", "50", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Errorf("move: %v, %s", err, out)
	}
	h.wait("the local preference at BIRD", func() bool {
		return strings.Contains(h.bird("show route for 203.0.113.9 all"), "BGP.local_pref: 50")
	})
	if out, err := h.command("guest", "del", "vm9", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Errorf("del: %v, %s", err, out)
	}
	h.wait("its withdrawal", func() bool { return h.reflected("203.0.113.9") == 0 })
	if out, err := h.command("guest", "del", "vm1", "-api", h.path("api.sock")).CombinedOutput(); err == nil || !strings.Contains(string(out), "comes from the config") {
		t.Errorf("del of a configured guest: %v, %s", err, out)
	}
}
