package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// onOverlays is evpnConfig with other overlays, by their VNIs, and a guest gNO.VNI on each but the first.
func onOverlays(vnis ...int) string {
	overlays, guests := "", ""
	for i, vni := range vnis {
		overlays += fmt.Sprintf("\n  - {name: vx%d, vni: %d, bridge: br%d, evpn: {}}", vni, vni, vni)
		if i > 0 || vni != 100 {
			guests += fmt.Sprintf("\n  - {name: gNO.%d, overlays: [{overlay: vx%d, interface: xNO.%d, mac: \"02:00:00:00:%02x:0NO\", ipv4: [192.168.5.NO], ipv6: [\"2001:db8:5::NO\"]}]}", vni, vni, vni, vni%256)
		}
	}
	text := strings.Replace(evpnConfig, "\n"+`overlays: [{name: vx100, vni: 100, bridge: br100, evpn: {}}]`, "\noverlays:"+overlays, 1)
	if vnis[0] != 100 {
		text = text[:strings.Index(text, "guests:\n  - {name: vm")] + "guests:"
	}
	return strings.TrimSuffix(text, "\n") + guests + "\nbgp: {rt-constrain: true}\n"
}

// station makes the interface of a guest on an overlay.
func (h *host) station(no, vni int) {
	h.hv.IP(fmt.Sprintf("link add name x%d.%d type veth peer name far%d", no, vni, vni))
}

// counts waits until a hypervisor has this many EVPN routes of its reflector.
func counts(t *testing.T, h *host, what string, routes int) {
	t.Helper()
	var all []api.Session
	got := -1
	defer func() {
		if t.Failed() {
			t.Logf("%s: %d routes, want %d; %+v", what, got, routes, all)
		}
	}()
	nstest.Wait(t, nstest.Patience, what, func() bool {
		all, got = nil, -1
		if h.ask("/v1/sessions", &all) == nil && len(all) == 1 && all[0].State == "Established" {
			for _, f := range all[0].Families {
				if f.Family == "evpn" {
					got = f.Received
				}
			}
		}
		return got == routes
	})
}

// askedFor returns how many memberships a hypervisor advertises, -1 without the family.
func askedFor(h *host) int {
	var all []api.Session
	if h.ask("/v1/sessions", &all) == nil && len(all) == 1 {
		for _, f := range all[0].Families {
			if f.Family == "rt-constrain" {
				return f.Advertised
			}
		}
	}
	return -1
}

// TestEVPNConstrain: a hypervisor is sent the routes with the route targets that its overlays import and no others, over
// kill -9 and reloads, by reflectors that say that they want everything, that pass on what others want, and by GoBGP. What
// it announces itself all get that want it, whatever the reflector says.
func TestEVPNConstrain(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		l := newOverlayNet(t)
		l.reflect("-rt-constrain")
		constrained(t, l)
	})
	t.Run("memberships", func(t *testing.T) {
		l := newOverlayNet(t)
		l.reflect("-rt-constrain", "-rt-memberships")
		constrained(t, l)
	})
	t.Run("gobgp", func(t *testing.T) {
		l := newOverlayNet(t)
		l.gobgp(1, 2, 3)
		constrained(t, l, "table 100")
	})
}

