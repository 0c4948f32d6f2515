package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const neighborsHead = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
loopback: {interface: loopback, address: 172.22.2.1/32}
bfd: {interval: 100ms, multiplier: 20, process: separate}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
`

const neighborsTail = `
edge: {gateway4: 203.0.113.254}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}
`

// numberedNeighbors has POLICY at the end of each neighbour.
const numberedNeighbors = neighborsHead + `
    neighbors:
      - {name: tor1, fabric: A, interface: a.public, local: 198.51.100.101, address: 198.51.100.126, as: 65011 IN1}
      - {name: tor2, fabric: B, interface: b.public, local: 198.51.100.201, address: 198.51.100.226, as: external IN2}
` + neighborsTail

func neighborsConfig(in1, in2 string) string {
	return strings.NewReplacer("IN1", in1, "IN2", in2).Replace(numberedNeighbors)
}

// numberedTors are the second router of the rack; the first is BIRD.
var numberedTors = map[string]func(*tor){
	"BIRD": birdNumbered,
	"FRR": func(r *tor) {
		frrTor(r, `
router bgp 65012
 bgp router-id 198.51.100.226
 bgp graceful-restart
 no bgp network import-check
 neighbor 198.51.100.201 remote-as 65000
 neighbor 198.51.100.201 timers connect 1
 neighbor 198.51.100.201 bfd 20 100 100
 address-family ipv4 unicast
  network 203.0.113.3/32
  network 198.18.2.0/24
  network 10.0.0.0/8
  neighbor 198.51.100.201 route-map ALL in
  neighbor 198.51.100.201 route-map ALL out
 exit-address-family
!
route-map ALL permit 10
`)
	},
	"GoBGP": func(r *tor) {
		gobgpTor(r, `
[global.config]
 as = 65012
 router-id = "198.51.100.226"
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "198.51.100.201"
 [neighbors.timers.config]
  connect-retry = 1
 [neighbors.graceful-restart.config]
  enabled = true
  restart-time = 120
 [[neighbors.afi-safis]]
  [neighbors.afi-safis.config]
   afi-safi-name = "ipv4-unicast"
  [neighbors.afi-safis.mp-graceful-restart.config]
   enabled = true
`, "203.0.113.3/32", "198.18.2.0/24", "10.0.0.0/8")
	},
}

func birdNumbered(r *tor) {
	birdTor(r, `
