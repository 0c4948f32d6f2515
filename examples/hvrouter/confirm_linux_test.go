package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestConfirm: a reload that nobody confirms is rolled back: in time, by command, and when the
// daemon is killed meanwhile, however long it is dead. Nothing is lost of what did not change.
func TestConfirm(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	more := strings.Replace(hvConfig, "guests:\n", "guests:\n  - {name: vm2, interface: lo2, ipv4: [203.0.113.2]}\n", 1)
	h.hv.IP("link add name lo2 type bridge")
	h.hv.IP("link set dev lo2 up")
	h.write("more.yaml", more)
	has := func(want bool) func() bool {
		return func() bool { return strings.Contains(h.routes("route show table 90"), "203.0.113.2 dev lo2") == want }
	}
	text := func() string {
		b, err := os.ReadFile(h.path("hv.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := text()
	waits := func() *api.Confirmation {
		var s api.Status
		if err := h.ask("/v1/status", &s); err != nil {
			t.Fatal(err)
		}
		return s.Confirmation
	}
	h.far()
	stream := h.stream()

	if out := h.cli("diff", h.path("hv.yaml")); out != "" {
		t.Errorf("no change would do: %s", out)
	}
	h.refused("add guest vm2: dev lo2 203.0.113.2/32\nadd route table 100 203.0.113.2 dev lo2 scope link src 172.22.2.1 metric 10\nadd route table 90 203.0.113.2 dev lo2 scope link metric 10\nadd sysctl", "diff", h.path("more.yaml"))
	if out := h.cli("reload", "-confirm", "3s", h.path("more.yaml")); !strings.Contains(out, "it is rolled back in 3s, at ") {
		t.Errorf("reload: %s", out)
	}
	h.wait("the guest that is on trial", has(true))
	if c := waits(); c == nil || !strings.HasSuffix(c.File, "more.yaml") {
		t.Errorf("status: %+v", c)
	}
	h.refused("a reload waits for its confirmation", "reload")
	h.refused("a reload waits for its confirmation", "reload", "-force", h.path("more.yaml"))
	h.cmd.Process.Signal(syscall.SIGHUP)
	h.wait("SIGHUP refused", func() bool {
		log, _ := os.ReadFile(h.path("hv.log"))
		return strings.Contains(string(log), "event=reload-refused") && strings.Contains(string(log), "a reload waits for its confirmation")
	})
	h.wait("rolled back in time", has(false))
	if waits() != nil || text() != before {
		t.Errorf("after the rollback: %v, %s", waits(), text())
	}

	h.cli("reload", "-confirm", "1m", h.path("more.yaml"))
	h.cli("reload", "cancel")
	h.wait("cancelled", has(false))
	h.refused("rolled back (cancelled)", "reload", "confirm")

	// The file itself was edited: a start must not find what nobody has confirmed.
	for _, dead := range []time.Duration{0, 2 * time.Second} {
		h.write("hv.yaml", more)
		h.cli("reload", "-confirm", "2s")
		h.wait("on trial", has(true))
		h.kill(syscall.SIGKILL)
		time.Sleep(dead) // the deadline passes, or not
		h.run()
		h.up()
		h.wait("rolled back by the start", has(false))
		h.wait("the file is the one before", func() bool { return text() == before })
		if rejected, err := os.ReadFile(h.path("hv.yaml.rejected")); err != nil || !strings.Contains(string(rejected), "vm2") {
			t.Errorf("the rejected one: %v", err)
		}
	}
	h.cli("reload", "-confirm", "1m", h.path("more.yaml"))
	h.cli("reload", "confirm")
	h.kill(syscall.SIGKILL)
	h.run()
	h.up()
	h.wait("confirmed for good", has(true))
	if !strings.Contains(text(), "vm2") {
		t.Error("the file is not the one that was confirmed")
	}
	if sent, lost := stream.stop(); lost > 0 || sent < 100 {
		t.Errorf("%d of %d packets to the guest that did not change lost", lost, sent)
	}
	if _, err := os.Stat(h.path("hv.yaml.pending")); err == nil {
		t.Error("the record is left over")
	}
	nstest.Wait(t, time.Second, "both at BIRD", func() bool { return h.reflected("203.0.113.1") == 2 })
}
