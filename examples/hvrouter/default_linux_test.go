package main

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestDefaultOriginate: a default route for one of two neighbours, with and without a condition, over a session with
// addresses and over one without (RFC 8950, Section 4). The other neighbour does not hear of it, nor does the kernel; a reload that changes
// it resets nothing; `kill -9` of the daemon withdraws it at no time.
func TestDefaultOriginate(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	t.Run("numbered", func(t *testing.T) {
		k := newRack(t, true)
		birdNumbered(k.tors[0])
		numberedTors["FRR"](k.tors[1])
		const in = `, import: [{prefixes: [203.0.113.0/24 le 32], action: accept}]`
		defaultOriginate(t, k, func(one, two string) string { return neighborsConfig(in+one, in+two) })
	})
	t.Run("unnumbered", func(t *testing.T) {
		k := newRack(t, false)
		birdTor(k.tors[0], `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
protocol bgp hv {
  local as 65011; neighbor range fe80::/10 external; interface "hv"; dynamic name "hv";
  graceful restart on; bfd on;
  ipv4 { extended next hop on; import all; export none; };
}
`)
		frrUnnumbered(k.tors[1])
		defaultOriginate(t, k, func(one, two string) string {
			return neighborsHead + `
    neighbors:
      - {interface: a.public, as: external, families: [ipv4], import: [{prefixes: [203.0.113.0/24 le 32], action: accept}]` + one + `}
      - {interface: b.public, fabric: B, as: 65012, import: [{prefixes: [203.0.113.0/24 le 32], action: accept}]` + two + `}
` + neighborsTail
		})
	})
}

// defaultOriginate is the test on a rack whose configuration text is made with what each neighbour has behind its
// import.
func defaultOriginate(t *testing.T, k *rack, config func(one, two string) string) {
	has := func(r *tor, words ...string) func() bool {
		return func() bool {
			got := r.route("0.0.0.0/0")
			for _, w := range words {
				if !strings.Contains(got, w) {
					return false
				}
			}
			return true
		}
	}
	lacks := func(r *tor) bool { return !strings.Contains(r.route("0.0.0.0/0"), "65000") }
	const export = ", export: [{action: accept}]"
	const guest = ", default-originate: {families: [ipv4], when: [{prefixes: [203.0.113.1/32], action: accept}], policy: [{med: 7, add: [\"65000:5\"]}]}"

	// The first neighbour has no export: the default route is all that it is announced.
	k.write("hv.yaml", config(", default-originate: {families: [ipv4], policy: [{med: 7}]}", export+guest))
	k.run()
	k.sessionsUp(2)
	k.wait("the default route at BIRD", has(k.tors[0], "BGP.as_path: 65000", "BGP.med: 7"))
	if !lacks(k.tors[1]) {
		t.Errorf("FRR has a default route whose condition does not hold: %s", k.tors[1].route("0.0.0.0/0"))
	}
	if out := k.explains("8.8.8.8"); !strings.Contains(out, "0.0.0.0/0 advertised by default-originate") || !strings.Contains(out, "no route meets the condition") {
		t.Errorf("explain:\n%s", out)
	}
	var before []api.Session
	if err := k.ask("/v1/sessions", &before); err != nil {
		t.Fatal(err)
	}
	for _, s := range before {
		if strings.Contains(s.MissingPolicy, "export") {
			t.Errorf("a default route is an export policy: %+v", s)
		}
	}

	// The guest's route is the condition.
	k.guest()
	k.wait("the default route at FRR", has(k.tors[1], "65000", "metric 7", "65000:5"))
	if got := k.tors[0].route("203.0.113.1/32"); strings.Contains(got, "65000") {
		t.Errorf("BIRD has more than the default route: %s", got)
	}
	advertised := k.cli("show", "routes", "advertised", before[1].Peer.String())
	if !strings.Contains(advertised, "0.0.0.0/0") {
		t.Errorf("show routes advertised: %s", advertised)
	}
	if out := k.hv.IP("route show table 90 default"); strings.Contains(out, "proto 201") {
		t.Errorf("in the kernel: %s", out)
	}

	// A restart withdraws it at no time.
	changes := k.tors[1].watchDefault()
	k.kill(syscall.SIGKILL)
	k.run()
	k.sessionsUp(2)
	k.wait("convergence", func() bool { var st api.Status; return k.ask("/v1/status", &st) == nil && st.Converged })
	k.wait("the default route at BIRD after the restart", has(k.tors[0], "BGP.as_path: 65000", "BGP.med: 7"))
	if got := changes(); strings.Contains(got, "Deleted") {
		t.Errorf("the default route was withdrawn by a restart: %s", got)
	}
	k.wait("the guest's default route at FRR after the restart", has(k.tors[1], "65000", "metric 7"))

	// A drain, and its end.
	k.cli("drain")
	k.wait("GRACEFUL_SHUTDOWN at BIRD", has(k.tors[0], "(65535,0)"))
	k.cli("drain", "-all")
	nstest.Wait(t, 20*time.Second, "nothing at BIRD", func() bool { return lacks(k.tors[0]) })
	k.cli("undrain")
	k.wait("the default route at BIRD after the drain", func() bool { return has(k.tors[0], "65000")() && !has(k.tors[0], "(65535,0)")() })

	// A reload.
	before = nil
	if err := k.ask("/v1/sessions", &before); err != nil {
		t.Fatal(err)
	}
	k.write("hv.yaml", config(", default-originate: {families: [ipv4], policy: [{med: 8}]}", export+guest))
	k.cli("reload")
	k.wait("another MED", has(k.tors[0], "BGP.med: 8"))
	k.write("hv.yaml", config(export, export+guest))
	k.cli("reload")
	k.wait("no default route at BIRD", func() bool { return lacks(k.tors[0]) })
	var after []api.Session
	if err := k.ask("/v1/sessions", &after); err != nil || len(after) != 2 {
		t.Fatal(after, err)
	}
	for i := range after {
		if !after[i].Since.Equal(before[i].Since) {
			t.Errorf("the session with %s was reset", after[i].Peer)
		}
	}

	// The guest goes, and with it the condition.
	k.hv.IP("link del vm1")
	nstest.Wait(t, 10*time.Second, "no default route at FRR", func() bool { return lacks(k.tors[1]) })
}

// watchDefault writes down what the router's kernel is told of its default route, until the function that it returns is
// called, which returns that.
func (r *tor) watchDefault() func() string {
	r.t.Helper()
	nstest.Wait(r.t, 10*time.Second, "a default route in the router's kernel", func() bool {
		return strings.Contains(r.ask("ip", "route", "show", "default"), "proto bgp")
	})
	cmd := r.ns.Command("stdbuf", "-oL", "ip", "-4", "monitor", "route")
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	heard, all := make(chan struct{}), make(chan string, 1)
	go func() {
		var list []string
		scan := bufio.NewScanner(out)
		for n := 0; scan.Scan(); n++ {
			if n == 0 {
				close(heard)
			}
			if strings.Contains(scan.Text(), "default ") {
				list = append(list, scan.Text())
			}
		}
		all <- strings.Join(list, "\n")
	}()
	nstest.Wait(r.t, 10*time.Second, "ip monitor", func() bool {
		r.ns.IP("route add blackhole 198.18.99.0/24") // shows that it listens
		r.ns.IP("route del blackhole 198.18.99.0/24")
		select {
		case <-heard:
			return true
		default:
			return false
		}
	})
	return func() string {
		_ = cmd.Process.Kill()
		return <-all
	}
}
