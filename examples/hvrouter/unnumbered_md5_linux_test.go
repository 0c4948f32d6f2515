package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestUnnumberedMD5: found neighbours with MD5 keys: FRR, whose neighbour is an interface, and BIRD, each with a key of its own,
// whichever side dials. With a wrong key there is no session, and health says what to look for.
func TestUnnumberedMD5(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	k := newRack(t, false)
	frrTor(k.tors[0], `
router bgp 65011
 bgp router-id 198.51.100.126
 no bgp ebgp-requires-policy
 neighbor hv interface remote-as external
 neighbor hv timers connect 1
 neighbor hv password one
 neighbor hv bfd 20 100 100
 address-family ipv6 unicast
  neighbor hv activate
 exit-address-family
`)
	birdTor(k.tors[1], `
protocol radv { interface "hv" { max ra interval 5; min ra interval 3; default lifetime 0; }; }
protocol static s4 { ipv4; route 203.0.113.3/32 blackhole; }
protocol bgp hv {
  local as 65012; neighbor `+linkLocal(t, k.hv, "b.public").String()+`%'hv' as 65000; direct;
  password "two"; bfd on;
  connect delay time 1; connect retry time 1; error wait time 0, 0;
  ipv4 { extended next hop on; import all; export all; };
}
`)
	file := func(first, more string) string {
		return strings.NewReplacer("as: external", "as: external, md5: "+first+more, "as: 65012", "as: 65012, families: [ipv4], md5: two"+more).Replace(unnumberedNeighbors)
	}
	k.write("hv.yaml", file("one", ""))
	k.run()
	k.sessionsUp(2)
	nstest.Wait(t, 20*time.Second, "BFD of both", func() bool {
		var all []api.Session
		return k.ask("/v1/sessions", &all) == nil && len(all) == 2 && all[0].BFD == "Up" && all[1].BFD == "Up"
	})

	// The routers dial: the keys are on our listeners.
	k.write("hv.yaml", file("one", ", connect: passive"))
	k.cli("reload")
	since := map[string]time.Time{}
	for _, s := range k.sessionsUp(2) {
		since[s.Peer.String()] = s.Since
		k.cli("session", "reset", s.Peer.String())
	}
	nstest.Wait(t, 30*time.Second, "both sessions, dialled by the routers", func() bool {
		var all []api.Session
		if k.ask("/v1/sessions", &all) != nil || len(all) != 2 {
			return false
		}
		for _, s := range all {
			if s.State != "Established" || !s.Since.After(since[s.Peer.String()]) {
				return false
			}
		}
		return true
	})

	k.write("hv.yaml", file("wrong", ""))
	k.cli("reload", "-force")
	nstest.Wait(t, 30*time.Second, "health to name MD5", func() bool {
		out, _ := k.command("show", "health", "-api", k.path("api.sock")).CombinedOutput()
		return strings.Contains(string(out), "look for MD5 keys that differ")
	})
	var all []api.Session
	if err := k.ask("/v1/sessions", &all); err != nil || len(all) != 2 || all[0].State == "Established" || all[1].State != "Established" {
		t.Errorf("%v %+v", err, all)
	}
	k.write("hv.yaml", file("one", ""))
	k.cli("reload", "-force")
	k.sessionsUp(2)
}
