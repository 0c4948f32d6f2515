package main

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// result runs a command and returns its output, its exit code, and how long it took. A minute is the end.
func (h *host) result(args ...string) (out string, code int, took time.Duration) {
	h.t.Helper()
	cmd := h.command(args...)
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer late.Stop()
	begin := time.Now()
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode(), time.Since(begin)
}

// waited is how long a daemon was waited for: 5 s on a machine that has nothing else to do.
var waited = regexp.MustCompile(`, \d+s long`)

// TestSilentDaemon: a daemon that is stopped keeps no command waiting, health says what it is, and
// explain says what the kernel does. It goes on as if nothing had been.
func TestSilentDaemon(t *testing.T) {
	h := newInventoryHost(t)
	h.hv.IP("link add name vm1 type veth peer name eth0 netns " + h.vm.Name)
	h.write("guests/vm1.json", inventoryGuest)
	h.run()
	h.wait("the guest's route", func() bool { return h.routes("route show table 90 203.0.113.1") != "" })
	silent := func() bool { _, code, _ := h.result("show", "sessions", "-api", h.path("api.sock")); return code == 1 }
	if silent() {
		t.Error("silent before it is stopped")
	}
	pid := h.cmd.Process.Pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(pid, unix.SIGCONT)
	stopped := fmt.Sprintf("the daemon (pid %d) does not answer, 5s long: it is stopped (state T), by a signal: `kill -CONT %[1]d` has it go on", pid)
	type command struct {
		args string
		code int
		want []string
	}
	commands := []command{
		{"show health", 2, []string{"broken\nbroken: no-answer: " + stopped}},
		{"show health -j", 2, []string{`"kind": "no-answer"`}},
		{"explain 203.0.113.1 -config hv.yaml", 2, []string{stopped + ": what follows is the kernel alone", "dev vm1"}},
		{"explain 02:00:00:00:00:01 -config hv.yaml", 2, []string{stopped + ": what follows is the kernel alone", "no overlay knows"}},
		{"show events -last 1 -config hv.yaml", 0, []string{stopped + ": what follows is in "}},
		{"show sessions", 1, []string{stopped}},
		{"show sessions -w", 1, []string{stopped}},
		{"show routes received 198.51.100.126", 1, []string{stopped}},
		{"diff", 2, []string{stopped}},
		{"diff hv.yaml", 2, []string{stopped + "\n"}},
		{"metrics", 1, []string{stopped}},
		{"watch", 1, []string{stopped}},
		{"web -listen 127.0.0.1:0", 1, []string{stopped}},
		{"capture 198.51.100.126 -o none.pcap", 1, []string{stopped}},
		{"guest list", 1, []string{stopped}},
		{"guest del vm1", 1, []string{stopped + "; what was asked for may be done later"}},
		{"drain", 1, []string{stopped + "; what was asked for"}},
		{"session reset 198.51.100.126", 1, []string{stopped}},
		{"reload", 1, []string{stopped + "; what was asked for"}},
		{"reload -dry-run hv.yaml", 1, []string{stopped + "\n"}},
	}
	ended := make(chan struct{})
	for _, c := range commands {
		go func() {
			defer func() { ended <- struct{}{} }()
			args := strings.Fields(c.args)
			for i, a := range args {
				if strings.HasPrefix(a, "hv.yaml") || strings.HasPrefix(a, "none") {
					args[i] = h.path(a)
				}
			}
			out, code, took := h.result(append(args, "-api", h.path("api.sock"))...)
			out = waited.ReplaceAllString(out, ", 5s long")
			if code != c.code {
				t.Errorf("%s: exit %d, want %d: %s", c.args, code, c.code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%s: %s, want %s", c.args, out, want)
				}
			}
			t.Logf("%s: %v", c.args, took.Round(100*time.Millisecond))
			if took > 30*time.Second {
				t.Errorf("%s took %v", c.args, took)
			}
		}()
	}
	for range commands {
		<-ended
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	nstest.Wait(t, 20*time.Second, "answers", func() bool { return !silent() })
}
