package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

const findConfig = `
router-id: 0.0.1.1
as: 65000
api: DIR/api.sock
bfd: {process: off}
domains: [{name: public, table: 90, guests: true, unreachable: [203.0.113.0/24]}]
edge: {gateway4: 203.0.113.254}
guests:
  - {name: vm1, mac: "50:54:33:00:00:07", ipv4: [203.0.113.1]}
  - {name: vm5, interface: "vnet*", mac: "52:54:00:00:00:05", ipv4: [203.0.113.5]}
guest-templates:
  - interfaces: "tap*"
    discovery: {routes: true, neighbors: true, within: [203.0.113.0/24, "2001:db8:cb00:7200::/64"], maximum: 3}
    ra: {mtu: 1400}
`

// tap makes a guest interface whose other end is eth0 of a namespace of its own.
func (h *host) tap(name string) *nstest.NS {
	vm := nstest.New(h.t, name)
	h.retap(name, vm)
	return vm
}

func (h *host) retap(name string, vm *nstest.NS) {
	h.hv.IP("link add name " + name + " type veth peer name eth0 netns " + vm.Name)
	vm.IP("link set eth0 up")
}

// route waits until the guests' table leads an address over an interface, or nowhere for
// "".
func (h *host) route(address, over string) {
	h.t.Helper()
	family := "-4"
	if strings.Contains(address, ":") {
		family = "-6"
	}
	nstest.Wait(h.t, 20*time.Second, address+" over "+over, func() bool {
		out := h.routes(family + " route show table 90 " + address)
		return over == "" && out == "" || over != "" && strings.Contains(out, "dev "+over+" ")
	})
}

// asks has a guest ask for its gateway from one of its addresses until it answers.
func (h *host) asks(vm *nstest.NS, from string) {
	h.t.Helper()
	nstest.Wait(h.t, 20*time.Second, from+" reaching its gateway", func() bool {
		return vm.Command("ping", "-c1", "-W1", "-I", from, "203.0.113.254").Run() == nil
	})
}

// guestOn returns the guest on an interface as the API shows it.
func (h *host) guestOn(name string) (g api.Guest, ok bool) {
	var all []api.Guest
	_ = h.ask("/v1/guests", &all)
	for _, g := range all {
		if g.Interface == name && g.Present {
			return g, true
		}
	}
	return g, false
}

// TestTemplate: interfaces that match a pattern come, are renamed, change their MAC, go,
// and come again. What is behind them is prepared at once, and found by what it says.
func TestTemplate(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	h.write("hv.yaml", findConfig)
	t.Cleanup(h.end)
	h.run()
	h.wait("the daemon", func() bool { return h.ask("/v1/guests", &[]any{}) == nil })

	begin := time.Now()
	vm := h.tap("tap0")
	h.wait("the gateway's addresses", func() bool {
		out := h.routes("addr show dev tap0")
		return strings.Contains(out, "inet 203.0.113.254/32 scope link") && strings.Contains(out, "inet6 fe80::1/64 scope link")
	})
	t.Logf("interface to gateway: %v", time.Since(begin).Round(time.Millisecond))
	if got := h.hv.Exec("cat", "/proc/sys/net/ipv4/conf/tap0/proxy_arp", "/proc/sys/net/ipv4/conf/tap0/rp_filter"); got != "1\n1\n" {
		t.Errorf("proxy_arp and rp_filter of tap0: %q", got)
	}
	if out := h.hv.Exec("nft", "list", "set", "inet", "hvrouter", "guests"); !strings.Contains(out, `"tap0"`) {
		t.Errorf("the firewall does not know the tap: %s", out)
	}

	vm.IP("addr add 203.0.113.7/24 dev eth0")
	begin = time.Now()
	h.asks(vm, "203.0.113.7")
	t.Logf("first word to the gateway's answer: %v", time.Since(begin).Round(time.Millisecond))
	h.route("203.0.113.7", "tap0")
	var slaac string
	h.wait("an address by router advertisement", func() bool {
		for word := range strings.FieldsSeq(vm.IP("-6 addr show dev eth0 scope global -tentative")) {
			if a, ok := strings.CutSuffix(word, "/64"); ok {
				slaac = a
			}
		}
		return strings.HasPrefix(slaac, "2001:db8:cb00:7200:")
	})
	// It has been said once, for duplicate address detection. Who missed that hears of it
	// when the guest uses the address.
	nstest.Wait(t, 20*time.Second, slaac+" over tap0", func() bool {
		if strings.Contains(h.routes("-6 route show table 90 "+slaac), "dev tap0 ") {
			return true
		}
		_ = vm.Command("ping", "-c1", "-W1", "-I", slaac, "2001:db8:cb00:7200::77").Run()
		return false
	})

	// Nothing that is not the guest's: outside of what may be found, the inventory's, or
	// more than three.
	for i, a := range []string{"198.51.100.9", "203.0.113.1", "203.0.113.8", "203.0.113.9"} {
		vm.IP(fmt.Sprintf("addr add %s/32 dev eth0", a))
		_ = vm.Command("arping", "-c3", "-W0.1", "-i", "eth0", "-S", a, fmt.Sprintf("203.0.113.%d", 200+i)).Run()
	}
	h.route("203.0.113.8", "tap0")
	for _, a := range []string{"198.51.100.9", "203.0.113.1", "203.0.113.9"} {
		if out := h.routes("route show table 90 " + a); out != "" {
			t.Errorf("%s: %s", a, out)
		}
	}
	t.Run("learned", h.learnedAddress)
	t.Run("libvirt", h.libvirtTap)
	t.Run("taken over", h.takenOver)

	h.hv.IP("link set tap0 down")
	h.hv.IP("link set tap0 name tap9")
	h.hv.IP("link set tap9 up")
	h.route("203.0.113.7", "tap9")
	h.asks(vm, "203.0.113.7")
	h.hv.IP("link set tap9 address 02:00:00:00:99:99")
	h.asks(vm, "203.0.113.7")
	h.wait("the guest's gateway has the new MAC", func() bool {
		return strings.Contains(vm.IP("neigh show 203.0.113.254"), "02:00:00:00:99:99")
	})
	h.restartFinds(vm, slaac)

	h.hv.IP("link del tap9")
	h.route("203.0.113.7", "")
	h.route(slaac, "")
	if _, ok := h.guestOn("tap9"); ok {
		t.Error("the guest is still there")
	}
	h.retap("tap9", vm)
	vm.IP("addr add 203.0.113.7/24 dev eth0")
	h.asks(vm, "203.0.113.7")
	h.route("203.0.113.7", "tap9")
}

