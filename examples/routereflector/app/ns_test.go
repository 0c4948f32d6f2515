package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// client is a BIRD in a namespace of its own.
type client struct {
	tb    testing.TB
	ctl   string
	again func() // kills it, and starts another
}

func startClient(tb testing.TB, ns *nstest.NS, n int, extra string) *client {
	tb.Helper()
	dir := tb.TempDir()
	conf := fmt.Sprintf(`log stderr all;
router id 10.77.0.%[1]d;
protocol device { scan time 1; }
protocol bfd { interface "*" { interval 50 ms; multiplier 3; }; }
protocol static { ipv4; route 198.51.100.%[1]d/32 blackhole; route 203.0.113.0/24 blackhole; }
protocol bgp hub {
  local 10.77.0.%[1]d as 65000; neighbor 10.77.0.1 as 65000; direct; bfd on; ttl security on;
  connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on; %[2]s
  ipv4 { import all; export all; next hop self; add paths rx; };
}
`, n, extra)
	path := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		tb.Fatal(err)
	}
	c := &client{tb: tb, ctl: filepath.Join(dir, "ctl")}
	var log lockedBuffer
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("BIRD %d:\n%s", n, log.String())
		}
	})
	start := func() (kill func()) {
		cmd := ns.Command(nstest.Need(tb, "bird"), "-f", "-c", path, "-s", c.ctl)
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		// Pdeathsig is about the thread that starts it, and threads of BFD end with a reflector.
		started, ended := make(chan error), make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started <- cmd.Start()
			<-ended
		}()
		if err := <-started; err != nil {
			tb.Fatal(err)
		}
		return func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); close(ended) }
	}
	kill := start()
	tb.Cleanup(func() { kill() })
	c.again = func() { kill(); kill = start() }
	return c
}

func (c *client) birdc(command string) string {
	out, _ := exec.Command("birdc", "-s", c.ctl, command).CombinedOutput()
	return string(out)
}

func (c *client) wait(what, command string, ok func(string) bool) {
	c.tb.Helper()
	var out string
	defer func() {
		if c.tb.Failed() {
			c.tb.Log(out)
		}
	}()
	nstest.Wait(c.tb, 15*time.Second, what, func() bool { out = c.birdc(command); return ok(out) })
}

// TestReflector runs the reflector as its command line does, with two BIRDs as
// clients, MD5 by range, GTSM, ADD-PATH and BFD, and cuts one client off.
func TestReflector(t *testing.T) {
	if testing.Short() {
		t.Skip("namespace test")
	}
	hub := nstest.New(t, "rr")
	hub.IP("link add br0 address 02:00:00:00:00:01 type bridge") // else it changes with each port
	hub.IP("addr add 10.77.0.1/24 dev br0")
	hub.IP("link set br0 up")
	var clients []*client
	for n := 2; n <= 4; n++ {
		ns := nstest.New(t, fmt.Sprintf("c%d", n))
		port := fmt.Sprintf("p%d", n)
		nstest.Veth(hub, port, "", ns, "eth0", fmt.Sprintf("10.77.0.%d/24", n))
		hub.IP("link set " + port + " master br0")
		key := `password "secret";`
		if n == 4 {
			key = `password "wrong";`
		}
		clients = append(clients, startClient(t, ns, n, key))
	}
	api := filepath.Join(t.TempDir(), "rr.sock")
	o, err := parse([]string{"-as", "65000", "-router-id", "10.77.0.1", "-listen", "10.77.0.1:179", "-clients", "10.77.0.0/24",
		"-add-path", "-ttl-security", "-bfd", "50ms,3", "-md5-key", "secret", "-api", api, "-netns", hub.Path}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o, &log) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	clients[0].wait("the other's route", "show route 198.51.100.3/32", func(s string) bool { return strings.Contains(s, "via 10.77.0.3") })
	clients[1].wait("the other's route", "show route 203.0.113.0/24", func(s string) bool { return strings.Contains(s, "via 10.77.0.2") })
	for _, c := range clients[:2] {
		c.wait("BFD", "show bfd sessions", func(s string) bool { return strings.Contains(s, "Up") })
	}
	if out := clients[2].birdc("show protocols hub"); strings.Contains(out, "Established") {
		t.Errorf("a client with a wrong key got in:\n%s", out)
	}
	var text bytes.Buffer
	if code := show([]string{"-api", api}, &text, t.Output()); code != 0 || strings.Count(text.String(), "Established") != 2 {
		t.Errorf("show: %d\n%s", code, text.String())
	}

	// A silent cut: the client's only path is kept as stale, the one that others
	// have, too, goes.
	hub.Exec("bridge", "link", "set", "dev", "p3", "state", "0")
	began, stall := time.Now(), nstest.WatchStall()
	defer stall.Stop()
	clients[0].wait("withdrawal of what has another path", "show route 203.0.113.0/24", func(s string) bool { return !strings.Contains(s, "10.77.0.3") })
	if d := time.Since(began); d > 2*time.Second+stall.Slack() {
		t.Errorf("took %v", d)
	}
	if out := clients[0].birdc("show route 198.51.100.3/32"); !strings.Contains(out, "10.77.0.3") {
		t.Errorf("the last path of a prefix went:\n%s", out)
	}
	hub.Exec("bridge", "link", "set", "dev", "p3", "state", "3")
	clients[0].wait("the return", "show route 203.0.113.0/24", func(s string) bool { return strings.Contains(s, "10.77.0.3") })
}

