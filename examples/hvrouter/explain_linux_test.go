package main

import (
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestExplainAlone: explain with neither a daemon nor a configuration answers by the kernel alone, and says what it
// does without. A zone that is no interface is refused, with a daemon and without one.
func TestExplainAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	h.hv.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	nstest.Veth(h.hv, "up.a", "198.51.100.101/25", h.vm, "fa", "198.51.100.126/25")
	nstest.Veth(h.hv, "up.c", "198.51.101.101/25", h.vm, "fc", "198.51.101.126/25")
	for _, line := range []string{"link set lo up", "link add br7 type bridge", "link add vx7 type vxlan id 7 dstport 4789 local 198.51.100.101 nolearning", "link set vx7 master br7", "link set br7 up", "link set vx7 up"} {
		h.hv.IP(line)
	}
	h.hv.Exec("bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "vx7", "dst", "172.22.2.2", "self", "static")
	h.hv.Exec("bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "vx7", "master", "static")
	asks := func(question string, code int, wants ...string) {
		t.Helper()
		cmd := h.command(append(append([]string{"explain"}, strings.Fields(question)...), "-api", h.path("api.sock"), "-config", h.path("hv.yaml"))...)
		out, _ := cmd.CombinedOutput()
		for _, want := range wants {
			if !strings.Contains(string(out), want) || cmd.ProcessState.ExitCode() != code {
				t.Errorf("explain %s: exit code %d, want %d and %q in\n%s", question, cmd.ProcessState.ExitCode(), code, want, out)
			}
		}
	}
	h.wait("link-local addresses", func() bool {
		return strings.Count(h.hv.IP("-6 route show table local type local"), "local fe80::") >= 2
	})
	const alone, without = "no daemon answers", "hvrouter: without a configuration (open "
	asks("198.51.100.126", 0, alone, without, "no guests by their names", "sent by 198.51.100.0/25 dev up.a")
	asks("198.51.100.126 from up.c -source 198.51.101.126", 0, alone, without, " from 198.51.101.126 iif up.c")
	asks("198.51.100.126 from vm1", 2, "no address of vm1 is known")
	asks("fe80::7%up.c", 0, alone, without, "sent by fe80::/64 dev up.c ")
	asks("fe80::7%up.a", 0, "sent by fe80::/64 dev up.a ")
	asks("fe80::7%nosuch", 2, "interface nosuch: not found")
	asks("2001:db8::7%up.a", 2, "has a zone, and is no link-local address")
	asks("fe80::7%up.a from up.c -source fe80::9", 2, "what comes from up.c cannot go to a link-local address on up.a")
	asks("02:00:00:00:00:02 vni 7", 0, alone, without, "the overlays are the VXLAN devices of this namespace", "vx7: frames for 02:00:00:00:00:02 go to vx7, vx7 sends them to VTEP 172.22.2.2")
	asks("02:00:00:00:00:02", 0, alone, "vx7 sends them to VTEP 172.22.2.2")
	h.hv.IP("neigh add 192.168.5.2 lladdr 02:00:00:00:00:02 dev br7 nud permanent")
	asks("192.168.5.2 vni 7", 0, alone, without, "vx7: 192.168.5.2 is at 02:00:00:00:00:02 by the neighbours of br7", "vx7 sends them to VTEP 172.22.2.2")
	asks("192.168.5.2 vni 8", 2, "VNI 8: not found")
	asks("02:00:00:00:00:02 vni 8", 2, "VNI 8: not found")

	h.write("hv.yaml", findConfig)
	t.Cleanup(h.end)
	h.run()
	h.wait("the daemon", func() bool { return h.command("show", "status", "-api", h.path("api.sock")).Run() == nil })
	asks("fe80::7%up.c", 0, "fe80::7 oif up.c: sent by fe80::/64 dev up.c ")
	asks("fe80::7%up.a", 0, "fe80::7 oif up.a: sent by fe80::/64 dev up.a ")
	asks("fe80::7%nosuch", 2, "interface nosuch: not found")
	asks("fe80::7%up.a from up.c -source fe80::9", 2, "what comes from up.c cannot go to a link-local address on up.a")
}