// learnedAddress: a script puts a route over the tap; it is the guest's address, and the
// route stays the script's.
func (h *host) learnedAddress(t *testing.T) {
	h.tap("tap1")
	h.wait("tap1's guest", func() bool { _, ok := h.guestOn("tap1"); return ok })
	h.hv.IP("route add 203.0.113.40/32 dev tap1 table 90 proto static")
	h.wait("its address", func() bool {
		g, _ := h.guestOn("tap1")
		return len(g.IPv4) == 1 && g.IPv4[0].String() == "203.0.113.40" && len(g.Learned) == 1
	})
	if out := h.routes("route show table 90 203.0.113.40"); strings.Count(out, "203.0.113.40") != 1 || !strings.Contains(out, "proto static") {
		t.Errorf("its route: %s", out)
	}
	h.hv.IP("route del 203.0.113.40/32 dev tap1 table 90")
	h.wait("it gone", func() bool { g, ok := h.guestOn("tap1"); return ok && len(g.IPv4) == 0 })
	h.hv.IP("link del tap1")
}

// libvirtTap: a guest of the inventory is known by its MAC behind whatever vnet it gets.
func (h *host) libvirtTap(t *testing.T) {
	vm := h.tap("vnet17")
	h.hv.IP("link set vnet17 address fe:54:00:00:00:99")
	vm.IP("link set eth0 address 52:54:00:00:00:05")
	vm.IP("addr add 203.0.113.5/24 dev eth0")
	if _, ok := h.guestOn("vnet17"); ok {
		t.Error("a guest behind a stranger's MAC")
	}
	h.hv.IP("link set vnet17 address fe:54:00:00:00:05")
	h.route("203.0.113.5", "vnet17")
	h.asks(vm, "203.0.113.5")
	h.hv.IP("link del vnet17")
	h.route("203.0.113.5", "")
}

// takenOver: the API gives a tap that a template served a guest of its own, and takes it
// back.
func (h *host) takenOver(t *testing.T) {
	h.tap("tap2")
	h.wait("tap2's guest", func() bool { _, ok := h.guestOn("tap2"); return ok })
	h.write("vm9.yaml", "{name: vm9, interface: tap2, ipv4: [203.0.113.99]}")
	if out, err := h.command("guest", "add", h.path("vm9.yaml"), "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.route("203.0.113.99", "tap2")
	if g, _ := h.guestOn("tap2"); g.Name != "vm9" {
		t.Errorf("tap2 is of %s", g.Name)
	}
	if out, err := h.command("guest", "del", "vm9", "-api", h.path("api.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.route("203.0.113.99", "")
	h.wait("the template's guest again", func() bool { g, _ := h.guestOn("tap2"); return g.Name == "tap2" })
	h.hv.IP("link del tap2")
}

// restartFinds: the daemon is killed. What guests were found to have stays, is asked for,
// and goes if nobody answers.
func (h *host) restartFinds(vm *nstest.NS, slaac string) {
	h.t.Helper()
	h.kill(syscall.SIGKILL)
	vm.IP("addr del 203.0.113.8/32 dev eth0")
	monitor := h.hv.Command("ip", "-o", "monitor", "route")
	var seen strings.Builder
	monitor.Stdout = &seen
	if err := monitor.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.run()
	h.route("203.0.113.8", "")
	h.asks(vm, "203.0.113.7")
	h.route(slaac, "tap9")
	monitor.Process.Signal(syscall.SIGTERM)
	monitor.Wait()
	for _, a := range []string{"203.0.113.7", slaac} {
		if strings.Contains(seen.String(), "Deleted "+a+" ") {
			h.t.Errorf("%s flapped:\n%s", a, seen.String())
		}
	}
}
