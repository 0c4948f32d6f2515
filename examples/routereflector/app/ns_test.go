package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	tb  testing.TB
	ctl string
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
	cmd := exec.Command(nstest.Need(tb, "bird"), "-f", "-c", path, "-s", c.ctl)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("BIRD %d:\n%s", n, log.String())
		}
	})
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ns.Do(cmd.Start)
	tb.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
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
