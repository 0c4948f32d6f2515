package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// edgeConfig is a hypervisor with nobody to talk to but its guests.
const edgeConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains:
  - name: public
    table: 90
    guests: true
    unreachable: [203.0.113.0/24]
edge:
  gateway4: 203.0.113.254
  arp: ARP
  dhcp: {on: true, dns: [192.0.2.53]}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1], ipv6: ["2001:db8:1::7/128"]}
  - {name: vm2, mac: "50:54:33:00:00:09", ipv4: [203.0.113.2], ipv6: ["2001:db8:1::9/128"]}
`

// TestEdge has a guest ask real questions, with the kernel and with the responder
// answering ARP; IPv6 neighbours in a shared /64 are always answered by the proxy.
func TestEdge(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	for _, who := range []string{"kernel", "responder"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			testEdge(t, who)
		})
	}
}

func testEdge(t *testing.T, who string) {
	for _, tool := range []string{"arping", "dhclient"} {
		nstest.Need(t, tool)
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	other := nstest.New(t, "vm2")
	h.write("hv.yaml", strings.Replace(edgeConfig, "ARP", who, 1))
	t.Cleanup(h.end)
	h.run()
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	h.hv.IP("link add name vm2 type veth peer name eth0 address 50:54:33:00:00:09 netns " + other.Name)
	h.vm.IP("link set eth0 up")
	other.IP("link set eth0 up")
	h.wait("both guests' routes", func() bool {
		return h.routes("route show table 90 203.0.113.1") != "" && h.routes("route show table 90 203.0.113.2") != ""
	})
	h.lease()
	ours := strings.TrimSpace(h.hv.Exec("cat", "/sys/class/net/vm1/address"))
	for target, answered := range map[string]bool{
		"203.0.113.2": true, "203.0.113.254": true, // another guest, the gateway
		"203.0.113.1": false, "203.0.113.77": false, // itself, a ghost
	} {
		var out []byte
		var err error
		for range 10 { // as a guest would ask again
			if out, err = h.vm.Command("arping", "-c2", "-w1", "-i", "eth0", target).CombinedOutput(); err == nil || !answered {
				break
			}
		}
		if (err == nil) != answered || answered && !strings.Contains(strings.ToLower(string(out)), ours) {
			t.Errorf("ARP for %s: answered %v, want %v by %s\n%s", target, err == nil, answered, ours, out)
		}
	}
	h.wait("the ghost, and a claim of another guest's address, to be counted", func() bool {
		_ = h.vm.Command("arping", "-c1", "-w1", "-i", "eth0", "-S", "203.0.113.2", "203.0.113.254").Run()
		counted := func(guest, reason string) bool {
			m := h.cli("metrics")
			line := fmt.Sprintf("\nhvrouter_guest_messages_refused_total{guest=%q,interface=%q,protocol=\"arp\",reason=%q} ", guest, guest, reason)
			return strings.Contains(m, line) && !strings.Contains(m, line+"0\n")
		}
		// The kernel's proxy_arp hears the guest's questions for ghosts, and says nothing.
		return counted("vm1", "unallocated") == (who == "responder") && counted("vm1", "spoofed") && !counted("vm2", "spoofed")
	})
	h.vm.IP("addr add 2001:db8:1::7/64 dev eth0 nodad")
	h.wait("a link-local address", func() bool { return !strings.Contains(h.vm.IP("-6 addr show dev eth0"), "tentative") })
	for target, answered := range map[string]bool{"2001:db8:1::9": true, "2001:db8:1::77": false} {
		out := ""
		for range 10 {
			_ = h.vm.Command("ping", "-c1", "-W1", target).Run() // has the guest's kernel resolve it
			if out = h.vm.IP("-6 neigh show " + target + " dev eth0"); strings.Contains(out, ours) || !answered {
				break
			}
		}
		if strings.Contains(out, ours) != answered {
			t.Errorf("neighbour solicitation for %s: %q, answered %v wanted, by %s", target, out, answered, ours)
		}
	}
}

// lease: dhclient gets the guest's address and the gateway.
func (h *host) lease() {
	h.t.Helper()
	script := "#!/bin/sh\ncase $reason in BOUND) echo \"$new_ip_address $new_subnet_mask $new_routers $new_domain_name_servers\" > DIR/bound;" +
		" ip addr add $new_ip_address/24 dev $interface;; esac\n"
	h.write("script", script)
	if err := os.Chmod(h.path("script"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	cmd := h.vm.Command("dhclient", "-1", "-d", "-v", "-sf", h.path("script"), "-lf", h.path("leases"), "-pf", h.path("pid"), "eth0")
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	nstest.Wait(h.t, 15*time.Second, "a lease", func() bool {
		got, _ := os.ReadFile(h.path("bound"))
		return string(got) == "203.0.113.1 255.255.255.0 203.0.113.254 192.0.2.53\n"
	})
}