// gobgp starts GoBGP as the reflector of these hypervisors.
func (l *overlayLAN) gobgp(clients ...int) {
	l.t.Helper()
	bin := nstest.Need(l.t, "gobgpd", "/usr/bin")
	text := "[global.config]\n as = 65000\n router-id = \"172.22.15.126\"\n local-address-list = [\"172.22.15.126\"]\n"
	for _, no := range clients {
		text += strings.ReplaceAll(`
[[neighbors]]
 [neighbors.config]
  peer-as = 65000
  neighbor-address = "172.22.15.NO"
 [neighbors.transport.config]
  local-address = "172.22.15.126"
  passive-mode = true
  ttl = 255
 [neighbors.route-reflector.config]
  route-reflector-client = true
  route-reflector-cluster-id = "172.22.15.126"
 [neighbors.graceful-restart.config]
  enabled = true
  restart-time = 120
`, "NO", fmt.Sprint(no))
		for _, f := range []string{"ipv4-unicast", "ipv6-unicast", "l2vpn-evpn", "rtc"} {
			text += "\n [[neighbors.afi-safis]]\n  [neighbors.afi-safis.config]\n   afi-safi-name = \"" + f + "\"\n  [neighbors.afi-safis.mp-graceful-restart.config]\n   enabled = true\n"
		}
	}
	path := filepath.Join(l.dir, "gobgp.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.start(l.rr.Command(bin, "-f", path, "-l", "debug", "-p"), "gobgp")
}

// constrained has three hypervisors with one overlay, three and one. GoBGP 3.10 filters the IPv4 routes of a session, too, when
// it takes route target constraint: then the VTEPs are reached by routes in a table.
func constrained(t *testing.T, l *overlayLAN, table ...string) {
	one, two, three := l.hypervisorWith(1, onOverlays(100)), l.hypervisorWith(2, onOverlays(100, 200, 300)), l.hypervisorWith(3, onOverlays(200))
	for i, h := range []*host{one, two, three} {
		for no := 1; no <= 3; no++ {
			for _, where := range table {
				if no != i+1 {
					h.hv.IP(fmt.Sprintf("route add 172.22.2.%d via 172.22.15.%d %s", no, no, where))
				}
			}
		}
	}
	vm1, vm2 := l.guest(1), l.guest(2)
	vm1.plug(one.hv)
	vm2.plug(two.hv)
	two.station(2, 200)
	two.station(2, 300)
	three.station(3, 200)
	const want = `
00:00:00:00:00:00 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 dst 172.22.2.2 self extern_learn static
02:00:00:00:00:02 extern_learn master br100
192.168.5.1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
192.168.5.2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201
2001:db8:5::1 lladdr 02:00:00:00:00:01 extern_learn NOARP proto 201
2001:db8:5::2 lladdr 02:00:00:00:00:02 extern_learn NOARP proto 201`
	has(t, one, want)
	// Of each overlay type 3, and of its guest the MAC alone and with two addresses.
	counts(t, one, "the routes of vx100", 4)
	counts(t, two, "the routes of three overlays", 8)
	counts(t, three, "the routes of vx200", 4)
	if a, b := askedFor(one), askedFor(two); a != 1 || b != 3 {
		t.Errorf("asked for %d and %d route targets", a, b)
	}
	vm1.reaches(t, 2)
	explains(t, one, vm2.mac(), "; asked for 65000:100\n")
	t.Run("kill", func(t *testing.T) { overlayKill(t, one, vm1, want) })
	counts(t, one, "the routes of vx100 after a restart", 4)
	reload := func(text string) time.Time {
		t.Helper()
		one.write("hv.yaml", strings.ReplaceAll(text, "NO", "1"))
		one.cli("reload")
		return time.Now()
	}
	since := reload(onOverlays(100, 200))
	counts(t, one, "the routes of two overlays", 12)
	t.Logf("%v from a reload with another overlay to its routes", time.Since(since))
	nstest.Wait(t, nstest.Patience, "its entries", func() bool {
		s := one.hv.Exec("bridge", "fdb", "show", "dev", "vx200")
		return strings.Contains(s, "02:00:00:00:c8:02 dst 172.22.2.2") && strings.Contains(s, "02:00:00:00:c8:03 dst 172.22.2.3")
	})
	reload(onOverlays(100))
	counts(t, one, "the routes of vx100 again", 4)
	reload(strings.Replace(onOverlays(100), "evpn: {}", `evpn: {import: ["65000:300"]}`, 1))
	counts(t, one, "with another import", 8)
	if n := askedFor(one); n != 2 {
		t.Errorf("asked for %d route targets", n)
	}
	reload(onOverlays(100))
	counts(t, one, "without", 4)
	has(t, one, want)
	var all []api.Session
	if err := one.ask("/v1/sessions", &all); err != nil || len(all) != 1 || all[0].Ups != 1 {
		t.Errorf("a reload has reset the session: %+v, %v", all, err)
	}
	counts(t, two, "the routes of three overlays still", 8)
	reload(strings.Replace(onOverlays(100), "rt-constrain: true", "rt-constrain: false", 1))
	counts(t, one, "switched off, everything", 16)
	if n := askedFor(one); n != -1 {
		t.Errorf("switched off, asked for %d route targets", n)
	}
	has(t, one, want)
}