// TestStrict: two of ours in strict mode, the one with a range, the other with a configured peer, and
// real BFD between them. While its packets are filtered there is no session; when they come, there
// is; when they stop, the session ends within the detection time. So it goes on after both have
// restarted, and BIRD, which does not know strict mode, has an ordinary session all the time.
func TestStrict(t *testing.T) {
	if testing.Short() {
		t.Skip("namespace test")
	}
	hub := nstest.New(t, "rr")
	hub.IP("link add br0 address 02:00:00:00:00:01 type bridge")
	hub.IP("addr add 10.77.0.1/24 dev br0")
	hub.IP("link set br0 up")
	var spaces []*nstest.NS
	for n := 2; n <= 3; n++ {
		ns := nstest.New(t, fmt.Sprintf("c%d", n))
		nstest.Veth(hub, fmt.Sprintf("p%d", n), "", ns, "eth0", fmt.Sprintf("10.77.0.%d/24", n))
		hub.IP(fmt.Sprintf("link set p%d master br0", n))
		spaces = append(spaces, ns)
	}
	nstest.Need(t, "nft")
	filter := func(on bool) {
		spaces[0].Exec("nft", "add table inet strict") // that there is one to delete
		spaces[0].Exec("nft", "delete table inet strict")
		if on {
			spaces[0].Exec("nft", "add table inet strict; add chain inet strict in { type filter hook input priority 0; }; add rule inet strict in udp dport 3784 drop")
		}
	}
	dir := t.TempDir()
	start := func(name string, ns *nstest.NS, arg string) (api string, stop func()) {
		api = filepath.Join(dir, name+".sock")
		o, err := parse(append(strings.Fields(arg), "-api", api, "-netns", ns.Path), t.Output())
		if err != nil {
			t.Fatal(err)
		}
		var log lockedBuffer
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx, o, &log) }()
		return api, sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("%s:\n%s", name, log.String())
			}
		})
	}
	shows := func(api string) string {
		var text bytes.Buffer
		show([]string{"-api", api}, &text, &text)
		return text.String()
	}
	up := func(api string) bool {
		for line := range strings.Lines(shows(api)) {
			if f := strings.Fields(line); len(f) > 1 && f[1] == "Established" && f[0] != "10.77.0.3" {
				return true
			}
		}
		return false
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		nstest.Wait(t, 30*time.Second, what, ok)
	}
	const hubArgs = "-as 65000 -router-id 10.77.0.1 -listen 10.77.0.1:179 -clients 10.77.0.0/24 -ttl-security -bfd 50ms,3 -bfd-strict on -cold"
	const ourArgs = "-as 65000 -router-id 10.77.0.2 -listen 10.77.0.2:179 -clients 10.99.0.0/24 -reflectors 10.77.0.1 -ttl-security -bfd 50ms,3 -bfd-strict on -cold"
	plain := startClient(t, spaces[1], 3, "")
	filter(true)
	for round := range 2 { // both begin, and begin again
		hubAPI, stopHub := start("hub", hub, hubArgs)
		defer stopHub()
		ourAPI, stopOurs := start("ours", spaces[0], ourArgs)
		defer stopOurs()
		wait("wait for BFD", func() bool {
			return strings.Contains(shows(hubAPI), "waits for BFD since") && strings.Contains(shows(ourAPI), "waits for BFD since")
		})
		plain.wait("an ordinary session", "show protocols hub", func(s string) bool { return strings.Contains(s, "Established") })
		if up(hubAPI) || up(ourAPI) {
			t.Fatal("a session without BFD")
		}
		filter(false)
		wait("session", func() bool { return up(hubAPI) && up(ourAPI) })
		if strings.Contains(shows(hubAPI), "waits") {
			t.Error(shows(hubAPI))
		}
		// One direction fails: 150 ms until both sides know.
		stall := nstest.WatchStall()
		filter(true)
		began := time.Now()
		wait("end of the session", func() bool { return !up(hubAPI) && !up(ourAPI) })
		if d := time.Since(began); d > 500*time.Millisecond+stall.Slack() {
			t.Errorf("round %d: the session ended %v after BFD stopped", round, d)
		}
		stall.Stop()
		wait("wait for BFD, again", func() bool { return strings.Contains(shows(hubAPI), "waits for BFD since") })
		stopOurs()
		stopHub()
	}
}

