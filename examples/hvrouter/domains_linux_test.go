package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestDomainByReload: a domain comes by a reload, with table, rules and a session, while the sessions and
// routes of the other see nothing; it outlives kill -9 as the other does; it goes by a reload, with
// -force, and its reflector has its routes no more.
func TestDomainByReload(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := newHost(t)
	nstest.Veth(h.hv, "a.storage", "172.23.0.101/25", h.rr, "fs", "172.23.0.126/25")
	h.write("bird.conf", birdConfig+`
ipv4 table storage;
protocol static disks { ipv4 { table storage; }; route 10.30.0.7/32 via 172.23.0.102; }
protocol bgp c from hv { local 172.23.0.126 as 65000; neighbor 172.23.0.101 as 65000; ipv4 { table storage; }; }
`)
	h.bird("configure")
	h.up()
	h.guest()
	h.hv.IP("route add 203.0.113.77/32 dev a.public table 77 proto 201 metric 32") // what an earlier run has left there
	h.hv.IP("route add 10.30.0.1/32 dev a.storage table 77 metric 5")              // of somebody else
	h.hv.IP("route add 10.30.0.2/32 dev a.storage table 77 proto bird")            // of another BGP speaker: it is nobody's here
	h.hv.IP("route add 10.30.0.3/32 dev a.storage tos 0x10 table 77")              // of some packets only
	with := strings.Replace(hvConfig, "local-out:", `  - name: storage
    table: 77
    reflectors: [{fabric: A, interface: a.storage, local: 172.23.0.101, peer: 172.23.0.126}]
local-out:`, 1)
	sessions := func() map[string]api.Session {
		var list []api.Session
		if err := h.ask("/v1/sessions", &list); err != nil {
			t.Fatal(err)
		}
		all := map[string]api.Session{}
		for _, s := range list {
			all[s.Peer.String()] = s
		}
		return all
	}
	h.wait("the guest announced", func() bool { return h.reflected("203.0.113.1") == 2 })
	public, before := h.routes("route show table 90"), sessions()
	same := func(when string) {
		t.Helper()
		for peer, was := range before {
			if is := sessions()[peer]; is.Ups != was.Ups || is.State != "Established" {
				t.Errorf("%s: the session with %s: %+v", when, peer, is)
			}
		}
		if is := h.routes("route show table 90"); is != public {
			t.Errorf("%s: table 90:\n%s\nbefore:\n%s", when, is, public)
		}
	}

	h.write("hv.yaml", with)
	h.cli("reload")
	h.wait("the session of the new domain, and its routes", func() bool {
		storage := h.routes("route show table 77")
		return sessions()["172.23.0.126"].BFD == "Up" && strings.Contains(storage, "10.30.0.7 via 172.23.0.102 dev a.storage proto 201 metric 32") &&
			strings.Contains(storage, "blackhole default") && !strings.Contains(storage, "203.0.113.77") &&
			strings.Contains(h.routes("rule show"), "from all iif a.storage lookup 77") && strings.Contains(h.bird("show route table storage"), "10.30.0.1/32")
	})
	same("after it came")
	if s := h.bird("show route table storage"); strings.Contains(s, "10.30.0.2/32") || strings.Contains(s, "10.30.0.3/32") {
		t.Error("the route of another BGP speaker, or one with a TOS, is announced")
	}
	// One with a TOS comes and goes beside the one for all packets.
	h.hv.IP("route add 10.30.0.1/32 dev a.storage tos 0x10 table 77 metric 5")
	h.hv.IP("route del 10.30.0.1/32 dev a.storage tos 0x10 table 77 metric 5")
	h.hv.IP("route add 10.30.0.4/32 dev a.storage table 77")
	h.wait("a later route", func() bool { return strings.Contains(h.bird("show route table storage"), "10.30.0.4/32") })
	if !strings.Contains(h.bird("show route table storage"), "10.30.0.1/32") {
		t.Error("a route with a TOS has gone, and the one beside it is withdrawn")
	}
	h.hv.IP("route del 10.30.0.4/32 dev a.storage table 77")
	if h.reflected("10.30.0.1") > 0 || strings.Contains(h.bird("show route table storage"), "203.0.113.1/32") {
		t.Error("one domain's routes are announced in the other")
	}

	storage, rules := h.routes("route show table 77"), h.routes("rule show")
	h.kill(syscall.SIGKILL)
	if is := h.routes("route show table 77"); is != storage {
		t.Errorf("without the daemon: table 77:\n%s\nbefore:\n%s", is, storage)
	}
	for _, left := range []string{"route add 10.31.0.0/24 dev a.storage table 78 proto 201", "route add unreachable 10.31.0.0/16 table 78 proto 202",
		"-6 route add unreachable 2001:db8:31::/48 table 1078 proto 202", "route add 10.31.1.0/24 dev a.storage table 78"} {
		h.hv.IP(left) // of a domain that has gone while no daemon ran; the last is of somebody else
	}
	h.run()
	nstest.Wait(t, 20*time.Second, "all sessions back", func() bool {
		var s api.Status
		return h.ask("/v1/status", &s) == nil && s.Converged && len(s.Missing) == 0
	})
	if is := h.routes("route show table 77"); is != storage || h.routes("rule show") != rules {
		t.Errorf("after the restart: table 77:\n%s\nbefore:\n%s", is, storage)
	}
	h.wait("the routes of a domain that is no more gone", func() bool {
		return h.routes("route show table 78") == "10.31.1.0/24 dev a.storage scope link" && h.routes("-6 route show table 1078") == ""
	})
	h.wait("all sessions up, with BFD", func() bool {
		all := sessions()
		return len(all) == 3 && !slices.ContainsFunc([]string{"198.51.100.126", "198.51.100.226", "172.23.0.126"}, func(p string) bool {
			return all[p].State != "Established" || all[p].BFD != "Up"
		})
	})
	public, before = h.routes("route show table 90"), sessions()
	delete(before, "172.23.0.126")

	h.write("hv.yaml", hvConfig)
	if out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput(); err == nil || !strings.Contains(string(out), "domain storage goes, with its sessions and routes") {
		t.Errorf("a reload that loses a domain: %s, %v", out, err)
	}
	same("after what was refused")
	h.cli("reload", "-force")
	h.wait("the domain gone", func() bool {
		return h.routes("route show table 77") == "10.30.0.1 dev a.storage scope link metric 5 10.30.0.2 dev a.storage proto bird scope link 10.30.0.3 tos 0x10 dev a.storage scope link" && !strings.Contains(h.routes("rule show"), "a.storage") &&
			!strings.Contains(h.bird("show route table storage"), "10.30.0.1/32") && len(sessions()) == 2
	})
	// BIRD may hear before that its BFD session is taken down on purpose, which ends the session for it.
	if log, _ := os.ReadFile(h.path("hv.log")); !strings.Contains(string(log), "172.23.0.101: Established: sent Cease/Peer De-configured (6/3)") {
		t.Error("its reflector is not told why")
	}
	same("after it went")
}
