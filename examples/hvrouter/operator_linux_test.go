package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// cli runs a command of hvrouter against the daemon and gives its output.
func (h *host) cli(args ...string) string {
	h.t.Helper()
	out, err := h.command(append(args, "-api", h.path("api.sock"))...).CombinedOutput()
	if err != nil {
		h.t.Errorf("hvrouter %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// refused runs a command that must fail with these words.
func (h *host) refused(want string, args ...string) {
	h.t.Helper()
	out, err := h.command(append(args, "-api", h.path("api.sock"))...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		h.t.Errorf("hvrouter %s: %v: %s, want %s", strings.Join(args, " "), err, out, want)
	}
}

// watched follows `hvrouter watch -j -recent 100`: what happens before the command listens is among them.
type watched struct {
	t     *testing.T
	lines chan journal.Event
}

func (h *host) watch() watched {
	cmd := h.command("watch", "-j", "-recent", "100", "-api", h.path("api.sock"))
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	w := watched{h.t, make(chan journal.Event, 1024)}
	h.t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	go func() {
		defer close(w.lines)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			var e journal.Event
			if json.Unmarshal(s.Bytes(), &e) == nil {
				w.lines <- e
			}
		}
	}()
	return w
}

// next waits for an event by name with an attribute.
func (w watched) next(name, key, value string) {
	w.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-w.lines:
			if !ok {
				w.t.Fatalf("the stream ended before %s %s=%s", name, key, value)
			}
			if e.Name == name && e.Attrs[key] == value {
				return
			}
		case <-limit:
			w.t.Fatalf("no event %s %s=%s", name, key, value)
		}
	}
}

// TestOperator works with a running daemon as an operator does: guests come, change, are
// moved and go by command; neighbours and events are seen; systemd is told of a reload.
func TestOperator(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	h.write("hv.yaml", findConfig)
	said := h.systemd()
	t.Cleanup(h.end)
	h.run()
	said.expect("READY=1")
	events := h.watch()

	h.write("vm9.yaml", "{name: vm9, interface: eth9, ipv4: [203.0.113.9]}")
	h.cli("guest", "add", h.path("vm9.yaml"))
	if out := h.cli("guest", "list"); !strings.Contains(strings.Join(strings.Fields(out), " "), "vm9 eth9 203.0.113.9 absent 100 api") {
		t.Errorf("list: %s", out)
	}
	h.retap("eth9", h.vm)
	events.next("guest-attached", "guest", "vm9")
	h.route("203.0.113.9", "eth9")
	h.write("vm9.yaml", "{name: vm9, interface: eth9, ipv4: [203.0.113.9, 203.0.113.10], discovery: {neighbors: true, within: [203.0.113.16/28]}}")
	h.cli("guest", "update", h.path("vm9.yaml"))
	events.next("guest-changed", "guest", "vm9")
	h.route("203.0.113.10", "eth9")
	h.cli("guest", "move", "vm9", "-local-pref", "200")
	if out := h.cli("show", "rib", "-prefix", "203.0.113.10"); !strings.Contains(out, "local-pref 200") {
		t.Errorf("rib: %s", out)
	}
	h.cli("guest", "move", "vm9", "-down")
	events.next("guest-detached", "guest", "vm9")
	h.route("203.0.113.10", "")
	h.cli("guest", "move", "vm9", "-up")
	events.next("guest-attached", "guest", "vm9")
	h.refused("belongs to guest vm1 (config)", "guest", "add", h.file("{name: thief, ipv4: [203.0.113.1]}"))
	h.refused("comes from the config", "guest", "del", "vm1")
	h.refused("not found", "guest", "del", "nobody")
	h.refused("not found", "guest", "update", h.file("{name: nobody}"))
	h.refused("not found", "guest", "move", "nobody", "-down")

	h.vm.IP("addr add 203.0.113.17/24 dev eth0")
	h.asks(h.vm, "203.0.113.17")
	events.next("neighbour-seen", "address", "203.0.113.17")
	h.neighbours(events)
	h.cli("guest", "del", "vm9")
	events.next("guest-detached", "guest", "vm9")
	h.route("203.0.113.17", "tap7") // who claimed it is asked, and has it now

	h.cli("reload")
	said.expect("RELOADING=1\nMONOTONIC_USEC=")
	said.expect("READY=1")
	events.next("reloaded", "", "")
	h.write("hv.yaml", strings.Replace(findConfig, "as: 65000", "as: none", 1))
	h.cmd.Process.Signal(syscall.SIGHUP)
	said.expect("RELOADING=1\nMONOTONIC_USEC=")
	said.expect("READY=1")
	const wrong = ":3:5: none: want a number from 0 to 4294967295"
	events.next("reload-refused", "err", h.path("hv.yaml")+wrong)
	h.refused(wrong, "reload") // as `systemctl reload` does
	events.next("reload-refused", "err", h.path("hv.yaml")+wrong)
	if out := h.cli("watch", "-recent", "5", "-n", "1", "-event", "reload*"); !strings.Contains(out, " reload") {
		t.Errorf("recent events: %s", out)
	}
	h.write("hv.yaml", findConfig)
	h.history()
}