protocol static { ipv4; route 203.0.113.3/32 blackhole; route 198.18.NO.0/24 blackhole; route 10.0.0.0/8 blackhole; }
protocol bgp hv {
  local 198.51.100.NO26 as 6501NO; neighbor 198.51.100.NO01 as 65000;
  connect delay time 1; connect retry time 2; error wait time 1, 2; graceful restart on; bfd on;
  ipv4 { import all; export all; };
}
`)
}

// TestNeighbors: eBGP with two top-of-rack routers in different ASes. Without policies nothing is
// exchanged, and it is said; with them routes go both ways over both (multipath), none from one router
// to the other. `kill -9` of the daemon loses nothing, and a path that is cut is one member less.
func TestNeighbors(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for name, second := range numberedTors {
		t.Run(name, func(t *testing.T) { testNeighbors(t, name, second) })
	}
}

func testNeighbors(t *testing.T, name string, second func(*tor)) {
	k := newRack(t, true)
	birdNumbered(k.tors[0])
	second(k.tors[1])
	bfd := ""
	if name == "GoBGP" { // which has none
		bfd = ", bfd: off"
	}
	k.write("hv.yaml", neighborsConfig("", bfd))
	k.run()
	k.sessionsUp(2)
	k.guest()

	// No policy.
	nstest.Wait(t, 10*time.Second, "the lack of policies to be said", func() bool {
		var all []api.Session
		if k.ask("/v1/sessions", &all) != nil {
			return false
		}
		return !slices.ContainsFunc(all, func(s api.Session) bool { return !strings.Contains(s.MissingPolicy, "RFC 8212") })
	})
	if out, _ := k.command("check", "-config", k.path("hv.yaml")).CombinedOutput(); strings.Count(string(out), "no import and no export policy") != 2 || !strings.Contains(string(out), "in AS external") {
		t.Errorf("check: %s", out)
	}
	log, _ := os.ReadFile(k.path("hv.log"))
	if bytes.Count(log, []byte("event=bgp-no-policy")) != 2 {
		t.Error("no event bgp-no-policy of each session")
	}
	if hops := k.hops("203.0.113.3"); len(hops) > 0 {
		t.Errorf("accepted without a policy: %v", hops)
	}
	for _, r := range k.tors {
		if got := r.route("203.0.113.1/32"); strings.Contains(got, "65000") {
			t.Errorf("tor%d has been announced without a policy: %s", r.no, got)
		}
	}

	const in = `, import: [{prefixes: [203.0.113.0/24 le 32, 198.18.0.0/15 le 24], action: accept}]`
	k.write("hv.yaml", neighborsConfig(in+`, export: [{add: ["65000:7"], bandwidth: 10000, action: accept}]`, bfd+in+`, export: [{prepend: 2, med: 55, action: accept}]`))
	k.cli("reload")
	k.wait("a route over both", func() bool {
		return slices.Equal(k.hops("203.0.113.3"), []string{"198.51.100.126 a.public", "198.51.100.226 b.public"})
	})
	k.wait("each router's own route", func() bool {
		return len(k.hops("198.18.1.0/24")) == 1 && len(k.hops("198.18.2.0/24")) == 1
	})
	if hops := k.hops("10.0.0.0/8"); len(hops) > 0 {
		t.Errorf("a route that the policy does not have: %v", hops)
	}
	k.wait("our route at tor1", func() bool {
		got := k.tors[0].route("203.0.113.1/32")
		return strings.Contains(got, "as_path: 65000\n") && strings.Contains(got, "(65000,7)") && strings.Contains(got, "(unknown 0x4004, 65000, 1318388473)") && // 10 Gbit/s
			strings.Contains(got, "next_hop: 198.51.100.101")
	})
	k.wait("our route at tor2", func() bool { return strings.Contains(k.tors[1].route("203.0.113.1/32"), "65000 65000 65000") })
	if got := k.tors[1].route("198.18.1.0/24"); strings.Contains(got, "65011") {
		t.Errorf("the hypervisor is a transit: %s", got)
	}

	// Events of a neighbour, by its name: from the daemon, and from its files.
	for _, socket := range []string{k.path("api.sock"), k.path("none.sock")} {
		var of [3]string
		for i, peer := range []string{"tor1", "198.51.100.126", "tor2"} {
			out, err := k.command("show", "events", "-event", "bgp-*", "-peer", peer, "-config", k.path("hv.yaml"), "-api", socket).Output()
			if of[i] = string(out); err != nil {
				t.Errorf("show events -peer %s: %v", peer, err)
			}
		}
		if !strings.Contains(of[0], "bgp-up") || of[0] != of[1] || of[0] == of[2] {
			t.Errorf("events of tor1, of its address and of tor2:\n%s\n%s\n%s", of[0], of[1], of[2])
		}
	}

	// The daemon dies.
	k.far()
	stream := k.stream()
	for range 2 {
		k.kill(syscall.SIGKILL)
		k.run()
		k.sessionsUp(2)
		k.wait("convergence", func() bool { var st api.Status; return k.ask("/v1/status", &st) == nil && st.Converged })
	}
	var st api.Status
	// GoBGP takes no connection for 5 s after a session, as long as best paths wait for a second peer: its
	// member goes and comes back.
	if err := k.ask("/v1/status", &st); err != nil || !st.Restarted || st.Writes != 0 && name != "GoBGP" {
		t.Errorf("after the restart: %+v, %v", st, err)
	}
	sent, lost := stream.stop()
	if lost > 0 || sent < 10 {
		t.Errorf("kill -9 of the daemon: %d of %d lost", lost, sent)
	}
	t.Logf("%s: kill -9 of the daemon, twice: %d of %d lost", name, lost, sent)

	// The first router hears and says nothing any more.
	k.wait("BFD with the first router", func() bool {
		var all []api.Session
		return k.ask("/v1/sessions", &all) == nil && len(all) == 2 && all[0].BFD == "Up"
	})
	k.tors[0].ns.Exec("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; iifname \"hv\" drop; }; add chain inet cut out { type filter hook output priority 0; oifname \"hv\" drop; }")
	nstest.Wait(t, 10*time.Second, "the first router's member deleted", func() bool {
		return slices.Equal(k.hops("203.0.113.3"), []string{"198.51.100.226 b.public"})
	})
	k.tors[0].ns.Exec("nft", "delete table inet cut")
	nstest.Wait(t, 30*time.Second, "both again", func() bool { return len(k.hops("203.0.113.3")) == 2 })
	if got := fmt.Sprint(k.hops("198.18.1.0/24")); got != "[198.51.100.126 a.public]" {
		t.Errorf("the first router's own route: %v", got)
	}
}
