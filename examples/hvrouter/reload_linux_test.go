package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestReloadRefused: what would cut the host off is named by check, and refused by the
// command, by SIGHUP and by the API, before anything is touched; -force does it.
func TestReloadRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.hv.IP("link add name spare type bridge")
	h.hv.IP("link set dev spare up")
	h.hv.IP("addr add 10.9.9.9/24 dev spare")
	h.hv.IP("route add default via 10.9.9.1 dev spare")
	h.up()
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	before := h.routes("rule show") + h.routes("route show table 90") + h.routes("route show table 100")
	var sessions int
	for _, c := range []struct {
		name     string
		old, new string
		want     string
		checked  string // what `check` says; "" if it cannot know what ran before
	}{
		{"an address that the host lacks", "local: 198.51.100.201", "local: 198.51.100.202", "hv.yaml:14:49: missing: session with 198.51.100.226: 198.51.100.202 is on no interface", "198.51.100.202 is on no interface"},
		{"an address of the other uplink", "local: 198.51.100.201", "local: 198.51.100.101", "198.51.100.101 is our address on a.public", "198.51.100.101 is our address on a.public"},
		{"an interface that is not there", "interface: b.public", "interface: c.public", "missing: interface c.public of domain public does not exist", "interface c.public of domain public does not exist"},
		{"an uplink that goes", "      - {fabric: B", "#", "domain public loses its uplink b.public", ""},
		{"a guest on an uplink", "guests:\n", "guests:\n  - {name: up, interface: b.public}\n", "b.public is an uplink of domain public", "b.public is an uplink of domain public"},
		{"a guest that has a reflector's address", "ipv4: [203.0.113.1]", "ipv4: [198.51.100.126]", "198.51.100.126 is the reflector 198.51.100.126", "198.51.100.126 is the reflector"},
		{"a template for the way to the default gateway", "guests:\n", "guest-templates: [{interfaces: \"sp*\"}]\nguests:\n", "spare is like sp*, and the host's default route leads over it", "spare is like sp*"},
		{"no way out for the hypervisor", "guests:\n", "rules: {ipv4: [{priority: 0, table: 255}, {priority: 9, table: 90}], ipv6: [{priority: 0, table: 255}, {priority: 9, table: 254}, {priority: 10, table: 90}]}\nguests:\n",
			"no rule has what the hypervisor itself sends looked up in table main", "no rule has what the hypervisor itself sends looked up in table main"},
		{"another loopback address", "172.22.2.1/32", "172.22.2.9/32", "the hypervisor loses its loopback address 172.22.2.1/32", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(hvConfig, c.old, c.new, 1)
			h.write("hv.yaml", changed)
			h.refused(c.want, "reload")
			h.refused(c.want, "reload", "-dry-run")
			h.wait("the refusal in the log", func() bool {
				h.cmd.Process.Signal(syscall.SIGHUP)
				log, _ := os.ReadFile(h.path("hv.log"))
				return strings.Contains(string(log), "reload-refused") && strings.Contains(string(log), strings.TrimSuffix(c.want, ": "))
			})
			if err := h.command("check", "-syntax", "-config", h.path("hv.yaml")).Run(); err != nil { // so would a start
				h.refusedFile("fails: `hvrouter check -syntax -config " + h.path("hv.yaml") + "`")
			} else {
				h.refusedFile("runs with that file, and not with what counts now: `hvrouter diff " + h.path("hv.yaml") + "`")
			}
			if c.checked != "" {
				out, err := h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
				if err == nil || !strings.Contains(string(out), c.checked) {
					t.Errorf("check: %v: %s, want %s", err, out, c.checked)
				}
			}
			if now := h.routes("rule show") + h.routes("route show table 90") + h.routes("route show table 100"); now != before {
				t.Errorf("touched: %s\nbefore: %s", now, before)
			}
		})
	}
	h.write("hv.yaml", strings.Replace(hvConfig, "as: 65000", "as: none", 1))
	h.refused(":3:5: none: want a number", "reload")
	h.refusedFile("fails: `hvrouter check -syntax -config " + h.path("hv.yaml") + "`")
	h.write("hv.yaml", hvConfig) // what counts: no reload is needed
	h.refusedFile("")
	h.write("hv.yaml", "")
	h.refused("the file is empty", "reload")
	h.refusedFile("fails: ")
	h.write("hv.yaml", strings.Replace(hvConfig, "guests:\n", "# all is well\nguests:\n", 1))
	h.cli("reload")
	h.refusedFile("")
	h.write("hv.yaml", hvConfig)
	h.cli("reload")
	sessions = h.ups(t, 1)
	if sessions != 2 {
		t.Errorf("%d sessions", sessions)
	}
	h.write("hv.yaml", strings.Replace(hvConfig, "      - {fabric: B", "#", 1))
	if out := h.cli("reload", "-force"); !strings.Contains(out, "domain public loses its uplink b.public") {
		t.Errorf("forced: %s", out)
	}
	h.wait("one session", func() bool { var all []api.Session; return h.ask("/v1/sessions", &all) == nil && len(all) == 1 })
}

