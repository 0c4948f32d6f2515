package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const inventoryGuest = `{"name": "vm1", "mac": "50:54:33:00:00:07", "ipv4": ["203.0.113.1"], "ipv6": ["2001:db8:cb00:7100::/64"]}`

// dhclientConfig asks for classless routes, RFC 3442, as Debian's does.
const dhclientConfig = `
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name-servers, rfc3442-classless-static-routes;
`

// TestInventory: a guest's file appears in the inventory directory while the daemon
// runs. Linux behind the interface configures itself: a /32 with classless routes by
// dhclient, an address of its own /64 and a temporary one by router advertisement. The
// file goes, and so do the routes.
func TestInventory(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	nstest.Need(t, "dhclient")
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	if err := os.Mkdir(h.path("guests"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(strings.Replace(edgeConfig, "ARP", "kernel", 1), "guests:\n  -")
	text = strings.Replace(text, "on: true,", "on: true, host: true,", 1)
	h.write("hv.yaml", text+"inventory: {directory: DIR/guests}\n")
	t.Cleanup(h.end)
	h.run()
	h.wait("the daemon", func() bool { return h.ask("/v1/guests", &[]any{}) == nil })
	h.vm.Sysctl("net/ipv6/conf/default/use_tempaddr", "2")
	h.hv.IP("link add name vm1 type veth peer name eth0 address 50:54:33:00:00:07 netns " + h.vm.Name)
	h.vm.IP("link set eth0 up")

	h.write("guests/broken.yaml", "name: [")
	h.write("guests/vm1.json", inventoryGuest)
	begin := time.Now()
	h.wait("the guest's route", func() bool { return h.routes("route show table 90 203.0.113.1") != "" })
	t.Logf("file to route: %v", time.Since(begin).Round(time.Millisecond))
	h.hostLease()
	h.wait("an address of its own and a temporary one", func() bool {
		out := h.vm.IP("-6 addr show dev eth0 scope global -tentative")
		return strings.Contains(out, "2001:db8:cb00:7100:5254:33ff:fe00:7/64") && strings.Contains(out, "temporary")
	})
	if out := h.vm.IP("-6 route show default"); !strings.Contains(out, "via fe80::1 ") {
		t.Errorf("IPv6 default route: %s", out)
	}
	h.wait("the gateway's answer", func() bool { return h.vm.Command("ping", "-c1", "-W1", "203.0.113.254").Run() == nil })
	if err := os.Remove(h.path("guests/vm1.json")); err != nil {
		t.Fatal(err)
	}
	h.wait("the route gone", func() bool { return h.routes("route show table 90 203.0.113.1") == "" })
	h.wait("the IPv6 default route gone: a final router advertisement", func() bool {
		return !strings.Contains(h.vm.IP("-6 route show default"), "fe80::1")
	})
}

// hostLease has dhclient set a /32 and its classless routes.
func (h *host) hostLease() {
	h.t.Helper()
	h.write("dhclient.conf", dhclientConfig)
	h.write("script", `#!/bin/sh
case $reason in BOUND)
  ip addr add $new_ip_address/32 dev $interface
  ip route add 203.0.113.254/32 dev $interface
  ip route add default via 203.0.113.254
  echo "$new_ip_address $new_subnet_mask $new_rfc3442_classless_static_routes" > DIR/bound ;;
esac
`)
	if err := os.Chmod(h.path("script"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	cmd := h.vm.Command("dhclient", "-1", "-d", "-v", "-cf", h.path("dhclient.conf"), "-sf", h.path("script"), "-lf", h.path("leases"), "-pf", h.path("pid"), "eth0")
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	nstest.Wait(h.t, 15*time.Second, "a lease", func() bool { got, _ := os.ReadFile(h.path("bound")); return len(got) > 0 })
	got, _ := os.ReadFile(h.path("bound"))
	// 203.0.113.254/32 on the link, and everything else through it.
	const want = "203.0.113.1 255.255.255.255 32 203 0 113 254 0 0 0 0 0 203 0 113 254\n"
	if string(got) != want {
		h.t.Errorf("the lease is %q, want %q", got, want)
	}
}