// history: what has happened is known while the daemon runs, when it was killed, and to the next one.
func (h *host) history() {
	h.t.Helper()
	asks := func() string {
		h.t.Helper()
		return h.cli("show", "events", "-guest", "vm9", "-since", "1h", "-config", h.path("hv.yaml"))
	}
	var before string
	h.wait("the history of a guest", func() bool { before = asks(); return strings.Count(before, "guest-detached") == 2 })
	for _, want := range []string{"guest-attached guest=vm9 interface=eth9", "guest-changed guest=vm9"} {
		if !strings.Contains(before, want) {
			h.t.Errorf("show events: want %q in\n%s", want, before)
		}
	}
	h.kill(syscall.SIGKILL)
	if dead := asks(); !strings.HasPrefix(dead, "hvrouter: no daemon answers") || !strings.HasSuffix(dead, before) {
		h.t.Errorf("after kill -9: want\n%s, have\n%s", before, dead)
	}
	follow := h.command("show", "events", "-w", "-j", "-event", "running", "-config", h.path("hv.yaml"), "-api", h.path("api.sock"))
	pipe, err := follow.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		h.t.Fatal(err)
	}
	defer follow.Wait()
	defer follow.Process.Signal(syscall.SIGTERM)
	h.run()
	for lines, run := bufio.NewReader(pipe), 1; run <= 2; run++ { // the run before, from disk, and this one
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, `"event":"running"`) {
			h.t.Errorf("show events -w, run %d: %q, %v", run, line, err)
		}
	}
	h.wait("the history of the run before, of the next daemon", func() bool { return strings.HasPrefix(asks(), before) })
}

func (h *host) file(text string) string {
	h.write("some.yaml", text)
	return h.path("some.yaml")
}

// neighbours: the kernel's entry, what the guest was found to have, and who else claims it.
func (h *host) neighbours(events watched) {
	h.t.Helper()
	thief := h.tap("tap7")
	thief.IP("addr add 203.0.113.17/24 dev eth0")
	_ = thief.Command("arping", "-c3", "-W0.1", "-i", "eth0", "-S", "203.0.113.17", "203.0.113.254").Run()
	events.next("neighbour-conflict", "address", "203.0.113.17")
	var all []api.Neighbour
	h.wait("the neighbour and its conflict", func() bool {
		if err := json.Unmarshal([]byte(h.cli("show", "neighbours", "-j")), &all); err != nil {
			h.t.Fatal(err)
		}
		for _, n := range all {
			if n.Address.String() == "203.0.113.17" && n.Interface == "eth9" {
				return n.Found == "seen" && n.Guest == "vm9" && n.Announced && n.Kernel != "" && n.Conflict != nil && n.Conflict.Interface == "tap7"
			}
		}
		return false
	})
	h.route("203.0.113.17", "eth9")
	if out := h.cli("show", "neighbours"); !strings.Contains(out, "claimed by ") {
		h.t.Errorf("neighbours: %s", out)
	}
}

// notified is what systemd would hear.
type notified struct {
	t *testing.T
	c *net.UnixConn
}

// systemd listens where the daemon, started afterwards, tells of its state.
func (h *host) systemd() notified {
	h.t.Helper()
	path := h.path("notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	h.env = append(h.env, "NOTIFY_SOCKET="+path)
	return notified{h.t, c}
}

func (n notified) expect(want string) {
	n.t.Helper()
	buf := make([]byte, 4096)
	n.c.SetReadDeadline(time.Now().Add(20 * time.Second))
	k, err := n.c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:k]), want) {
		n.t.Fatalf("systemd hears %q, %v; want %q", buf[:k], err, want)
	}
	if strings.HasSuffix(want, "USEC=") {
		var usec int64
		if _, err := fmt.Sscan(string(buf[len(want):k]), &usec); err != nil || usec <= 0 {
			n.t.Errorf("%q: %v", buf[:k], err)
		}
	}
}