// TestReloadNotRegular: a FIFO in the place of the configuration's file, which nobody writes into, is refused at once, and
// the next reload finds the file that is there then.
func TestReloadNotRegular(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	file := h.path("hv.yaml")
	for range 2 {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code, _ := h.result("reload", "-api", h.path("api.sock")); code != 1 || !strings.Contains(out, "it is a FIFO: want a regular file") {
			t.Errorf("exit %d: %s", code, out)
		}
		h.refusedFile("it is a FIFO: want a regular file")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		h.write("hv.yaml", hvConfig)
		h.cli("reload")
	}
	// What is given to check may come through a pipe.
	check := h.command("check", "-syntax", "-config", "/dev/stdin")
	check.Stdin = strings.NewReader(strings.ReplaceAll(hvConfig, "DIR", h.dir))
	if out, err := check.CombinedOutput(); err != nil || string(out) != "/dev/stdin: fine\n" {
		t.Errorf("%s%v", out, err)
	}
}

// refusedFile checks what health says of a file that was refused; "" is nothing.
func (h *host) refusedFile(want string) {
	h.t.Helper()
	var now api.Health
	if err := h.ask("/v1/health", &now); err != nil {
		h.t.Fatal(err)
	}
	i := slices.IndexFunc(now.Reasons, func(r api.Reason) bool { return r.Kind == "reload-refused" })
	if (i >= 0) != (want != "") || i >= 0 && !strings.Contains(now.Reasons[i].Text, want) {
		h.t.Errorf("health: %+v, want %q", now, want)
	}
}

// ups checks how often each session came up, and returns how many there are.
func (h *host) ups(t *testing.T, want int) int {
	t.Helper()
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Ups != want || s.State != "Established" {
			t.Errorf("session with %v is %s and came up %d times, want %d", s.Peer, s.State, s.Ups, want)
		}
	}
	return len(all)
}

