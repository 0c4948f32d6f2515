package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const raConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains: [{name: public, table: 90, guests: true}]
edge:
  gateway4: 203.0.113.254
  ra:
    {interval: 200s, lifetime: 900s, preference: PREFERENCE, mtu: 1400, valid: 2h, preferred: 1h,
     dns: ["2001:db8::53"], search: [lab.example.org], routes: [{prefix: "2001:db8:f000::/36", preference: low}],
     pref64: ["64:ff9b::/96"], captive-portal: "https://portal.example.org/api"}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv6: ["2001:db8:cb00:7100::/64"], ra: {mtu: 1380}}
`

// TestRouterAdvertisement has Wireshark's dissector read what a guest is told, before and
// after a reload.
func TestRouterAdvertisement(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, tool := range []string{"rdisc6", "tshark"} {
		nstest.Need(t, tool)
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	h.write("hv.yaml", strings.Replace(raConfig, "PREFERENCE", "high", 1))
	t.Cleanup(h.end)
	h.run()
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	h.vm.IP("link set eth0 up")
	h.wait("the guest's route", func() bool { return h.routes("-6 route show table 90 2001:db8:cb00:7100::/64") != "" })
	h.wait("the guest's address", func() bool {
		_ = h.vm.Command("rdisc6", "-1", "-r", "1", "-w", "300", "eth0").Run() // Linux asks more and more rarely
		return strings.Contains(h.vm.IP("-6 addr show dev eth0 scope global -tentative"), "2001:db8:cb00:7100:5254:33ff:fe00:7/64")
	})
	h.told("Prf (Default Router Preference): High", "Router lifetime (s): 900", "MTU: 1380",
		"Prefix: 2001:db8:cb00:7100::", "Valid Lifetime: 7200", "Preferred Lifetime: 3600",
		"Recursive DNS Servers: 2001:db8::53", "Domain Names: lab.example.org",
		"Type: Route Information (24)", "Prefix: 2001:db8:f000::", "Route Preference: Low",
		"Captive Portal: https://portal.example.org/api", "Type: PREF64 Option (38)", "Prefix: 64:ff9b::")
	h.write("hv.yaml", strings.Replace(raConfig, "PREFERENCE", "low", 1))
	if out, err := h.command("reload", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.told("Prf (Default Router Preference): Low", "MTU: 1380")
}

// told solicits until an advertisement says everything that is wanted.
func (h *host) told(want ...string) {
	h.t.Helper()
	missing, text := "", ""
	defer func() {
		if h.t.Failed() {
			h.t.Logf("no %q in\n%s", missing, text)
		}
	}()
	nstest.Wait(h.t, 30*time.Second, "what the guest is told", func() bool {
		capture := h.vm.Command("tshark", "-l", "-V", "-O", "icmpv6", "-i", "eth0", "-c", "1", "-a", "duration:5", "-f", "icmp6 and ip6[40] == 134")
		done := make(chan []byte)
		go func() { out, _ := capture.CombinedOutput(); done <- out }()
		for {
			_ = h.vm.Command("rdisc6", "-1", "-r", "1", "-w", "300", "eth0").Run()
			select {
			case out := <-done:
				text = string(out)
				for _, missing = range want {
					if !strings.Contains(text, missing) {
						return false
					}
				}
				return true
			default:
			}
		}
	})
}
