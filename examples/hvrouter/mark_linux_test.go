package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestFirewallMarks has domains told by marks, BIRD as the reflector and a guest that
// talks to a remote one: what broke in the published design, and what mends it.
func TestFirewallMarks(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	nstest.Need(t, "bird")
	nstest.Need(t, "nft")
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), rr: nstest.New(t, "rr"), vm: nstest.New(t, "vm")}
	nstest.Veth(h.hv, "a.public", "198.51.100.101/25", h.rr, "fa", "198.51.100.126/25 198.51.100.102/25")
	nstest.Veth(h.hv, "b.public", "198.51.100.201/25", h.rr, "fb", "198.51.100.226/25")
	h.hv.IP("link add name loopback type bridge")
	h.hv.IP("link set dev loopback up")
	h.rr.IP("addr add 203.0.113.3/32 dev lo") // the remote guest
	h.rr.IP("route add 203.0.113.1 via 198.51.100.101")
	h.write("hv.yaml", strings.Replace(hvConfig, "domains:", "isolation: fwmark\ndomains:", 1))
	h.reflector(birdConfig)
	t.Cleanup(h.end)
	h.run()
	h.up()
	h.guest()
	h.wait("the remote guest's route", func() bool { return h.routes("route show table 90 203.0.113.3") != "" })

	arp := func(target string) bool {
		return h.vm.Command("arping", "-c1", "-w1", "-i", "eth0", target).Run() == nil
	}
	ping := func() bool { return h.vm.Command("ping", "-c1", "-W1", "203.0.113.3").Run() == nil }
	h.wait("an answer for the remote guest", func() bool { return arp("203.0.113.3") })
	h.wait("an answer for the gateway", func() bool { return arp("203.0.113.254") })
	for _, target := range []string{"203.0.113.1", "203.0.113.77"} {
		if arp(target) {
			t.Errorf("ARP for %s is answered", target)
		}
	}
	h.wait("the remote guest", ping)

	const want = "0: from all lookup local 21: from all iif lo lookup main 22: from all iif lo lookup 100 99: from all fwmark 0x5a/0xff lookup 90"
	if got := strings.ReplaceAll(h.routes("-4 rule show"), " proto 201", ""); got != want {
		t.Errorf("rules are %s, want %s", got, want)
	}
	// Drift of the marks: gone with everything else in nftables, back at once.
	h.hv.Exec("nft", "flush", "ruleset")
	h.wait("the remote guest again", ping)
	h.hv.Sysctl("net/ipv4/conf/vm1/src_valid_mark", "0")
	h.wait("the sysctl's repair", func() bool {
		return strings.TrimSpace(h.hv.Exec("cat", "/proc/sys/net/ipv4/conf/vm1/src_valid_mark")) == "1"
	})

	// Without the responder, the kernel's proxy ARP finds no route: what broke.
	h.kill(syscall.SIGKILL)
	h.hv.Sysctl("net/ipv4/conf/vm1/proxy_arp", "1")
	if arp("203.0.113.3") {
		t.Error("the kernel answers without a mark: the responder is not needed")
	}
	h.wait("the remote guest, forwarding without the daemon", ping)
	h.run()
	h.up()
	h.wait("an answer after the restart", func() bool { return arp("203.0.113.3") })

	// Without the firewall the marks stay.
	h.write("hv.yaml", strings.Replace(hvConfig, "domains:", "firewall: {off: true}\nisolation: fwmark\ndomains:", 1))
	h.cmd.Process.Signal(syscall.SIGHUP)
	nstest.Wait(t, 10*time.Second, "a table with marks alone", func() bool {
		out, _ := h.hv.Command("nft", "list", "table", "inet", "hvrouter").Output()
		return strings.Contains(string(out), "chain domains") && !strings.Contains(string(out), "chain input")
	})
	h.wait("the remote guest without the firewall", ping)
	h.write("hv.yaml", hvConfig)
	h.cmd.Process.Signal(syscall.SIGHUP)
	h.wait("a refusal to change what tells domains", func() bool {
		return strings.Contains(h.hv.Exec("cat", h.path("hv.log")), "isolation has changed: that needs a restart")
	})
}