// TestReloadFabrics: what resets sessions resets those of one fabric after those of the
// other; a key that the reflector does not have takes one session, not both.
func TestReloadFabrics(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	h.kill(syscall.SIGTERM)
	debug := "log: debug\n" + hvConfig
	h.write("hv.yaml", debug)
	h.run()
	h.up()
	h.guest()
	h.wait("the guest's route at BIRD, twice", func() bool { return h.reflected("203.0.113.1") == 2 })
	log := h.sessionLog()
	h.write("hv.yaml", strings.Replace(debug, "domains:\n", "bgp: {hold-time: 30s}\ndomains:\n", 1))
	if out := h.cli("reload"); strings.Count(out, "is reset: other hold time") != 2 {
		t.Errorf("reload: %s", out)
	}
	nstest.Wait(t, 30*time.Second, "both sessions reset", func() bool {
		var all []api.Session
		if h.ask("/v1/sessions", &all) != nil {
			return false
		}
		return len(all) == 2 && all[0].Ups >= 2 && all[1].Ups >= 2
	})
	h.up()
	// BIRD forgets the BFD session with the BGP session, so that it may end once more.
	_, order, _ := strings.Cut(log(), "bgp-down=198.51.100.126 ") // after its first End-of-RIB
	first, second := strings.Index(order, "bgp-end-of-rib=198.51.100.126"), strings.Index(order, "bgp-down=198.51.100.226")
	if first < 0 || second < first {
		t.Errorf("after the first session was reset: %s", order)
	}

	h.write("hv.yaml", strings.Replace(debug, "domains:\n", "bgp: {hold-time: 30s, md5: wrong}\ndomains:\n", 1))
	h.cli("reload")
	sessions := func() (all []api.Session) {
		if err := h.ask("/v1/sessions", &all); err != nil || len(all) != 2 {
			t.Fatalf("%v, %v", all, err)
		}
		return all
	}
	ups := sessions()[1].Ups
	h.wait("the first session gone", func() bool { return sessions()[0].State != "Established" })
	for range 20 { // two seconds, in which the old code ended the other one, too
		if s := sessions()[1]; s.State != "Established" || s.Ups != ups {
			t.Fatalf("the other session is %s", s.State)
		}
		if h.reflected("203.0.113.1") == 0 {
			t.Fatal("the guest is gone")
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.write("hv.yaml", strings.Replace(debug, "domains:\n", "bgp: {hold-time: 30s}\ndomains:\n", 1))
	h.cli("reload")
	nstest.Wait(t, 30*time.Second, "the first session back", func() bool { return sessions()[0].State == "Established" })
	if s := sessions()[1]; s.Ups != ups {
		t.Errorf("the other session came up %d times", s.Ups)
	}
}

// sessionLog returns a function that returns which sessions ended, came up and told
// everything since, by name and peer.
func (h *host) sessionLog() func() string {
	before, _ := os.ReadFile(h.path("hv.log"))
	line := regexp.MustCompile(`event=(bgp-down|bgp-up|bgp-end-of-rib) .*peer=\S*?(198\.51\.100\.\d+)`)
	return func() string {
		after, _ := os.ReadFile(h.path("hv.log"))
		var list []string
		for _, m := range line.FindAllStringSubmatch(string(after[len(before):]), -1) {
			list = append(list, m[1]+"="+m[2])
		}
		return strings.Join(list, " ")
	}
}

// TestReady: systemd hears READY when the sessions are up and have told everything, or when
// the deferral time has passed, with the reason; until then nothing is called converged.
func TestReady(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	h.up()
	h.kill(syscall.SIGKILL)
	h.hv.IP("link set b.public down")
	h.write("hv.yaml", strings.Replace(hvConfig, "domains:\n", "bgp: {graceful-restart: {time: 10s, deferral: 4s}}\ndomains:\n", 1))
	said := h.systemd()
	started := time.Now()
	h.run()
	h.wait("one session up, and not converged", func() bool {
		var all []api.Session
		var s api.Status
		return h.ask("/v1/sessions", &all) == nil && h.ask("/v1/status", &s) == nil && len(all) == 2 && all[0].State == "Established" &&
			!s.Converged && slices.Equal(s.Missing, []string{"198.51.100.226"})
	})
	said.expect("READY=1\nSTATUS=1 of 2 sessions are up, without 198.51.100.226")
	if took := time.Since(started); took < 4*time.Second {
		t.Errorf("ready after %v", took)
	}
	h.wait("converged without it", func() bool { var s api.Status; return h.ask("/v1/status", &s) == nil && s.Converged })

	h.kill(syscall.SIGKILL)
	h.hv.IP("link set b.public up")
	h.run()
	said.expect("READY=1\nSTATUS=all 2 sessions are up")
	var all []api.Session
	if err := h.ask("/v1/sessions", &all); err != nil || len(all) != 2 || all[0].State != "Established" || all[1].State != "Established" {
		t.Errorf("ready with %+v, %v", all, err)
	}
}