// TestClientRestarts: a BIRD that is another one than before has another BFD session than before,
// whose first packet comes when the BGP session is up again already. The path is well, and each
// restart is one end of the session, not two.
func TestClientRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("namespace test")
	}
	nstest.Need(t, "nft")
	hub, ns := nstest.New(t, "rr"), nstest.New(t, "c2")
	nstest.Veth(hub, "p2", "10.77.0.1/24", ns, "eth0", "10.77.0.2/24")
	api := filepath.Join(t.TempDir(), "rr.sock")
	// The detection time is BIRD's multiplier of our interval: 6 s for it to be back.
	o, err := parse([]string{"-as", "65000", "-router-id", "10.77.0.1", "-listen", "10.77.0.1:179", "-clients", "10.77.0.0/24",
		"-ttl-security", "-bfd", "2s,3", "-cold", "-api", api, "-netns", hub.Path}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o, &log) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	lines := func(words string) (n int) {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, words) {
				n++
			}
		}
		return n
	}
	c := startClient(t, ns, 2, "")
	const restarts = 2
	for n := range restarts + 1 {
		if n > 0 {
			ns.Exec("nft", "add table inet late; add chain inet late out { type filter hook output priority 0; }; add rule inet late out udp dport 3784 drop")
			c.again()
			nstest.Wait(t, 15*time.Second, "next session", func() bool { return lines("msg=up peer") == n+1 })
			ns.Exec("nft", "delete table inet late")
			nstest.Wait(t, 15*time.Second, "end of the BFD session", func() bool { return lines("peer=10.77.0.2 state=Down") == n })
		}
		nstest.Wait(t, 15*time.Second, "BFD", func() bool { return lines("peer=10.77.0.2 state=Up") == n+1 })
		c.wait("BFD at the client", "show bfd sessions", func(s string) bool { return strings.Contains(s, "Up") })
		c.wait("session", "show protocols hub", func(s string) bool { return strings.Contains(s, "Established") })
	}
	if n := lines(`state=Down reason="neighbor down"`); n != restarts {
		t.Errorf("the client has begun its BFD session anew %d times, want %d: it took too long to be back", n, restarts)
	}
	if n := lines("msg=down peer"); n != restarts {
		t.Errorf("the session has ended %d times after %d restarts", n, restarts)
	}
}
