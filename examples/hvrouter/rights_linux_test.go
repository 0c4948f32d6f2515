package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestRights: without the capabilities that it needs the daemon does not start, says in
// one sentence which they are, and has touched nothing (E7).
func TestRights(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	nstest.Need(t, "setpriv")
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv")}
	h.hv.IP("link add name loopback type bridge")
	h.write("hv.yaml", strings.Replace(hvConfig, "process: separate", "process: in-process", 1))
	for caps, want := range map[string]string{
		"-net_admin":                               "hvrouter needs CAP_NET_ADMIN (it writes routes, rules, addresses and the firewall): run it as root, or give its unit AmbientCapabilities=\n",
		"-net_raw":                                 "hvrouter needs CAP_NET_RAW (it speaks ARP, neighbour discovery and DHCP with guests): run",
		"-net_bind_service":                        "hvrouter needs CAP_NET_BIND_SERVICE (it listens on port 179): run",
		"-net_admin,-net_raw,-net_bind_service":    "CAP_NET_ADMIN (it writes routes, rules, addresses and the firewall) and CAP_NET_RAW (it speaks ARP, neighbour discovery and DHCP with guests) and CAP_NET_BIND_SERVICE (it listens on port 179): run",
		"-all,+sys_admin,+dac_override,+net_admin": "needs CAP_NET_RAW",
	} {
		for _, command := range []string{"run", "check"} {
			cmd := h.command(command, "-config", h.path("hv.yaml"))
			cmd.Args = slices.Insert(cmd.Args, 4, "setpriv", "--bounding-set", caps, "--inh-caps", caps) // behind ip netns exec NAME
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("%s with %s: %v: %s\nwant %s", command, caps, err, out, want)
			}
		}
	}
	// An ordinary user is told what could not be seen, and nothing else about it.
	for path, mode := range map[string]os.FileMode{filepath.Dir(h.dir): 0o755, h.dir: 0o755, h.path("hv.yaml"): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := h.command("check", "-config", h.path("hv.yaml"))
	cmd.Args = slices.Insert(cmd.Args, 4, "setpriv", "--reuid", "65534", "--clear-groups")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not seen: as an ordinary user") || strings.Contains(string(out), "needs CAP_") || strings.Contains(string(out), "firewall: {off") {
		t.Errorf("check as an ordinary user: %v: %s", err, out)
	}
	// Nor can it say that a file is wrong which it may not read; one that is wrong besides is.
	h.write("key", "a-key\n")
	for extra, want := range map[string]int{"": 3, "log: loud\n": 2} {
		h.write("hv.yaml", strings.Replace(hvConfig, "126}", "126, md5-file: DIR/key}", 1)+extra)
		if err := os.Chmod(h.path("hv.yaml"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := h.command("check", "-config", h.path("hv.yaml"))
		cmd.Args = slices.Insert(cmd.Args, 4, "setpriv", "--reuid", "65534", "--clear-groups")
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != want || !strings.Contains(string(out), "permission denied") {
			t.Errorf("check as an ordinary user, with a key that it may not read, %q: exit %d: %s", extra, cmd.ProcessState.ExitCode(), out)
		}
	}
	if out := h.hv.IP("rule show"); strings.Contains(out, "lookup 90") {
		t.Errorf("rules were written: %s", out)
	}
}
